#!/usr/bin/env bats
# What the Vault provider promises, with a real Vault.

load helpers

AGENT='vaultAddress: unix:///var/run/vault/agent.sock'
node=${NODE_1:-} # where pods run, for there the provider is killed

setup_file() {
	fresh bats-vault
	kubectl -n bats-vault create serviceaccount web
	kubectl -n bats-vault create serviceaccount stranger
	vault kv put secret/bats/db username=app password='c4n4ry-p@ss "w" <1>' number=12345678901234567890 encoded="$(printf 'a\0b' | base64)"
	vault kv put secret/bats/other x=c4n4ry-other
	vault write kv/bats/old password=c4n4ry-v1
	vault policy write bats - <<-'END'
		path "secret/data/bats/db" { capabilities = ["read"] }
		path "kv/bats/*" { capabilities = ["read"] }
	END
	role bats vault
	other_methods
}

teardown_file() { drop bats-vault; }

# seal: Vault stays so for the rest of the test at most.
seal() {
	touch "$BATS_TEST_TMPDIR/sealed"
	bin/ground/vault seal
}

teardown() { [ ! -e "$BATS_TEST_TMPDIR/sealed" ] || bin/ground/vault unseal; }

# role NAME AUDIENCE
role() {
	vault write "auth/kubernetes/role/$1" bound_service_account_names=web bound_service_account_namespaces=bats-vault \
		audience="$2" policies=bats ttl=20m
}

# other_methods: ways to log in with a credential of the pod's own, one Secret for each.
other_methods() {
	local dir=$BATS_FILE_TMPDIR ec='-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes'
	vault write auth/approle/role/bats token_policies=bats token_ttl=20m
	kubectl -n bats-vault create secret generic approle \
		--from-literal=role_id="$(vault read -field=role_id auth/approle/role/bats/role-id)" \
		--from-literal=secret_id="$(vault write -f -field=secret_id auth/approle/role/bats/secret-id | tee "$dir/secret-id")"
	# shellcheck disable=SC2086
	openssl req -x509 $ec -subj /CN=bats -days 2 -keyout "$dir/ca.key" -out "$dir/ca.crt"
	# shellcheck disable=SC2086
	openssl req $ec -subj /CN=web -keyout "$dir/tls.key" -out "$dir/tls.csr"
	openssl x509 -req -in "$dir/tls.csr" -CA "$dir/ca.crt" -CAkey "$dir/ca.key" -days 1 -out "$dir/tls.crt" \
		-extfile <(echo extendedKeyUsage=clientAuth)
	vault write auth/cert/certs/bats certificate=@"$dir/ca.crt" token_policies=bats token_ttl=20m
	kubectl -n bats-vault create secret tls cert --cert="$dir/tls.crt" --key="$dir/tls.key"
}

