#!/usr/bin/env bats
# What strongroomctl grants prints for Vault is all that a pod needs, and nothing more.

load helpers

NS=bats-grants
CTL=${CTL:-$BATS_TEST_DIRNAME/../../bin/linux/strongroomctl}

setup_file() {
	fresh $NS
	kubectl -n $NS create serviceaccount web
	vault kv put secret/grants/db username=app password=c4n4ry-grants
	vault kv put secret/grants/other password=c4n4ry-other
	vault secrets enable -path=pki-grants pki
	vault write pki-grants/root/generate/internal common_name=grants ttl=24h
	vault write pki-grants/roles/web allow_any_name=true max_ttl=1h
	class_of listed <<-'END' >"$BATS_FILE_TMPDIR/listed.yaml"
		- {objectName: user, secretPath: secret/data/grants/db, secretKey: username}
		- {objectName: password, secretPath: secret/data/grants/db, secretKey: password}
		- {objectName: tls.crt, secretPath: pki-grants/issue/web, secretKey: certificate, method: PUT, secretArgs: {common_name: web.test}}
	END
	class_of other <<-'END' >"$BATS_FILE_TMPDIR/other.yaml"
		- {objectName: password, secretPath: secret/data/grants/other, secretKey: password}
	END
	kubectl apply -f "$BATS_FILE_TMPDIR"
}

teardown_file() {
	vault secrets disable pki-grants
	vault delete auth/kubernetes/role/bats-grants
	vault policy delete $NS-web
	vault kv metadata delete secret/grants/db
	vault kv metadata delete secret/grants/other
	drop $NS
}

# class_of NAME: a class with objects from standard input.
class_of() {
	{
		echo 'roleName: bats-grants'
		echo 'objects: |'
		sed 's/^/  /'
	} | class_yaml $NS "$1" vault
}

@test "with the commands of strongroomctl grants a pod mounts its class" {
	"$CTL" grants "$BATS_FILE_TMPDIR/listed.yaml" --service-account $NS/web >"$BATS_TEST_TMPDIR/script"
	bash -e "$BATS_TEST_TMPDIR/script"
	account=web pod $NS web listed
	ready $NS web
	shows $NS web /mnt/0/user app
	shows $NS web /mnt/0/password c4n4ry-grants
	[[ $(inside $NS web head -n 1 /mnt/0/tls.crt) == -----BEGIN\ CERTIFICATE----- ]]
}

@test "the same role reads no path that the class does not have, and lists nothing" {
	account=web pod $NS greedy other
	eventually 60 failed_with $NS greedy secret/data/grants/other "permission denied"
	local token
	token=$(vault token create -policy=$NS-web -ttl=5m -field=token)
	[ "$(VAULT_TOKEN=$token vault token capabilities secret/data/grants/db)" = read ]
	[ "$(VAULT_TOKEN=$token vault token capabilities secret/data/grants/other)" = deny ]
	[ "$(VAULT_TOKEN=$token vault token capabilities secret/metadata/grants)" = deny ]
}

@test "another service account cannot use the role" {
	account=default pod $NS stranger listed
	eventually 60 failed_with $NS stranger 'service account name not authorized'
}
