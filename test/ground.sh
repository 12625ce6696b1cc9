# What demo and end-to-end tests stand on: a cluster, a Vault, our images, an
# installation. To be sourced by a script that stands in the root of the checkout.
#
# With KUBECONFIG set, that cluster is used and nothing is brought up but Vault, and an
# Azure of tests if asked for; it must be able to reach the address VAULT_LISTEN of this
# machine, and AZURE_LISTEN (HOST:PORT; the default is port 443 there), and LOAD must be
# a command that gives it image archives (the default is kind's, if kind is there).

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

# ground_azure: a new Azure of tests is up afterwards, and the shell knows it. It follows
# ground_up. Each node of a cluster of our own finds a metadata endpoint where that of a
# virtual machine would be, and the NMI of pod identity.
ground_azure() {
	local dir=$STRONGROOM_RUN/azure address=${VAULT_ADDR#https://} metadata='' file pid
	address=${AZURE_LISTEN:-${address%:*}:443}
	(cd test && CGO_ENABLED=0 go build -o ../bin/ground/ ./azure) || return
	azure_down && mkdir -p "$dir" || return
	for file in ${own:+"$STRONGROOM_RUN"/node-*/pid}; do
		pid=$(cat "$file") && nsenter --net="/proc/$pid/ns/net" ip addr replace 169.254.169.254/32 dev lo || return
		metadata+=,$pid
	done
	export AZURE_HOST=${address%:*} AZURE_CONTROL=$dir/control.sock AZURE_METADATA=${metadata:+yes}
	printf 'export %s=%q\n' AZURE_HOST "$AZURE_HOST" AZURE_CONTROL "$AZURE_CONTROL" AZURE_METADATA "$AZURE_METADATA" >"$dir/env"
	# shellcheck disable=SC2016
	STRONGROOM_GROUND=$STRONGROOM_RUN setsid sh -c 'echo $$ >"$0" && exec "$@"' "$dir/pid" "$PWD/bin/ground/azure" \
		--listen "$address" --out "$dir" --control "$AZURE_CONTROL" \
		${metadata:+--metadata 169.254.169.254:80 --nmi 127.0.0.1:2579 --metadata-in "${metadata#,}"} </dev/null >"$dir/log" 2>&1 &
	for _ in $(seq 100); do
		curl --silent --fail --unix-socket "$AZURE_CONTROL" --output /dev/null http://azure/violations && return
		sleep 0.1
	done
	tail -n 3 "$dir/log" >&2
	return 1
}

# azure_down: the Azure of tests is gone, if there was one.
azure_down() {
	local dir=$STRONGROOM_RUN/azure pid
	pid=$(cat "$dir/pid" 2>/dev/null) || return 0
	if [[ $(readlink "/proc/$pid/exe") == */bin/ground/azure* ]]; then # the file may be a newer one
		kill "$pid"
		while [ -e "/proc/$pid/exe" ]; do sleep 0.1; done
	fi
	rm -r "$dir"
}

# ground_down: what ground_up and ground_azure brought up is gone.
ground_down() {
	local code=0
	azure_down || code=1
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
# for its Agent, a program that logs in to PostgreSQL, and one that observes its volume.
# None is part of the product.
ground_images() {
	local out=bin/ground/images arch
	arch=$(go env GOARCH)
	mkdir -p $out
	(cd test && CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o ../bin/ground/ ./vault/login ./soak/observer) || return
	bin/tools/image --arch "$arch" --binary bin/ground/login --entrypoint /login --tag strongroom/login:dev --out $out/login.tar || return
	bin/tools/image --arch "$arch" --binary bin/ground/observer --entrypoint /observer --tag strongroom/observer:dev --out $out/observer.tar || return
	[ $out/vault.tar -nt "$cache/bin/vault" ] && return
	bin/tools/image --arch "$arch" --binary "$cache/bin/vault" --entrypoint /vault --tag strongroom/vault:dev --out $out/vault.tar
}

# ground_install OVERLAY: driver and providers are installed, and know Vault and Azure,
# if they are up. A DaemonSet whose image is new is started again: the tag stays the same.
ground_install() {
	kubectl -n kube-system create configmap vault-csi-provider --dry-run=client -o yaml \
		--from-literal=VAULT_ADDR="$VAULT_ADDR" --from-file=VAULT_CACERT_BYTES="$VAULT_CACERT" |
		kubectl apply -f - || return
	[ -z "${AZURE_CONTROL:-}" ] || azure_config || return
	local before set
	before=$(kubectl -n kube-system get daemonset -o name)
	kubectl kustomize "$1" | sed "s/198\.51\.100\.1/${AZURE_HOST:-&}/" | kubectl apply -f - || return
	for set in csi-secrets-store vault-csi-provider csi-secrets-store-provider-azure e2e-provider; do
		kubectl -n kube-system get daemonset $set >/dev/null 2>&1 || continue
		if grep -q "/$set\$" <<<"$before"; then
			kubectl -n kube-system rollout restart daemonset $set || return
		fi
		kubectl -n kube-system rollout status daemonset $set --timeout=180s || return
	done
}

# azure_config: the provider knows the cloud as it would know that of a company: by its
# CA and by a file that defines it.
azure_config() {
	local dir=$STRONGROOM_RUN/azure name=csi-secrets-store-provider-azure
	kubectl -n kube-system create configmap $name-clouds --dry-run=client -o yaml \
		--from-file="$dir/ca.pem" --from-file="$dir/stack.json" --from-file=copy.json="$dir/stack.json" |
		kubectl apply -f - || return
	kubectl -n kube-system create configmap $name --dry-run=client -o yaml \
		--from-literal=SSL_CERT_FILE=/etc/azure/ca.pem --from-literal=AZURE_ENVIRONMENT_FILEPATH=/etc/azure/stack.json |
		kubectl apply -f -
}
