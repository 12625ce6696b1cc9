#!/usr/bin/env bats
# What the Vault provider promises, with a real Vault.

load helpers

node=${NODE_1:-} # where pods run, for there the provider is killed

setup_file() {
	fresh bats-vault
	kubectl -n bats-vault create serviceaccount web
	kubectl -n bats-vault create serviceaccount stranger
	vault kv put secret/bats/db username=app password='p@ss "w" <1>' number=12345678901234567890 encoded="$(printf 'a\0b' | base64)"
	vault kv put secret/bats/other x=y
	vault write kv/bats/old password=from-v1
	vault policy write bats - <<-'END'
		path "secret/data/bats/db" { capabilities = ["read"] }
		path "kv/bats/*" { capabilities = ["read"] }
	END
	role bats vault
}

teardown_file() { drop bats-vault; }

# role NAME AUDIENCE
role() {
	vault write "auth/kubernetes/role/$1" bound_service_account_names=web bound_service_account_namespaces=bats-vault \
		audience="$2" policies=bats ttl=20m
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
	shows bats-vault kv /mnt/0/deep/er/password 'p@ss "w" <1>'
	shows bats-vault kv /mnt/0/number 12345678901234567890
	shows bats-vault kv /mnt/0/old from-v1
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
	vault kv put secret/bats/db username=newer password=x number=1 encoded=
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

@test "a sealed Vault holds pods up, and they start once it is unsealed" {
	bin/ground/vault seal
	account=web pod bats-vault sealed versions
	eventually 60 failed_with bats-vault sealed 'sealed'
	shows bats-vault kv /mnt/0/username newer
	bin/ground/vault unseal
	ready bats-vault sealed
	shows bats-vault sealed /mnt/0/second newer
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
	! grep -nF -e 'p@ss' -e 'from-v1' -e 12345678901234567890 -e 'eyJhbGciOi' -e hvs. -e only-for-the-group -e c4n4ry "$LOGS"
}
