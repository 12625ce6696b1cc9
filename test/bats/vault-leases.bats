#!/usr/bin/env bats
# What the Vault provider promises about what Vault takes back: database users in a real
# PostgreSQL, and certificates. In the pods runs a program that reads its files and logs in
# five times a second, or every second where they are many; it writes a line for each
# failure.

load helpers

NS=bats-leases

setup_file() {
	fresh $NS
	kubectl -n $NS create serviceaccount web
	vault write pki/roles/leases allow_any_name=true key_type=ec key_bits=256 max_ttl=72h
	vault write pki/roles/leased allow_any_name=true key_type=ec key_bits=256 max_ttl=72h generate_lease=true
	database steady 1h 24h
	database renewed 20s 1h
	database short 20s 40s
	database rolled 1m 3m
	database gone 1h 24h
	database early 1h 24h
	vault policy write leases - <<-'END'
		path "database/creds/*" { capabilities = ["read"] }
		path "pki/issue/*" { capabilities = ["update"] }
		path "sys/leases/revoke" { capabilities = ["update"] }
	END
	vault_role $NS leases
	local role
	for role in steady renewed short rolled gone early; do credentials $role; done
	also=$(every 5s) credentials renewed refreshed
	also='rotation: {mode: Never}' credentials renewed never
	also='rotation: {mode: Never}' credentials steady never-steady
	many refreshed 3 refreshed
	many never 2 never
	many short 5 short
	kubectl -n $NS wait --for=condition=Available deployment --all --timeout=120s
	date +%s >"$BATS_FILE_TMPDIR/began"
}

teardown_file() { drop $NS; }

# database ROLE TTL MAX
database() {
	vault write "database/roles/$1" db_name=postgres default_ttl="$2" max_ttl="$3" \
		creation_statements="CREATE ROLE \"{{name}}\" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'"
}

# credentials ROLE [CLASS]: a class that gives both files.
credentials() {
	vault_class $NS "${2:-$1}" 'roleName: leases' <<-END
		- {objectName: username, secretPath: database/creds/$1, secretKey: username}
		- {objectName: password, secretPath: database/creds/$1, secretKey: password}
	END
}

# leases ROLE: how many users of that role Vault has to take back.
leases() { vault list -format=json "sys/leases/lookup/database/creds/$1" | jq length; }

no_leases() { [ "$(leases "$1")" = 0 ]; }

# many NAME REPLICAS CLASS: a Deployment whose pods log in all the time.
many() {
	kubectl apply -f - >/dev/null <<-END
		apiVersion: apps/v1
		kind: Deployment
		metadata: {name: $1, namespace: $NS}
		spec:
		  replicas: $2
		  selector: {matchLabels: {app: $1}}
		  template:
		    metadata: {labels: {app: $1}}
		$(logs_in "$3" | sed -n '/^spec:/,$p' | sed 's/^/    /')
	END
}

# logs_in CLASS: such a pod. The shell's variable pace is the time between two logins, if
# it is set.
logs_in() {
	local name env=''
	for name in PGHOST PGPORT PGDATABASE PGSSLMODE; do env+="{name: $name, value: '${!name}'},"; done
	IMAGE=strongroom/login:dev program="/login${pace:+, -every, $pace}" more="env: [$env]" account=web pod_yaml $NS x "$1"
}

# counts NAME: the last line of each pod with its counts.
counts() {
	kubectl -n $NS logs -l "app=$1" --prefix --tail=3 --max-log-requests=100 |
		awk '/ logins=/ { last[$1] = $0 } END { for (pod in last) print last[pod] }'
}

# failures NAME: what the pods say of logins that failed.
failures() { kubectl -n $NS logs -l "app=$1" --prefix --tail=-1 --max-log-requests=100 | grep ' failed: '; }

