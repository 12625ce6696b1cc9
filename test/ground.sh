# What demo and end-to-end tests stand on: a cluster, a Vault, our images, an
# installation. To be sourced by a script that stands in the root of the checkout.
#
# With KUBECONFIG set, that cluster is used and nothing is brought up but Vault; it
# must be able to reach the address VAULT_LISTEN of this machine, and LOAD must be a
# command that gives it image archives (the default is kind's, if kind is there).

own=yes
[ -n "${KUBECONFIG:-}" ] && own=
cache=${STRONGROOM_CACHE:-$HOME/.cache/strongroom}

# ground_up [NETWORK [FLAG...]]: cluster and Vault are up afterwards, and the shell
# knows them. The flags go to "cluster up".
ground_up() {
	test/packages ca-certificates curl jq || return
	(cd test && CGO_ENABLED=0 go build -o ../bin/ground/ ./cluster ./vault) || return
	if [ $own ]; then
		bin/ground/cluster up ${1:+--network "$1"} "${@:2}" || return
		export KUBECONFIG=$STRONGROOM_RUN/kubeconfig
	fi
	PATH=$cache/bin:$PATH
	bin/ground/vault up || return
	set -a
	# shellcheck disable=SC1091
	. "$STRONGROOM_RUN/vault/env"
	set +a
}

# ground_down: what ground_up brought up is gone.
ground_down() {
	local code=0
	if [ -x bin/ground/vault ]; then
		bin/ground/vault down || code=1
	fi
	if [ $own ] && [ -x bin/ground/cluster ]; then
		bin/ground/cluster down || code=1
	fi
	return $code
}

# ground_load ARCHIVE...: the images are known to the cluster.
ground_load() {
	if [ $own ]; then
		bin/ground/cluster load "$@"
	elif [ -n "${LOAD:-}" ]; then
		$LOAD "$@"
	elif command -v kind >/dev/null; then
		local archive
		for archive; do kind load image-archive "$archive" || return; done
	else
		echo 'set LOAD to a command that loads image archives into your cluster' >&2
		return 1
	fi
}

# ground_images: what the suite puts beside our images is in bin/ground/images: Vault,
# for its Agent, and a program that logs in to PostgreSQL. Neither is part of the product.
ground_images() {
	local out=bin/ground/images arch
	arch=$(go env GOARCH)
	mkdir -p $out
	(cd test && CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o ../bin/ground/ ./vault/login) || return
	bin/tools/image --arch "$arch" --binary bin/ground/login --entrypoint /login --tag strongroom/login:dev --out $out/login.tar || return
	[ $out/vault.tar -nt "$cache/bin/vault" ] && return
	bin/tools/image --arch "$arch" --binary "$cache/bin/vault" --entrypoint /vault --tag strongroom/vault:dev --out $out/vault.tar
}

# ground_install OVERLAY: driver and providers are installed, and know the Vault. A
# DaemonSet whose image is new is started again: the tag stays the same.
ground_install() {
	kubectl -n kube-system create configmap vault-csi-provider --dry-run=client -o yaml \
		--from-literal=VAULT_ADDR="$VAULT_ADDR" --from-file=VAULT_CACERT_BYTES="$VAULT_CACERT" |
		kubectl apply -f - || return
	local before set
	before=$(kubectl -n kube-system get daemonset -o name)
	kubectl apply -k "$1" || return
	for set in csi-secrets-store vault-csi-provider e2e-provider; do
		kubectl -n kube-system get daemonset $set >/dev/null 2>&1 || continue
		if grep -q "/$set\$" <<<"$before"; then
			kubectl -n kube-system rollout restart daemonset $set || return
		fi
		kubectl -n kube-system rollout status daemonset $set --timeout=180s || return
	done
}
