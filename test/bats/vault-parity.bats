#!/usr/bin/env bats
# What users of the existing Vault provider rely on, as its own suite has it. What that
# suite tests and is not here is in vault.bats (a service account that is refused) and
# in vault-leases.bats (database credentials).

load helpers

NS=bats-parity
NS2=bats-parity2
VALUE=c4n4ry-parity # begins every value
AUDIENCE=bats-parity-audience
KEY='secret vault-csi-provider-hmac-key -n kube-system'

setup_file() {
	local ns
	for ns in $NS $NS2; do fresh $ns & done
	wait
	kubectl label namespace $NS $NS2 secrets-store.csi.x-k8s.io/sync=enabled
	for ns in $NS $NS2; do kubectl -n $ns create serviceaccount web; done
	vault kv put secret/parity/one user="$VALUE-user" password="$VALUE-password" encoded="$(base64 <<<"$VALUE-encoded")"
	vault kv put secret/parity/two other="$VALUE-other"
	vault write pki/roles/parity allowed_domains=example.test allow_subdomains=true key_type=ec key_bits=256 max_ttl=72h
	vault write database/roles/parity db_name=postgres default_ttl=1h max_ttl=24h \
		creation_statements="CREATE ROLE \"{{name}}\" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'"
	vault policy write parity - <<-'END'
		path "secret/data/parity/*" { capabilities = ["read"] }
		path "pki/issue/parity" { capabilities = ["update"] }
		path "database/creds/parity" { capabilities = ["read"] }
		path "sys/leases/revoke" { capabilities = ["update"] }
	END
	vault_role $NS parity
	vault write auth/kubernetes/role/parity-audience bound_service_account_names=web bound_service_account_namespaces=$NS \
		audience=$AUDIENCE policies=parity ttl=20m
	vault write auth/jwt/role/parity role_type=jwt bound_audiences=vault user_claim=sub \
		bound_subject=system:serviceaccount:$NS:web policies=parity ttl=20m
	kubectl get csidriver secrets-store.csi.k8s.io -o jsonpath='{.spec.tokenRequests}' >"$BATS_FILE_TMPDIR/audiences"
}

teardown_file() {
	audiences "$(cat "$BATS_FILE_TMPDIR/audiences")"
	drop $NS $NS2
}

# audiences JSON: the driver's pods get tokens for these.
audiences() { kubectl patch csidriver secrets-store.csi.k8s.io --type=merge -p "{\"spec\": {\"tokenRequests\": $1}}"; }

