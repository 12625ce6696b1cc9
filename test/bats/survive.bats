#!/usr/bin/env bats
# Whatever is killed or misbehaves, a pod that runs sees its whole volume, and in the end
# everything is as it should be. Pods with observers come and go meanwhile, on both nodes.

load helpers

LASTS=${SURVIVE:-3m}
SEED=${SEED:-0} # of an earlier run, to try the same again

setup_file() {
	[ -n "$STRONGROOM_RUN" ] && [ "$KUBECONFIG" = "$STRONGROOM_RUN/kubeconfig" ] || skip 'needs the cluster of the test ground'
	(cd "$BATS_TEST_DIRNAME/.." && CGO_ENABLED=0 go build -o ../bin/ground/ ./soak)
	keep_logs
}

@test "no pod sees less than a whole volume of its own, whatever is killed, and nothing is left" {
	local log=$BATS_TEST_TMPDIR/soak
	"$BATS_TEST_DIRNAME/../../bin/ground/soak" -faults -for "$LASTS" -seed "$SEED" >"$log" 2>&1 || { cat "$log"; return 1; }
	# Things did die: which ones, and how often, is drawn by lot.
	[ "$(grep -oE 'kill (the )?[A-Za-z ]+ on node-[0-9]+$' "$log" | sed 's/ on .*//' | sort -u | wc -l)" -ge ${DEATHS:-3} ] || { cat "$log"; return 1; }
	grep -E 'seed|observers read|pods came|fresh again' "$log" >&3
}

@test "driver, nodes and providers are ready again" {
	kubectl wait --for=condition=Ready nodes --all --timeout=60s
	for set in csi-secrets-store e2e-provider; do kubectl -n kube-system rollout status daemonset $set --timeout=120s; done
}
