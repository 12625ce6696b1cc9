#!/bin/bash
# Measures what a restart of the driver costs, on the installation that KEEP=1
# test/e2e.sh left: for how long kubelet takes the driver for deregistered, and when a
# pod that is created at the moment of the restart starts. Prints seconds.
cd "$(dirname "$0")/.." || exit 1
export STRONGROOM_RUN=${STRONGROOM_RUN:-/var/tmp/strongroom/e2e}
export KUBECONFIG=${KUBECONFIG:-$STRONGROOM_RUN/kubeconfig}
PATH=${STRONGROOM_CACHE:-$HOME/.cache/strongroom}/bin:$PATH
. test/bats/helpers.bash
rounds=${ROUNDS:-5}
ns=restart-cost

now() { date +%s%N; }
seconds() { awk -v a="$1" -v b="$2" 'BEGIN {printf "%.2f", (b - a) / 1e9}'; }
registered() { kubectl get csinodes -o jsonpath='{.items[*].spec.drivers[*].name}' | grep -q secrets-store.csi.k8s.io; }

# A container that died before waits longer and longer: each kill is of a fresh pod.
fresh_driver() {
	replace_driver
	eventually 60 driver_ready >/dev/null
	eventually 60 page_ready >/dev/null
}
page_ready() { page "$(pods_of csi-secrets-store)" 9808 readyz; }

kill_driver() { kill_on_node /secrets-store-csi; }
replace_driver() { kubectl -n kube-system delete pod -l app=secrets-store-csi-driver --wait=false >/dev/null; }

# round HOW N
round() {
	local begin gone='' back='' away=0 name="$1-$2"
	name=${name//_/-}
	begin=$(now)
	"$1" || return
	pod $ns "$name" good
	while ! kubectl -n $ns wait --for=condition=Ready "pod/$name" --timeout=0 >/dev/null 2>&1; do
		if registered; then
			[ -n "$gone" ] && [ -z "$back" ] && back=$(now)
		elif [ -z "$gone" ]; then
			gone=$(now)
		fi
		[ "$(now)" -gt $((begin + 120000000000)) ] && { echo "the pod did not start in 120 s"; return 1; }
	done
	local ready
	ready=$(now)
	until registered; do :; done
	[ -n "$gone" ] && away=$(seconds "$gone" "${back:-$(now)}")
	printf '| %s | %s | %s |\n' "${1/_/ the }" "$away" "$(seconds "$begin" "$ready")"
	eventually 60 driver_ready >/dev/null
}

fresh $ns
objects foo | class $ns good e2e-provider
node_pod
echo '| | deregistered, s | until a new pod is ready, s |'
echo '|---|---:|---:|'
for how in kill_driver replace_driver; do
	for n in $(seq "$rounds"); do
		fresh_driver
		round $how "$n" || exit 1
	done
done
drop $ns
