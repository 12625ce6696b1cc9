#!/bin/bash
# Shows the main job on real parts: a pod on a real node reads its secret from a real
# Vault. KEEP=1 leaves everything running.
cd "$(dirname "$0")/.." || exit 1
export STRONGROOM_RUN=${STRONGROOM_RUN:-/var/tmp/strongroom/dev}
. test/ground.sh
begin=$(date +%s)
say() { printf '\n[%3d s] == %s\n' $(($(date +%s) - begin)) "$*"; }
show() {
	printf '$ %s\n' "$*"
	"$@"
}

# until_ok COMMAND...: tries for a minute, and says why if it never works.
until_ok() {
	for _ in $(seq 300); do
		"$@" >/dev/null 2>&1 && return
		sleep 0.2
	done
	"$@"
}

# volumes: the mounts of CSI volumes on the node; none is a failure.
volumes() { grep 'kubernetes.io~csi' "/proc/$(cat "$STRONGROOM_RUN/node-1/pid")/mounts"; }

finish() {
	code=$?
	trap '' INT TERM
	if [ $code = 0 ] && [ -n "$KEEP" ]; then
		cat <<-END

			Left running. To use it:
			  export STRONGROOM_RUN=$STRONGROOM_RUN KUBECONFIG=$KUBECONFIG PATH=$cache/bin:\$PATH
			  . $STRONGROOM_RUN/vault/env     # VAULT_ADDR, VAULT_CACERT, VAULT_TOKEN for the command vault
			  kubectl apply -f test/demo.yaml
			To take it down: bin/ground/vault down; bin/ground/cluster down
		END
		return
	fi
	say 'take everything down'
	ground_down || code=1
	[ $code = 0 ] && say 'done' || say "FAILED with exit code $code"
	exit $code
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
set -e

say 'a node and a Vault'
ground_up
say 'our images'
ground_load bin/images/driver.tar bin/images/provider-vault.tar
say 'install: kubectl apply -k manifests/overlays/vault'
ground_install manifests/overlays/vault

say 'Vault: a secret, and who may read it'
show vault kv put secret/shop/db username=app password=correct-horse
show vault policy write shop - <<<'path "secret/data/shop/*" { capabilities = ["read"] }'
show vault write auth/kubernetes/role/shop bound_service_account_names=web bound_service_account_namespaces=shop \
	audience=vault policies=shop ttl=20m

say 'Kubernetes: a class that lists what to mount, and a pod that mounts it'
show cat test/demo.yaml
kubectl delete namespace shop --ignore-not-found --timeout=120s
kubectl apply -f test/demo.yaml
show kubectl -n shop wait --for=condition=Ready pod/web --timeout=120s

say 'the secret, from inside the pod'
show kubectl -n shop exec web -- cat /mnt/secrets/username /mnt/secrets/db/password
echo
[ "$(kubectl -n shop exec web -- cat /mnt/secrets/db/password)" = correct-horse ]
show kubectl -n shop exec web -- ls -lR /mnt/secrets/
if [ $own ]; then # the node's mount; a container runtime keeps only "read-only" of its options
	volumes
fi

say 'what the cluster knows of it: object versions, never values'
until_ok kubectl -n shop get spcps web-shop-db
show kubectl -n shop get spcps web-shop-db -o yaml

say 'rotation: a new value in Vault, and the class asks for it now instead of in two minutes'
show vault kv put secret/shop/db username=app password=battery-staple
show kubectl -n shop annotate secretproviderclass db secrets-store.csi.x-k8s.io/refresh="$(date +%s)"
rotated() { [ "$(kubectl -n shop exec web -- cat /mnt/secrets/db/password)" = battery-staple ]; }
until_ok rotated
show kubectl -n shop exec web -- cat /mnt/secrets/db/password
echo
kubectl -n shop delete secretproviderclass db
echo 'The class is gone, and the pod keeps its files:'
[ "$(kubectl -n shop exec web -- cat /mnt/secrets/username)" = app ]
show kubectl -n shop exec web -- ls /mnt/secrets/

say 'the pod goes, and nothing is left'
show kubectl -n shop delete pod web --timeout=60s
no_status() { ! kubectl -n shop get spcps web-shop-db; } # garbage collection learns of a new kind within 30 s
until_ok no_status
show kubectl -n shop get spcps
if [ $own ]; then
	no_volumes() { ! volumes; }
	until_ok no_volumes
	echo 'no volume is mounted on the node any more'
fi
