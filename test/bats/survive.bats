#!/usr/bin/env bats
# Whatever is killed or misbehaves, a pod that runs sees its whole volume, and in the end
# everything is as it should be. Pods with observers come and go meanwhile, on both nodes.

load helpers

LASTS=${SURVIVE:-60s} # the shortest in which everything is killed once
SEED=${SEED:-0} # of an earlier run, to try the same again

setup_file() {
	[ -n "$STRONGROOM_RUN" ] && [ "$KUBECONFIG" = "$STRONGROOM_RUN/kubeconfig" ] || skip 'needs the cluster of the test ground'
	(cd "$BATS_TEST_DIRNAME/.." && CGO_ENABLED=0 go build -o ../bin/ground/ ./soak)
	keep_logs
}

# soak FLAG...: its figures are shown, and when it fails, everything that it said.
soak() {
	local log=$BATS_TEST_TMPDIR/soak
	"$BATS_TEST_DIRNAME/../../bin/ground/soak" -seed "$SEED" "$@" >"$log" 2>&1 || { cat "$log"; return 1; }
	grep -E 'seed|observers read|pods came|fresh again|API server was' "$log" >&3
}

@test "no pod sees less than a whole volume of its own, whatever is killed, and nothing is left" {
	soak -faults -for "$LASTS"
	for what in 'the driver' 'the provider' kubelet containerd 'the API server'; do
		grep -qE " kill $what on node-[0-9]+\$" "$BATS_TEST_TMPDIR/soak" || { echo "nobody killed $what"; cat "$BATS_TEST_TMPDIR/soak"; return 1; }
	done
}

@test "without an API server volumes rotate, and when it is back all is right, at once and without a storm" {
	soak -outage "${OUTAGE:-12s}" -pods 10
}

@test "driver, nodes and providers are ready again" {
	kubectl wait --for=condition=Ready nodes --all --timeout=60s
	for set in csi-secrets-store e2e-provider vault-csi-provider csi-secrets-store-provider-azure; do kubectl -n kube-system rollout status daemonset $set --timeout=120s; done
}
