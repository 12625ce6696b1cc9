#!/usr/bin/env bats
# A GitOps controller applies what is in Git in the order in which it comes, and again until
# all is accepted. From a cluster with nothing of ours that ends in the same, whatever the
# order. What pages say about GitOps and about emergencies is run on what it ends in.

load helpers

VALUE=c4n4ry-gitops
HASH='{.metadata.annotations.secrets-store\.csi\.x-k8s\.io/content-hash}'
KEY=secrets-store-csi-driver-content-hash

setup_file() {
	SEED=${SEED:-$RANDOM}
	export SEED FILES=$BATS_FILE_TMPDIR/files
	mkdir "$FILES"
	kubectl kustomize "${INSTALLED:-manifests/overlays/test}" | sed "s/198\.51\.100\.1/${AZURE_HOST:-&}/" | split_up 1
	# The application of the examples, refreshed as often as can be.
	kubectl kustomize examples/apps/shop/base | sed 's/interval: 5m/interval: 5s/' | split_up 2
	vault policy write shop - <<<'path "secret/data/shop/db" { capabilities = ["read"] }'
	vault_role shop shop
	put 1
	kubectl -n kube-system create secret generic $KEY --from-literal=key="$(openssl rand -hex 32)" --dry-run=client -o yaml | kubectl apply -f -
	kubectl delete namespace shop --ignore-not-found --timeout=120s
	eventually 120 no_volumes # other files' pods may be on their way out, and need the driver
	keep_logs
	nothing_installed
}

teardown_file() {
	kubectl apply -f "$FILES" >/dev/null || kubectl apply -f "$FILES" >/dev/null # a class may be refused once
	drop shop
	for set in csi-secrets-store vault-csi-provider csi-secrets-store-provider-azure e2e-provider; do kubectl -n kube-system rollout status daemonset $set --timeout=120s; done
	vault delete auth/kubernetes/role/shop
	vault policy delete shop
	kubectl -n kube-system delete secret $KEY
}

# put N: what the store has.
put() { vault kv put secret/shop/db username=app "password=$VALUE-$1" >/dev/null; }

# split_up PREFIX: each object of the standard input becomes a file in $FILES.
split_up() { awk -v dir="$FILES/$1" 'BEGIN { n = 100 } /^---$/ { n++; next } { print >(dir "-" n ".yaml") }'; }

no_volumes() { [ "$(kubectl get spcps -A -o name)" = '' ] || { kubectl get spcps -A; return 1; }; }

# nothing_installed: of ours, but for the key and what says where the stores are.
nothing_installed() {
	kubectl delete -f "$FILES" --ignore-not-found --timeout=120s >/dev/null || : # classes are gone with their CRD
	gone() { [ "$(kubectl -n kube-system get pods -o name | grep -E 'csi-secrets-store|e2e-provider|vault-csi')" = '' ]; }
	eventually 180 gone
	! kubectl get crd,clusterrole,clusterrolebinding,validatingadmissionpolicy,csidriver -o name | grep -E 'secrets-store|secretprovider|syncedsecret|vault-csi'
}

