#!/usr/bin/env bats
# The quick start of the README, its second page, and the how-to pages that go on from
# there: their commands do what they say, one page after the other, on a cluster where
# nothing of theirs is yet. What the test ground has set up is there again afterwards.

load helpers

PAGES='README.md docs/quick-start.md docs/how-to/environment-variables.md docs/how-to/tls-for-ingress.md docs/how-to/rotation.md'
OVERLAY=manifests/overlays/quick-start # a page makes it

setup_file() {
	kubectl delete namespace shop vault --ignore-not-found --timeout=120s
	kubectl delete clusterrolebinding quick-start-vault --ignore-not-found
	kubectl -n kube-system delete configmap vault-csi-provider --ignore-not-found
	keep_logs
	own_vault
}

# own_vault: nodes of our own have no registry, so the image of Vault that the pages name
# is made of the Vault that is there. That one has no login for Kubernetes built in, so
# it finds it as a plugin.
own_vault() (
	unset KUBECONFIG
	[ -e "$STRONGROOM_RUN/cluster.json" ] || return 0
	set -e
	. test/ground.sh
	dir=$BATS_FILE_TMPDIR/vault
	mkdir -p "$dir"/root/{bin,plugins,tmp}
	cp "$cache/bin/vault" "$(command -v busybox)" "$dir/root/bin/"
	cp "$cache/bin/vault-plugin-auth-kubernetes" "$dir/root/plugins/kubernetes"
	cat >"$dir/root/entry" <<-'END'
		#!/bin/busybox sh
		[ "$1" != server ] || set -- "$@" -dev-plugin-dir=/plugins
		exec /bin/vault "$@"
	END
	chmod 755 "$dir/root/entry"
	cd "$dir"
	tar -C root -cf layer.tar .
	jq -n --arg arch "$(go env GOARCH)" --arg id "sha256:$(sha256sum layer.tar | cut -d ' ' -f 1)" \
		'{architecture: $arch, os: "linux", config: {Entrypoint: ["/entry"]}, rootfs: {type: "layers", diff_ids: [$id]}}' >config.json
	jq -n '[{Config: "config.json", RepoTags: ["docker.io/hashicorp/vault:1.19"], Layers: ["layer.tar"]}]' >manifest.json
	tar -cf vault.tar manifest.json config.json layer.tar
	cd "$OLDPWD"
	ground_load "$dir/vault.tar"
	rm -r "$dir"
)

teardown_file() {
	[ ! -e "$BATS_FILE_TMPDIR/ours" ] || rm -r $OVERLAY
	kubectl delete namespace shop --ignore-not-found --timeout=120s
	kubectl delete -f examples/quick-start/vault.yaml --ignore-not-found --wait=false
	(. test/ground.sh && ground_install "${INSTALLED:-manifests/overlays/test}") # what the other tests run against
}

# follow PAGE: its commands, one after the other, in a shell of their own.
follow() {
	test/blocks "$1" >"$BATS_TEST_TMPDIR/script"
	bash -e -o pipefail "$BATS_TEST_TMPDIR/script" >"$BATS_TEST_TMPDIR/out" 2>&1 || {
		tail -n 40 "$BATS_TEST_TMPDIR/out"
		kubectl -n shop get events
		return 1
	}
}

says() {
	grep -q -- "$1" "$BATS_TEST_TMPDIR/out" || { echo "no '$1' in:"; cat "$BATS_TEST_TMPDIR/out"; return 1; }
}

@test "the pages of this file are those with commands for the quick start's cluster" {
	local page
	for page in $PAGES; do test/blocks "$page" >/dev/null; done
}

@test "README: from nothing to a pod that reads its secret" {
	follow README.md
	says appcorrect-horse
}

@test "quick start, continued: what is there, a new value, a class that is wrong" {
	follow docs/quick-start.md
	says 'FailedMount.*secret/data/shop/none'
	shows shop web /mnt/secrets/db/password battery-staple
}

@test "how to: environment variables" {
	[ ! -e $OVERLAY ] # it would be somebody's work
	touch "$BATS_FILE_TMPDIR/ours"
	follow docs/how-to/environment-variables.md
	says DB_PASSWORD=battery-staple
	says '^app battery-staple'
}

@test "how to: TLS for ingress" {
	follow docs/how-to/tls-for-ingress.md
	says 'subject=CN *= *shop.example.test'
}

@test "how to: rotation" {
	follow docs/how-to/rotation.md
	says '^web .*"id":"db/password"'
	shows shop web /mnt/secrets/db/password tr0ub4dor
}
