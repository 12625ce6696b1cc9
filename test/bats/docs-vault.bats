#!/usr/bin/env bats
# The page about Vault: its commands do what it says, from a Vault with nothing in it on.
# What the test ground has set up goes before, and is there again afterwards.

load helpers

PAGE=docs/providers/vault.md

setup_file() {
	kubectl delete namespace shop --ignore-not-found --timeout=120s
	clear_up
	local method engine
	for method in kubernetes jwt approle cert; do vault auth disable $method; done
	for engine in secret kv pki database; do vault secrets disable $engine; done
	kubectl -n kube-system delete configmap vault-csi-provider
	audit_mark >"$BATS_FILE_TMPDIR/mark"
	keep_logs
}

teardown_file() {
	clear_up
	drop shop
	bin/ground/vault up # what is missing
	ground_again
}

# clear_up: what the page makes outside of the namespace of its pods is gone.
clear_up() {
	kubectl delete namespace vault-auth --ignore-not-found --timeout=60s
	kubectl delete clusterrolebinding vault-auth-reviewer vault-auth-issuer --ignore-not-found
	vault policy delete shop
}

# ground_again: what the other tests run against.
ground_again() (
	. test/ground.sh
	ground_install "${INSTALLED:-manifests/overlays/test}"
)

@test "every command of the page says whether it is run" {
	test/blocks $PAGE >"$BATS_FILE_TMPDIR/script"
	# The check can fail.
	printf '```sh\nls\n```\n' >"$BATS_TEST_TMPDIR/page"
	run test/blocks "$BATS_TEST_TMPDIR/page"
	[ "$status" = 1 ]
	[[ $output == *'does not say whether a test runs it'* ]]
}

@test "the commands of the page work, one after the other" {
	bash -e -o pipefail "$BATS_FILE_TMPDIR/script" >"$BATS_FILE_TMPDIR/out" 2>&1 || {
		tail -n 40 "$BATS_FILE_TMPDIR/out"
		kubectl -n shop get events
		return 1
	}
	grep -q '^-----BEGIN CERTIFICATE-----' "$BATS_FILE_TMPDIR/out"
}

@test "afterwards the pod of the page has its files, by the mode that its class gives" {
	shows shop web /mnt/secrets/username app
	shows shop web /mnt/secrets/db/password correct-horse
	[ "$(inside shop web stat -L -c %a /mnt/secrets/db/password)" = 400 ]
}

@test "every method of the page has logged in to Vault" {
	for method in jwt approle cert; do
		shows shop methods /mnt/$method/password correct-horse
		[ "$(audited "$(cat "$BATS_FILE_TMPDIR/mark")" ".request.path == \"auth/$method/login\" and .error == null")" -ge 1 ]
	done
}

@test "with the policy of the page nothing is missing that the provider needs" {
	local logs='' pod
	for pod in $(pods_of vault-csi-provider); do logs+=$(kubectl -n kube-system logs "$pod"); done
	grep -q 'msg=mount' <<<"$logs" # it does look at the right thing
	! grep 'does not let the provider' <<<"$logs"
}