# reconcile FILE...: applies them in this order, and again those that were refused.
reconcile() {
	local left=("$@") refused file rounds=0 deadline=$((SECONDS + 180))
	until [ ${#left[@]} = 0 ]; do
		refused=()
		for file in "${left[@]}"; do kubectl apply -f "$file" >>"$BATS_TEST_TMPDIR/applied" 2>&1 || refused+=("$file"); done
		left=("${refused[@]}")
		rounds=$((rounds + 1))
		[ $SECONDS -lt $deadline ] || { tail -n 20 "$BATS_TEST_TMPDIR/applied"; return 1; }
	done
	echo "$rounds rounds" | tee "$BATS_TEST_TMPDIR/rounds"
	# Applied once more, nothing changes.
	generations() { kubectl get -f "$FILES" -o json | jq -c '.items[] | [.kind, .metadata.name, .metadata.uid, .metadata.generation]'; }
	generations >"$BATS_TEST_TMPDIR/before"
	kubectl apply -f "$FILES" >"$BATS_TEST_TMPDIR/applied"
	generations | diff "$BATS_TEST_TMPDIR/before" -
}

# converged: everybody has what the store has.
converged() {
	# Kubelet tries a pod that came before the driver again after two minutes at the latest.
	kubectl -n shop rollout status deployment web --timeout=240s
	for set in csi-secrets-store vault-csi-provider; do kubectl -n kube-system rollout status daemonset $set --timeout=180s; done
	pods_show "$1"
	eventually 60 secret_holds "$1"
}

web_pods() { kubectl -n shop get pods -l app=web -o json | jq -r '.items[] | select(.metadata.deletionTimestamp == null) | .metadata.name'; }

# pods_show N: all pods of the application, in the file and in the variable.
pods_show() {
	local pod
	for pod in $(web_pods); do
		shows shop "$pod" /mnt/secrets/password "$VALUE-$1" || return
		[ "$(inside shop "$pod" sh -c 'echo "$DB_PASSWORD"')" = "$VALUE-$1" ] || { echo "$pod has another variable"; return 1; }
	done
}

files_show() {
	local pod
	for pod in $(web_pods); do shows shop "$pod" /mnt/secrets/password "$VALUE-$1" || return; done
}

secret_holds() { [ "$(kubectl -n shop get secret db -o jsonpath='{.data.password}' | base64 -d)" = "$VALUE-$1" ]; }

hash_of() { kubectl -n shop get secret db -o jsonpath="$HASH"; }

# blocks PAGE: runs its commands.
blocks() {
	test/blocks "$1" >"$BATS_TEST_TMPDIR/script"
	bash -e -o pipefail "$BATS_TEST_TMPDIR/script" >"$BATS_TEST_TMPDIR/out" 2>&1 || {
		tail -n 40 "$BATS_TEST_TMPDIR/out"
		kubectl -n shop get pods,events
		return 1
	}
}

@test "the application first and the driver last: all converges" {
	# shellcheck disable=SC2046 # no name has a space
	reconcile $(printf '%s\n' "$FILES"/* | sort -r)
	! grep '^1 rounds' "$BATS_TEST_TMPDIR/rounds" || false # something was too early, or this shows nothing
	converged 1
	hash_of | grep -xE '[0-9a-f]{32}'
}

@test "the content hash of a Secret changes once per change, and not because drivers or pods start" {
	kubectl -n shop get secret db --watch -o json >"$BATS_TEST_TMPDIR/seen" 3>&- &
	watch=$!
	# seen: versions of the Secret, the first is that at the beginning.
	seen() { jq -c '[.metadata.resourceVersion, .metadata.annotations["secrets-store.csi.x-k8s.io/content-hash"], .data.password]' "$BATS_TEST_TMPDIR/seen" | uniq; }
	begun() { [ "$(seen | wc -l)" = 1 ]; }
	eventually 60 begun
	before=$(hash_of)
	roll csi-secrets-store
	kubectl -n shop rollout restart deployment web
	kubectl -n shop rollout status deployment web --timeout=120s
	seen
	[ "$(seen | wc -l)" = 1 ]
	put 2
	eventually 60 files_show 2
	eventually 60 secret_holds 2
	changed() { [ "$(seen | wc -l)" -ge 2 ]; }
	eventually 60 changed
	[ "$(hash_of)" != "$before" ]
	# Pods that start on either node, with the new content.
	kubectl -n shop rollout restart deployment web
	kubectl -n shop rollout status deployment web --timeout=120s
	kill $watch
	seen
	[ "$(seen | wc -l)" = 2 ]
}

@test "the commands of the page about GitOps work, and the hash starts pods again" {
	put 3
	eventually 60 secret_holds 3
	blocks docs/gitops.md
	grep -q 'https://vault.production.example.com:8200' "$BATS_TEST_TMPDIR/out"
	eventually 60 pods_show 3 # a node may have read the store up to ten seconds before a pod started there
	# The same hash starts nothing again.
	generation=$(kubectl -n shop get deployment web -o jsonpath='{.metadata.generation}')
	blocks docs/gitops.md
	[ "$(kubectl -n shop get deployment web -o jsonpath='{.metadata.generation}')" = "$generation" ]
}

@test "without driver and provider, the page for emergencies keeps an application going, and brings it back" {
	kubectl -n kube-system delete daemonset csi-secrets-store vault-csi-provider --timeout=60s
	test/blocks docs/break-glass.md >"$BATS_TEST_TMPDIR/script"
	# In the middle of the page everything is installed again.
	set -o pipefail
	last=$(grep -o 'line [0-9]*"$' "$BATS_TEST_TMPDIR/script" | tail -n 1)
	bash -e -o pipefail <(sed "/$last\$/,\$d" "$BATS_TEST_TMPDIR/script") | tee "$BATS_TEST_TMPDIR/out"
	grep -q 'force deleted' "$BATS_TEST_TMPDIR/out" # old pods hang
	pods_show 3
	[ "$(kubectl -n shop get pods -l app=web -o json | jq '[.items[] | select(any(.spec.volumes[]; .csi))] | length')" = 0 ]
	for file in "$FILES"/1-*; do ! grep -q '^kind: DaemonSet' "$file" || kubectl apply -f "$file"; done
	bash -e -o pipefail <(sed -n "/$last\$/,\$p" "$BATS_TEST_TMPDIR/script")
	pods_show 3
	left() { [ "$(kubectl get spcps -n shop -o name | wc -l)" = 2 ]; }
	eventually 180 left
	# Pods that went by force have left nothing on the node. Kubelet asks after two minutes
	# at the latest.
	none_of_them() {
		local uids mounts
		uids=$(kubectl -n shop get pods -o jsonpath='{.items[*].metadata.uid}') || return
		mounts=$(on_node cat /proc/1/mounts) || return
		! grep 'kubernetes.io~csi/secrets/' <<<"$mounts" | grep -vE "${uids// /|}"
	}
	eventually 180 none_of_them
}

@test "in any order, from nothing again: all converges" {
	kubectl delete namespace shop --timeout=120s
	keep_logs
	nothing_installed
	echo "SEED=$SEED" >&3
	# shellcheck disable=SC2046
	reconcile $(printf '%s\n' "$FILES"/* | shuf --random-source=<(openssl enc -aes-128-ctr -pass "pass:$SEED" -nosalt -in /dev/zero 2>/dev/null))
	converged 3
}