# all_log_in NAME PODS USERS: that many pods have logged in, none has ever failed, and each
# has had so many users (a number, or one with "+" for at least).
all_log_in() {
	local got
	got=$(counts "$1") || return
	if grep -v ' failed=0 ' <<<"$got"; then
		failures "$1" | head -n 5
		return 1
	fi
	[ "$(grep -c ' logins=[1-9]' <<<"$got")" = "$2" ] || { echo "not $2 pods that log in: $got"; return 1; }
	awk -v want="${3%+}" -v more="${3//[0-9]/}" -F'users=' '$2 < want || (!more && $2 > want) { bad = 1 } END { exit bad }' <<<"$got" ||
		{ echo "not $3 users each: $got"; return 1; }
}

# past SECONDS: so many have passed since the shell's variable began.
past() { [ $(($(date +%s) - began)) -ge "$1" ]; }

# user POD: the one in its file.
user() { inside $NS "$1" cat /mnt/0/username; }

@test "user and password belong together, and log in" {
	account=web pod $NS pair steady
	ready $NS pair
	name=$(user pair)
	[ "$(PGUSER=$name PGPASSWORD=$(inside $NS pair cat /mnt/0/password) psql -tAc 'select current_user')" = "$name" ]
}

@test "no two pods share a user, though they share a service account" {
	account=web pod $NS other steady
	ready $NS other
	[ "$(user other)" != "$(user pair)" ]
}

@test "a login that fails would be seen" {
	many early 2 early
	eventually 60 all_log_in early 2 1
	vault lease revoke -prefix -sync database/creds/early
	seen() { failures early | grep 'password authentication failed'; }
	eventually 30 seen
	fails() { ! all_log_in early 2 1; } # it counts once in a second
	eventually 30 fails
	kubectl -n $NS delete deployment early --wait=false
}

@test "a user stays over refreshes, and is renewed long past its first term" {
	began=$(cat "$BATS_FILE_TMPDIR/began")
	eventually 60 past 55
	all_log_in refreshed 3 1
}

@test "a user is renewed also where volumes are never refreshed" {
	all_log_in never 2 1
}

@test "a user who cannot be renewed any more has a successor before it goes" {
	began=$(cat "$BATS_FILE_TMPDIR/began")
	eventually 90 past 85
	all_log_in short 5 2+
	kubectl -n $NS delete deployment refreshed never short --wait=false
}

@test "a deleted pod leaves no lease ten seconds later, and others keep theirs" {
	many gone 10 gone
	many kept 2 gone
	eventually 90 all_log_in gone 10 1
	eventually 90 all_log_in kept 2 1
	[ "$(leases gone)" -ge 12 ]
	kubectl -n $NS delete deployment gone
	kubectl -n $NS wait --for=delete pod -l app=gone --timeout=60s
	two_left() { [ "$(leases gone)" = 2 ] || { leases gone; return 1; }; }
	eventually 20 two_left
	all_log_in kept 2 1
	kubectl -n $NS delete deployment kept
	kubectl -n $NS wait --for=delete pod -l app=kept --timeout=60s
	eventually 20 no_leases gone
}

@test "behind an Agent that caches, a deleted pod takes no user away from another" {
	vault_class $NS agent 'roleName: leases' 'vaultAddress: unix:///var/run/vault/agent.sock' <<-'END'
		- {objectName: username, secretPath: database/creds/gone, secretKey: username}
		- {objectName: password, secretPath: database/creds/gone, secretKey: password}
	END
	node=$NODE_1 many agent 3 agent
	eventually 90 all_log_in agent 3 1
	kubectl -n $NS scale deployment agent --replicas=1
	one() { [ "$(kubectl -n $NS get pods -l app=agent -o name | wc -l)" = 1 ]; }
	eventually 60 one
	began=$(date +%s)
	eventually 20 past 15
	all_log_in agent 1 1
	kubectl -n $NS delete deployment agent
	kubectl -n $NS wait --for=delete pod -l app=agent --timeout=60s
	eventually 20 no_leases gone
}

