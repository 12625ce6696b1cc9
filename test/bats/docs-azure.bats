#!/usr/bin/env bats
# The page about Azure: those of its commands that speak to Kubernetes do what it says. What
# its other commands make in Azure, the Azure of tests has already, and the provider knows
# that one by --cloud-name, since the classes of the page name no cloud.

load helpers
load azure

PAGE=docs/providers/azure.md
NAME=csi-secrets-store-provider-azure
OVERLAY=manifests/overlays/mine # the page makes it

setup_file() {
	kubectl delete namespace shop --ignore-not-found --timeout=120s
	azure_reset shop web
	azure_put db-password c4n4ry-correct-horse
	azure_make certificates web '{"name": "web.example.test", "intermediates": 1}'
	azure_make keys signing '{"key": "rsa-2048"}'
	kubectl -n kube-system patch daemonset $NAME --type json \
		-p '[{"op": "add", "path": "/spec/template/spec/containers/0/args/-", "value": "--cloud-name=AzureStackCloud"}]'
}

# Afterwards the provider knows the classes of the page no more, so no volume of them must
# be left.
teardown_file() {
	[ ! -e "$BATS_FILE_TMPDIR/ours" ] || rm -r $OVERLAY
	kubectl delete namespace shop --ignore-not-found --timeout=120s
	(. test/ground.sh && ground_install "${INSTALLED:-manifests/overlays/test}") # what the other tests run against
}

@test "every command of the page says whether it is run" {
	test/blocks $PAGE >"$BATS_FILE_TMPDIR/script"
	# None is left out but for what cannot be had here.
	run grep -E '^```sh not-run: ' $PAGE
	! grep -vE 'subscription|tenant|registry|AKS|test' <<<"$output"
}

@test "the API server takes the overlay of the page" {
	kubectl apply -k manifests/overlays/azure --dry-run=server
}

@test "the commands of the page work, one after the other" {
	[ ! -e $OVERLAY ] # it would be somebody's work
	touch "$BATS_FILE_TMPDIR/ours"
	REGISTRY=registry.example.test KEYVAULT=$AZURE_VAULT TENANT=$AZURE_TENANT CLIENT_ID=$AZURE_WORKLOAD APP_ID=$AZURE_PRINCIPAL APP_SECRET=$AZURE_SECRET \
		NODE_ID=$AZURE_ASSIGNED bash -eu -o pipefail "$BATS_FILE_TMPDIR/script" >"$BATS_FILE_TMPDIR/out" 2>&1 || {
		tail -n 40 "$BATS_FILE_TMPDIR/out"
		kubectl -n shop get events
		return 1
	}
	grep -qx -e '-----BEGIN PUBLIC KEY-----' "$BATS_FILE_TMPDIR/out"
	[ "$(grep -c c4n4ry-correct-horse "$BATS_FILE_TMPDIR/out")" = 2 ]
}

@test "afterwards the pods of the page have their files, by the mode that their class gives" {
	shows shop web /mnt/secrets/db/password c4n4ry-correct-horse
	[ "$(inside shop web stat -L -c %a /mnt/secrets/db/password)" = 400 ]
	shows shop by-principal /mnt/secrets/db-password c4n4ry-correct-horse
	[ "$(inside shop tls head -n 1 /mnt/secrets/tls/web.pem)" = '-----BEGIN PRIVATE KEY-----' ]
	inside shop tls cat /mnt/secrets/tls/web.pfx | openssl pkcs12 -passin pass: -nodes -nocerts | openssl pkey -pubout >"$BATS_TEST_TMPDIR/key"
	[ "$(inside shop tls cat /mnt/secrets/tls/web.crt | openssl x509 -noout -pubkey)" = "$(cat "$BATS_TEST_TMPDIR/key")" ]
}

@test "the class of the page for the node's identity works" {
	[ -n "${AZURE_METADATA:-}" ] || skip 'the nodes of this cluster have no metadata endpoint of the tests'
	pod shop by-node by-node
	ready shop by-node
	shows shop by-node /mnt/0/db-password c4n4ry-correct-horse
	[ "$(tokens "$AZURE_ASSIGNED")" = 1 ]
}

@test "Azure has seen the identities of the page, and nothing that it does not know" {
	for client in $AZURE_WORKLOAD $AZURE_PRINCIPAL; do
		[ "$(asked '.name == "db-password" and .client == "'$client'" and .status == 200')" -ge 1 ]
	done
	lawful
}