# deployment NAME VARIABLES VOLUMES...: of one pod, whose variables are VARIABLE=SECRET/KEY
# with commas between; a volume for each class.
deployment() {
	local name=$1 pair rest more='' env=''
	for pair in ${2//,/ }; do
		rest=${pair#*=}
		env+="{name: ${pair%%=*}, valueFrom: {secretKeyRef: {name: ${rest%/*}, key: ${rest#*/}}}},"
	done
	more="env: [$env]"
	kubectl apply -f - >/dev/null <<-END
		apiVersion: apps/v1
		kind: Deployment
		metadata: {name: $name, namespace: $NS}
		spec:
		  selector: {matchLabels: {app: $name}}
		  template:
		    metadata: {labels: {app: $name}}
		$(account=web more=$more pod_yaml x x "${@:3}" | sed -n '/^spec:/,$p' | sed 's/^/    /')
	END
	kubectl -n $NS rollout status deployment "$name" --timeout=90s
}

# in_deployment NAME COMMAND...
in_deployment() { kubectl -n $NS exec "deployment/$1" -- "${@:2}"; }

# key SECRET KEY
key() { kubectl -n $NS get secret "$1" -o json | jq -er --arg key "$2" '.data[$key] | @base64d'; }

# versions POD: of its objects, as JSON.
versions() {
	kubectl -n $NS get spcps -o json | jq -ec --arg pod "$1" '.items[] | select(.status.podName == $pod) | [.status.objects[].version] |
		if length > 0 then . else error("none yet") end'
}

@test "two keys of one secret become two files, one with a mode of its own" {
	vault_class $NS files 'roleName: parity' <<-'END'
		- {objectName: user, secretPath: secret/data/parity/one, secretKey: user}
		- {objectName: password, secretPath: secret/data/parity/one, secretKey: password, filePermission: 0624}
	END
	account=web pod $NS files files
	ready $NS files
	shows $NS files /mnt/0/user "$VALUE-user"
	shows $NS files /mnt/0/password "$VALUE-password"
	[ "$(inside $NS files stat -L -c %a /mnt/0/user)" = 644 ]
	[ "$(inside $NS files stat -L -c %a /mnt/0/password)" = 624 ]
}

@test "files become a Secret with labels and a variable, and it goes with its Deployment" {
	also=$(metadata='labels: {environment: test}' fills parity user=user decoded=decoded) vault_class $NS synced 'roleName: parity' <<-'END'
		- {objectName: user, secretPath: /v1/secret/data/parity/one, secretKey: user}
		- {objectName: decoded, secretPath: v1/secret/data/parity/one, secretKey: encoded, encoding: base64}
	END
	deployment synced FROM_SECRET=parity/user synced
	[ "$(in_deployment synced sh -c 'echo "$FROM_SECRET"')" = "$VALUE-user" ]
	[ "$(in_deployment synced cat /mnt/0/decoded)" = "$VALUE-encoded" ]
	[ "$(key parity decoded)" = "$VALUE-encoded" ]
	kubectl -n $NS get secret parity -o json | jq -e '.metadata.labels | .environment == "test" and ."secrets-store.csi.k8s.io/managed" == "true"'
	# Its owner is a SyncedSecret, and that one's is the ReplicaSet.
	owner=$(kubectl -n $NS get syncedsecret parity -o jsonpath='{.metadata.ownerReferences[*].kind}')
	[ "$owner" = ReplicaSet ]
	kubectl -n $NS delete deployment synced --wait=false
	eventually 60 absent -n $NS secret parity
}

@test "a class of another namespace cannot be used" {
	vault_class $NS2 elsewhere 'roleName: parity' <<-'END'
		- {objectName: user, secretPath: secret/data/parity/one, secretKey: user}
	END
	account=web pod $NS elsewhere elsewhere
	eventually 60 failed_with $NS elsewhere elsewhere 'not found'
}

@test "one pod has two volumes, with a Secret and a variable of each" {
	also=$(fills first user=user) vault_class $NS first 'roleName: parity' <<-'END'
		- {objectName: user, secretPath: secret/data/parity/one, secretKey: user}
	END
	also=$(fills second other=other) vault_class $NS second 'roleName: parity' <<-'END'
		- {objectName: other, secretPath: secret/data/parity/two, secretKey: other}
	END
	deployment both FIRST=first/user,SECOND=second/other first second
	[ "$(in_deployment both cat /mnt/0/user)" = "$VALUE-user" ]
	[ "$(in_deployment both cat /mnt/1/other)" = "$VALUE-other" ]
	[ "$(in_deployment both sh -c 'echo "$FIRST"')" = "$VALUE-user" ]
	[ "$(in_deployment both sh -c 'echo "$SECOND"')" = "$VALUE-other" ]
	[ "$(key first user)" = "$VALUE-user" ]
	[ "$(key second other)" = "$VALUE-other" ]
}

@test "a certificate is issued with PUT and arguments, and the file is the whole answer" {
	vault_class $NS pki 'roleName: parity' <<-'END'
		- objectName: all.json
		  secretPath: pki/issue/parity
		  method: PUT
		  secretArgs: {common_name: shop.example.test, alt_names: www.example.test, ttl: 24h}
	END
	account=web pod $NS pki pki
	ready $NS pki
	inside $NS pki cat /mnt/0/all.json >"$BATS_TEST_TMPDIR/all.json"
	[ "$(jq -r 'keys_unsorted | join(" ")' "$BATS_TEST_TMPDIR/all.json")" = 'request_id lease_id lease_duration renewable data warnings mount_type' ]
	for name in certificate issuing_ca; do jq -er ".data.$name" "$BATS_TEST_TMPDIR/all.json" >"$BATS_TEST_TMPDIR/$name"; done
	openssl verify -CAfile "$BATS_TEST_TMPDIR/issuing_ca" "$BATS_TEST_TMPDIR/certificate"
	openssl x509 -noout -ext subjectAltName -in "$BATS_TEST_TMPDIR/certificate" >"$BATS_TEST_TMPDIR/names"
	grep -q DNS:shop.example.test "$BATS_TEST_TMPDIR/names"
	grep -q DNS:www.example.test "$BATS_TEST_TMPDIR/names"
}

@test "one class mixes database, key/value and certificate" {
	vault_class $NS mixed 'roleName: parity' <<-'END'
		- {objectName: db/username, secretPath: database/creds/parity, secretKey: username}
		- {objectName: db/password, secretPath: database/creds/parity, secretKey: password}
		- {objectName: user, secretPath: secret/data/parity/one, secretKey: user}
		- {objectName: tls.crt, secretPath: pki/issue/parity, secretKey: certificate, method: PUT, secretArgs: {common_name: mixed.example.test}}
		- {objectName: tls.key, secretPath: pki/issue/parity, secretKey: private_key, method: PUT, secretArgs: {common_name: mixed.example.test}}
	END
	account=web pod $NS mixed mixed
	ready $NS mixed
	shows $NS mixed /mnt/0/user "$VALUE-user"
	user=$(inside $NS mixed cat /mnt/0/db/username)
	[ "$(PGUSER=$user PGPASSWORD=$(inside $NS mixed cat /mnt/0/db/password) psql -tAc 'select current_user')" = "$user" ]
	inside $NS mixed cat /mnt/0/tls.crt >"$BATS_TEST_TMPDIR/tls.crt"
	inside $NS mixed cat /mnt/0/tls.key >"$BATS_TEST_TMPDIR/tls.key"
	[ "$(openssl x509 -noout -pubkey -in "$BATS_TEST_TMPDIR/tls.crt")" = "$(openssl pkey -pubout -in "$BATS_TEST_TMPDIR/tls.key")" ]
}

@test "a role that wants another audience gets a token for it, where the class says so and the driver has it" {
	audiences "[{\"audience\": \"vault\"}, {\"audience\": \"$AUDIENCE\"}]"
	vault_class $NS audience 'roleName: parity-audience' "audience: $AUDIENCE" <<-'END'
		- {objectName: user, secretPath: secret/data/parity/one, secretKey: user}
	END
	account=web pod $NS audience audience
	ready $NS audience
	shows $NS audience /mnt/0/user "$VALUE-user"
}

@test "JWT auth takes the place of Kubernetes auth, by its mount alone and by its name" {
	vault_class $NS jwt-mount 'roleName: parity' 'vaultAuthMountPath: jwt' <<-'END'
		- {objectName: user, secretPath: secret/data/parity/one, secretKey: user}
	END
	vault_class $NS jwt-old 'roleName: parity' 'vaultKubernetesMountPath: jwt' <<-'END'
		- {objectName: user, secretPath: secret/data/parity/one, secretKey: user}
	END
	vault_class $NS jwt-method 'roleName: parity' 'authMethod: jwt' <<-'END'
		- {objectName: user, secretPath: secret/data/parity/one, secretKey: user}
	END
	mark=$(audit_mark)
	account=web pod $NS jwt jwt-mount jwt-old jwt-method
	ready $NS jwt
	for n in 0 1 2; do shows $NS jwt /mnt/$n/user "$VALUE-user"; done
	[ "$(audited "$mark" '.request.path == "auth/jwt/login" and .error == null')" -gt 0 ]
}

@test "versions are the same for a pod that is made again, and others once their key was deleted" {
	also=$(every 5s) vault_class $NS versions 'roleName: parity' <<-'END'
		- {objectName: user, secretPath: secret/data/parity/one, secretKey: user}
		- {objectName: whole, secretPath: secret/data/parity/two}
	END
	account=web pod $NS versions versions
	ready $NS versions
	before=$(eventually 30 versions versions)
	jq -e 'length == 2 and all(length == 44)' <<<"$before"
	kubectl -n $NS delete pod versions
	eventually 60 absent -n $NS spcps versions-$NS-versions
	account=web pod $NS versions versions
	ready $NS versions
	again=$(eventually 30 versions versions)
	[ "$(jq '.[0]' <<<"$again")" = "$(jq '.[0]' <<<"$before")" ]
	[ "$(jq '.[1]' <<<"$again")" = "$(jq '.[1]' <<<"$before")" ]

	# shellcheck disable=SC2086
	old=$(kubectl get $KEY -o jsonpath='{.data.key}')
	# shellcheck disable=SC2086
	kubectl delete $KEY
	others() { [ "$(versions versions | jq '.[0]')" != "$(jq '.[0]' <<<"$before")" ]; }
	eventually 120 others
	# shellcheck disable=SC2086
	new=$(kubectl get $KEY -o json | jq -e 'select(.immutable) | .data.key')
	[ "$new" != "\"$old\"" ]
	versions versions | jq -e 'all(length == 44)'
}

@test "no value and no token is in any log, event or status" {
	keep_logs
	kubectl get spcps,spc -A -o yaml >>"$LOGS"
	grep -q secret/data/parity/two "$LOGS" # it does look at the right things
	! grep -nF -e "$VALUE" -e 'eyJhbGciOi' -e hvs. -e 'PRIVATE KEY' "$LOGS"
}