# vclass NAME [ROLE [LINE...]]: objects as YAML from standard input.
vclass() {
	local name=$1 role=${2:-bats}
	[ $# -gt 2 ] && shift 2 || shift $#
	{
		printf 'roleName: %s\n' "$role"
		local line
		for line; do echo "$line"; done
		echo 'objects: |'
		sed 's/^/  /'
	} | class bats-vault "$name" vault
}

@test "a pod reads KV version 2 and version 1" {
	vclass kv <<-'END'
		- {objectName: username, secretPath: secret/data/bats/db, secretKey: username}
		- {objectName: deep/er/password, secretPath: /v1/secret/data/bats/db, secretKey: password, filePermission: 0400}
		- {objectName: number, secretPath: v1/secret/data/bats/db, secretKey: number}
		- {objectName: bytes, secretPath: secret/data/bats/db, secretKey: encoded, encoding: base64}
		- {objectName: old, secretPath: kv/bats/old, secretKey: password}
	END
	account=web pod bats-vault kv kv
	ready bats-vault kv
	shows bats-vault kv /mnt/0/username app
	shows bats-vault kv /mnt/0/deep/er/password 'c4n4ry-p@ss "w" <1>'
	shows bats-vault kv /mnt/0/number 12345678901234567890
	shows bats-vault kv /mnt/0/old c4n4ry-v1
	[ "$(inside bats-vault kv sh -c 'od -An -tx1 /mnt/0/bytes' | tr -d ' \n')" = 610062 ]
	[ "$(inside bats-vault kv stat -L -c %a /mnt/0/deep/er/password)" = 400 ]
}

@test "an object without a key is the whole answer" {
	vclass whole <<-'END'
		- {objectName: all.json, secretPath: secret/data/bats/db}
	END
	account=web pod bats-vault whole whole
	ready bats-vault whole
	inside bats-vault whole cat /mnt/0/all.json | jq -e '.data.data.username == "app" and has("request_id") and has("lease_duration")'
}

@test "an old version of a secret can be asked for" {
	vault kv put secret/bats/db username=newer password=c4n4ry-newer number=1 encoded=
	vclass versions <<-'END'
		- {objectName: first, secretPath: "secret/data/bats/db?version=1", secretKey: username}
		- {objectName: second, secretPath: "secret/data/bats/db?version=2", secretKey: username}
	END
	account=web pod bats-vault versions versions
	ready bats-vault versions
	shows bats-vault versions /mnt/0/first app
	shows bats-vault versions /mnt/0/second newer
}

@test "what is written to Vault reaches a running pod, but not where a version was asked for" {
	eventually 30 shows bats-vault kv /mnt/0/username newer
	shows bats-vault versions /mnt/0/first app
}

@test "a path that policy denies is named, with the role" {
	vclass denied <<-'END'
		- {objectName: fine, secretPath: secret/data/bats/db, secretKey: username}
		- {objectName: not-mine, secretPath: secret/data/bats/other, secretKey: x}
	END
	account=web pod bats-vault denied denied
	eventually 60 failed_with bats-vault denied 'not-mine' 'secret/data/bats/other' 'bats' 'permission denied'
	[ "$(kubectl -n bats-vault get pod denied -o jsonpath='{.status.containerStatuses[0].state.waiting.reason}')" = ContainerCreating ]
}

@test "another service account is refused in Vault's words" {
	account=stranger pod bats-vault stranger kv
	eventually 60 failed_with bats-vault stranger 'service account name not authorized'
}

@test "a token of the wrong audience is refused" {
	role elsewhere someone-else
	vclass elsewhere elsewhere <<-'END'
		- {objectName: a, secretPath: secret/data/bats/db, secretKey: username}
	END
	account=web pod bats-vault elsewhere elsewhere
	eventually 60 failed_with bats-vault elsewhere 'invalid audience'
}

@test "an audience that the driver has no token for is named, with the cure" {
	vclass unasked bats 'audience: nobody-asked' <<-'END'
		- {objectName: a, secretPath: secret/data/bats/db, secretKey: username}
	END
	account=web pod bats-vault unasked unasked
	eventually 60 failed_with bats-vault unasked 'nobody-asked' 'tokenRequests'
}

@test "a key and a path that do not exist are named" {
	vclass nokey <<-'END'
		- {objectName: a, secretPath: secret/data/bats/db, secretKey: no-such-key}
	END
	account=web pod bats-vault nokey nokey
	eventually 60 failed_with bats-vault nokey 'no-such-key' 'secret/data/bats/db' 'does not exist'
	vclass nopath <<-'END'
		- {objectName: a, secretPath: kv/bats/nothing, secretKey: x}
	END
	account=web pod bats-vault nopath nopath
	eventually 60 failed_with bats-vault nopath 'kv/bats/nothing'
}

@test "a misspelt field is named, with the right one" {
	vclass typo <<-'END'
		- {objectName: a, secretPath: secret/data/bats/db, secretkey: username}
	END
	account=web pod bats-vault typo typo
	eventually 60 failed_with bats-vault typo 'secretkey' 'secretKey'
}

@test "a pod logs in with an AppRole of its own" {
	method approle <<-'END'
		- {objectName: number, secretPath: "secret/data/bats/db?version=1", secretKey: number}
	END
	credential=approle pod bats-vault approle approle
	ready bats-vault approle
	shows bats-vault approle /mnt/0/number 12345678901234567890
	[ "$(audited "$(cat "$BATS_TEST_TMPDIR/mark")" '.request.path == "auth/approle/login" and .error == null')" = 1 ]
}

# method NAME: a class of that name and auth method; objects from standard input.
method() {
	audit_mark >"$BATS_TEST_TMPDIR/mark"
	vault_class bats-vault "$1" "authMethod: $1" "${@:2}"
}

@test "an AppRole credential that is wrong, or missing, is refused in words" {
	kubectl -n bats-vault create secret generic wrong --from-literal=role_id=no-such-role --from-literal=secret_id=c4n4ry-secret-id
	credential=wrong pod bats-vault wrong-approle approle
	pod bats-vault no-approle approle
	eventually 60 failed_with bats-vault wrong-approle 'auth/approle' 'invalid role'
	eventually 60 failed_with bats-vault no-approle 'nodePublishSecretRef' 'role_id'
}

@test "a pod logs in with a certificate of its own" {
	method cert 'roleName: bats' <<-'END'
		- {objectName: number, secretPath: "secret/data/bats/db?version=1", secretKey: number}
	END
	credential=cert pod bats-vault cert cert
	ready bats-vault cert
	shows bats-vault cert /mnt/0/number 12345678901234567890
	[ "$(audited "$(cat "$BATS_TEST_TMPDIR/mark")" '.request.path == "auth/cert/login" and .error == null')" = 1 ]
	pod bats-vault no-cert cert
	eventually 60 failed_with bats-vault no-cert 'nodePublishSecretRef' 'tls.key'
}

@test "an auth method that is unknown is named, with those that are" {
	method token <<-'END'
		- {objectName: a, secretPath: secret/data/bats/db, secretKey: username}
	END
	account=web pod bats-vault token token
	eventually 60 failed_with bats-vault token 'authMethod' 'approle'
}

@test "a JWT role may bind one pod" {
	role=$(jq -nc '{role_type: "jwt", bound_audiences: ["vault"], user_claim: "sub", token_policies: ["bats"], token_ttl: "20m",
		bound_claims: {"/kubernetes.io/pod/name": "bound"}}')
	vault write auth/jwt/role/bats - <<<"$role"
	method jwt 'roleName: bats' <<-'END'
		- {objectName: number, secretPath: "secret/data/bats/db?version=1", secretKey: number}
	END
	account=web pod bats-vault bound jwt
	ready bats-vault bound
	account=web pod bats-vault unbound jwt
	eventually 60 failed_with bats-vault unbound 'auth/jwt' 'claim'
}

@test "through a Vault Agent at a unix socket, also one that was restarted" {
	vclass agent bats "$AGENT" <<-'END'
		- {objectName: number, secretPath: "secret/data/bats/db?version=1", secretKey: number}
	END
	through() { kubectl -n kube-system logs "$(pod_on "$NODE_1" vault-csi-provider)" -c agent "$@" | grep -c "path=/v1/secret/data/bats/db"; }
	account=web pod bats-vault agent agent
	ready bats-vault agent
	shows bats-vault agent /mnt/0/number 12345678901234567890
	[ "$(through)" -gt 0 ]
	kill_on_node /vault
	account=web pod bats-vault agent2 agent
	ready bats-vault agent2
	shows bats-vault agent2 /mnt/0/number 12345678901234567890
}

@test "many pods of a service account log in once, and read once in an interval" {
	kubectl -n bats-vault create serviceaccount many
	vault kv put secret/bats/many a=c4n4ry-a b=c4n4ry-b
	vault policy write many - <<<'path "secret/data/bats/many" { capabilities = ["read"] }'
	account=many vault_role bats-vault many
	also=$(every 10s) vault_class bats-vault many 'roleName: many' <<-'END'
		- {objectName: a, secretPath: secret/data/bats/many, secretKey: a}
		- {objectName: b, secretPath: secret/data/bats/many, secretKey: b}
	END
	mark=$(audit_mark)
	began=$SECONDS
	for n in $(seq 20); do account=many pod_yaml bats-vault "many-$n" many; done | kubectl apply -f -
	for n in $(seq 20); do ready bats-vault "many-$n"; done
	[ "$(logins "$mark" many)" = 1 ]
	# The first one, and one in each interval since, however long the pods take to start.
	[ "$(reads "$mark" many)" -le $((2 + (SECONDS - began) / 9)) ]
	mark=$(audit_mark)
	began=$SECONDS
	seen() { [ "$(reads "$mark" many)" -ge 4 ]; }
	eventually 60 seen
	[ "$(logins "$mark" many)" = 0 ]
	# Four reads are four intervals, or three and what was left of one.
	[ $((SECONDS - began)) -ge 26 ]
	kubectl -n bats-vault delete pods --wait=false $(seq -f 'many-%g' 20)
}

# last_read PATH: when Vault last gave it, in seconds.
last_read() {
	jq -rR --arg path "$1" 'fromjson? | select(.type == "response" and .error == null and .request.path == $path) | .time[0:19] + "Z" | fromdate' \
		"$STRONGROOM_RUN/vault/audit.log" | tail -n 1
}

# logins MARK ACCOUNT: of a service account since then; reads MARK NAME of secret/bats/NAME.
logins() { audited "$1" ".request.path == \"auth/kubernetes/login\" and .auth.metadata.service_account_name == \"$2\""; }
reads() { audited "$1" ".request.path == \"secret/data/bats/$2\" and .error == null"; }

@test "a whole answer keeps its bytes while its data does" {
	vault kv put secret/bats/whole x=c4n4ry-1
	vault policy write whole - <<<'path "secret/data/bats/whole" { capabilities = ["read"] }'
	vault_role bats-vault whole
	also=$(every 5s) vault_class bats-vault stable 'roleName: whole' <<-'END'
		- {objectName: all.json, secretPath: secret/data/bats/whole}
	END
	account=web pod bats-vault stable stable
	ready bats-vault stable
	first=$(inside bats-vault stable cat /mnt/0/all.json)
	mark=$(audit_mark)
	seen() { [ "$(reads "$mark" whole)" -ge 3 ]; }
	eventually 60 seen
	shows bats-vault stable /mnt/0/all.json "$first"
	vault kv put secret/bats/whole x=c4n4ry-2
	changed() { inside bats-vault stable cat /mnt/0/all.json | jq -e '.data.data.x == "c4n4ry-2"'; }
	eventually 30 changed
}

@test "a token that Vault has taken back costs one login, and no refresh, also behind an Agent" {
	kubectl -n bats-vault create serviceaccount robbed
	vault kv put secret/bats/robbed x=c4n4ry-1
	vault policy write robbed - <<<'path "secret/data/bats/robbed" { capabilities = ["read"] }'
	account=robbed vault_role bats-vault robbed
	for class in robbed robbed-agent; do
		also=$(every 5s) vault_class bats-vault $class 'roleName: robbed' "$([ $class = robbed ] || echo "$AGENT")" <<-'END'
			- {objectName: x, secretPath: secret/data/bats/robbed, secretKey: x}
		END
	done
	account=robbed pod bats-vault robbed robbed robbed-agent
	ready bats-vault robbed
	mark=$(audit_mark)
	vault lease revoke -prefix -sync auth/kubernetes/login
	vault kv put secret/bats/robbed x=c4n4ry-2
	eventually 30 shows bats-vault robbed /mnt/0/x c4n4ry-2
	eventually 30 shows bats-vault robbed /mnt/1/x c4n4ry-2
	[ "$(logins "$mark" robbed)" = 2 ]
	[ "$(kubectl -n bats-vault get events --field-selector involvedObject.name=robbed,type=Warning -o name)" = '' ]
}

@test "a path that policy denies makes no loop of logins" {
	kubectl -n bats-vault create serviceaccount loop
	vault policy write loop - <<<'path "secret/data/bats/loop" { capabilities = ["list"] }'
	account=loop vault_role bats-vault loop
	vault_class bats-vault loop 'roleName: loop' <<-'END'
		- {objectName: not-mine, secretPath: secret/data/bats/loop, secretKey: x}
	END
	mark=$(audit_mark)
	account=loop pod bats-vault loop loop
	denials() { [ "$(audited "$mark" '.request.path == "secret/data/bats/loop" and .error != null')" -ge 5 ]; }
	eventually 90 denials
	[ "$(logins "$mark" loop)" -le 2 ]
	kubectl -n bats-vault delete pod loop --wait=false
}

@test "where a class allows it, a new pod gets the last value while Vault is sealed, and others are told" {
	vclass stale bats 'staleIfError: 5m' <<-'END'
		- {objectName: number, secretPath: "secret/data/bats/db?version=1", secretKey: number}
	END
	account=web pod bats-vault stale stale
	ready bats-vault stale
	seal
	# What was read within ten seconds is fresh for every pod.
	aged() { [ $(($(date +%s) - $(last_read secret/data/bats/db))) -gt 11 ]; }
	eventually 30 aged
	account=web pod bats-vault stale2 stale
	ready bats-vault stale2
	shows bats-vault stale2 /mnt/0/number 12345678901234567890
	events() { kubectl -n bats-vault get events -o json | jq -e '[.items[] | select(.involvedObject.name == "stale2" and (.message | test("stale|last value"; "i")))] | length > 0'; }
	eventually 30 events
	account=stranger pod bats-vault stale3 stale
	eventually 60 failed_with bats-vault stale3 'sealed'
	bin/ground/vault unseal
	kubectl -n bats-vault delete pod stale3 --wait=false
}

@test "a sealed Vault holds pods up, and they start once it is unsealed" {
	vault write kv/bats/sealed x=c4n4ry-unread
	vclass sealed <<-'END'
		- {objectName: x, secretPath: kv/bats/sealed, secretKey: x}
	END
	seal
	account=web pod bats-vault sealed sealed
	eventually 60 failed_with bats-vault sealed 'sealed'
	shows bats-vault kv /mnt/0/username newer
	bin/ground/vault unseal
	ready bats-vault sealed
	shows bats-vault sealed /mnt/0/x c4n4ry-unread
}

@test "the provider is killed, then replaced, and Vault restarted under a running pod, and it loses no file" {
	before=$(restarts vault-csi-provider)
	kill_on_node /provider-vault
	more() { [ "$(restarts vault-csi-provider)" -gt "$before" ]; }
	eventually 60 more
	shows bats-vault kv /mnt/0/username newer
	bin/ground/vault restart
	roll vault-csi-provider
	shows bats-vault kv /mnt/0/username newer
	account=web pod bats-vault after versions
	ready bats-vault after
	shows bats-vault after /mnt/0/second newer
}

@test "no secret and no token is in any log, event or status" {
	keep_logs
	kubectl get spcps,spc -A -o yaml >>"$LOGS"
	grep -q secret/data/bats/other "$LOGS" # it does look at the right things
	grep -q 'service account name not authorized' "$LOGS"
	! grep -nF -e "$(cat "$BATS_FILE_TMPDIR/secret-id")" -e 'PRIVATE KEY' -e 'p@ss' -e 'from-v1' -e 12345678901234567890 -e 'eyJhbGciOi' -e hvs. -e only-for-the-group -e c4n4ry "$LOGS"
}