@test "the provider is replaced under fifty pods that are refreshed, and no login fails" {
	pace=1s many rolled 50 rolled
	eventually 180 all_log_in rolled 50 1+
	roll vault-csi-provider
	began=$(date +%s)
	eventually 120 all_log_in rolled 50 2+
	eventually 70 past 65 # by then the users of before are gone
	all_log_in rolled 50 2+
	kubectl -n $NS delete deployment rolled
}

@test "the provider is replaced under fifty pods that are never refreshed, and no login fails" {
	pace=1s many unrefreshed 50 never-steady
	eventually 180 all_log_in unrefreshed 50 1
	roll vault-csi-provider
	began=$(date +%s)
	eventually 20 past 15
	all_log_in unrefreshed 50 1
	kubectl -n $NS delete deployment unrefreshed
}

@test "Vault is restarted under pods that log in, and no login fails" {
	many through 5 renewed
	eventually 60 all_log_in through 5 1
	bin/ground/vault restart
	began=$(date +%s)
	eventually 50 past 45 # twice its term
	all_log_in through 5 1+
	kubectl -n $NS delete deployment through
}

# certificate ROLE TTL: a class with certificate and key of one call.
certificate() {
	also=$(every 5s) vault_class $NS "$1" 'roleName: leases' <<-END
		- {objectName: tls.crt, secretPath: pki/issue/$1, secretKey: certificate, method: PUT, secretArgs: {common_name: shop.example.test, ttl: $2}}
		- {objectName: tls.key, secretPath: pki/issue/$1, secretKey: private_key, method: PUT, secretArgs: {common_name: shop.example.test, ttl: $2}}
	END
}

# both POD: certificate and key of one generation, of which ..data is one at any time.
both() { inside $NS "$1" sh -c 'cd /mnt/0/..data && cat tls.crt && echo && cat tls.key'; }

# fits POD: certificate and key belong together, and the certificate has not ended.
fits() {
	local pem=$BATS_TEST_TMPDIR/pair.pem
	eventually 5 both "$1" >"$pem" || return # the generation may go while it is read
	openssl x509 -noout -checkend 0 -in "$pem" || return
	[ "$(openssl x509 -noout -pubkey -in "$pem")" = "$(openssl pkey -pubout -in "$pem")" ]
}

serial() { inside $NS "$1" cat /mnt/0/tls.crt | openssl x509 -noout -serial; }

# issued MARK ROLE: how many certificates were since then.
issued() { audited "$1" ".request.path == \"pki/issue/$2\" and .error == null"; }

@test "a certificate stays over refreshes for two thirds of its life, then a new one comes in time" {
	certificate leases 60s
	mark=$(audit_mark)
	began=$SECONDS
	account=web pod $NS cert leases
	ready $NS cert
	fits cert
	first=$(serial cert)
	new() { [ "$(serial cert)" != "$first" ]; }
	while ! new; do
		[ $((SECONDS - began)) -le 60 ]
		fits cert
		sleep 1
	done
	[ $((SECONDS - began)) -ge 35 ]
	fits cert
	[ "$(issued "$mark" leases)" = 2 ] # one for both files, and the new one
}

@test "a certificate is not shared, and one with a lease stays as long" {
	certificate leased 10m
	mark=$(audit_mark)
	account=web pod $NS leased leased
	account=web pod $NS leased2 leased
	ready $NS leased
	ready $NS leased2
	first=$(serial leased)
	[ "$(serial leased2)" != "$first" ]
	began=$(date +%s)
	eventually 20 past 15 # two refreshes at least
	[ "$(serial leased)" = "$first" ]
	[ "$(issued "$mark" leased)" = 2 ]
}

@test "no user, no key and no token is in any log, event or status" {
	keep_logs
	kubectl get spcps,spc -A -o yaml >>"$LOGS"
	grep -q database/creds/steady "$LOGS" # it does look at the right things
	! grep -nF -e "$(inside $NS pair cat /mnt/0/password)" -e 'eyJhbGciOi' -e hvs. -e 'PRIVATE KEY' "$LOGS"
}
