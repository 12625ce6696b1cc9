#!/usr/bin/env bats
# What the Azure provider promises, with an Azure of tests: who asks, what happens when
# something changes or goes wrong, and what it costs. What files look like is tested in
# azure-parity.bats.

load helpers
load azure

NS=bats-azure
VALUE=c4n4ry-azure # begins every value
NAME=csi-secrets-store-provider-azure
node=${NODE_1:-} # where pods run, for requests are counted there

setup_file() {
	fresh $NS
	kubectl label namespace $NS secrets-store.csi.x-k8s.io/sync=enabled
	azure_reset $NS web many
	for account in web many stranger; do kubectl -n $NS create serviceaccount $account; done
	azure_credential $NS azure
	azure_credential $NS wrong $AZURE_PRINCIPAL "$VALUE-wrong"
	azure_credential $NS nobody $AZURE_STRANGER
	azure_put db "$VALUE-db"
	for who in principal workload machine assigned nmi; do
		azure_put "rotated-$who" "$VALUE-1"
		azure_put "shifted-$who" "$VALUE-old" 1700000001
		azure_put "shifted-$who" "$VALUE-new" 1700000002
	done
	identities
}

teardown_file() {
	azure DELETE faults
	drop $NS
	lawful
}

# identities: a class for each way to say who asks, and a pod that reads the same with it.
identities() {
	local who
	for who in principal workload machine assigned nmi; do
		also=$(
			every 5s
			fills "$who" "rotated-$who=key"
		) azure_class $NS "$who" "$(as_$who)" <<-END
			objectName: db, objectType: secret
			objectName: rotated-$who, objectType: secret
			objectName: shifted-$who, objectType: secret, objectVersionHistory: 2
		END
		credential='' account=web
		[ $who != principal ] || credential=azure
		pod_yaml $NS $who $who
	done | kubectl apply -f -
}

as_principal() { :; }

# away: without the metadata endpoint of a virtual machine.
away() { [ -n "${AZURE_METADATA:-}" ] || skip 'the nodes of this cluster have no metadata endpoint of the tests'; }

@test "a service principal reads with the secret of nodePublishSecretRef" {
	ready $NS principal
	shows $NS principal /mnt/0/db "$VALUE-db"
	[ "$(asked '.name == "db" and .client == "'$AZURE_PRINCIPAL'" and .status == 200')" -ge 1 ]
}

@test "a pod reads with its own token, by workload identity" {
	ready $NS workload
	shows $NS workload /mnt/0/db "$VALUE-db"
	[ "$(asked '.name == "db" and .client == "'$AZURE_WORKLOAD'" and .status == 200')" -ge 1 ]
}

@test "a pod reads as the machine, and as an identity that is assigned to it" {
	away
	for who in machine assigned; do
		ready $NS $who
		shows $NS $who /mnt/0/db "$VALUE-db"
	done
	for client in $AZURE_SYSTEM $AZURE_ASSIGNED; do
		[ "$(asked '.name == "db" and .client == "'$client'" and .status == 200')" -ge 1 ]
		[ "$(tokens $client)" -le 1 ] # none, if the provider still has that of an earlier run
	done
	azure_class $NS unassigned "$(as_machine)" "userAssignedIdentityID: $AZURE_STRANGER" <<<'objectName: db, objectType: secret'
	pod $NS unassigned unassigned
	eventually 60 failed_with $NS unassigned $AZURE_STRANGER 'Identity not found' 'give the identity to the virtual machine'
	kubectl -n $NS delete pod unassigned --wait=false
}

@test "a pod reads by pod identity, and one without is refused in words" {
	away
	ready $NS nmi
	shows $NS nmi /mnt/0/db "$VALUE-db"
	pod $NS unbound nmi
	eventually 60 failed_with $NS unbound 'vault bats' NMI
	kubectl -n $NS delete pod unbound --wait=false
}

@test "a tenant may be named by its domain" {
	azure_class $NS domain "tenantID: bats.test" <<<'objectName: db, objectType: secret'
	credential=azure pod $NS domain domain
	ready $NS domain
	shows $NS domain /mnt/0/db "$VALUE-db"
}

@test "the wrong client secret, none, and a service account that nobody trusts are refused in words" {
	credential=wrong pod $NS wrong principal
	account=web pod $NS none principal
	account=stranger pod $NS stranger workload
	eventually 60 failed_with $NS wrong 'vault bats' "client id $AZURE_PRINCIPAL" AADSTS7000215 'make a new one'
	eventually 60 failed_with $NS none nodePublishSecretRef clientsecret
	eventually 60 failed_with $NS stranger 'vault bats' "client id $AZURE_WORKLOAD" AADSTS70021 'federated credential' "system:serviceaccount:$NS:stranger"
	kubectl -n $NS delete pods --wait=false wrong none stranger
}

@test "an object that fails keeps the pod from starting, and the event says vault, object, identity and cure" {
	azure_put switched-off "$VALUE-off"
	azure PATCH vaults/bats/secrets/switched-off '{"enabled": false}'
	azure_class $NS missing <<-'END'
		objectName: db, objectType: secret
		objectName: not-there, objectType: secret
	END
	azure_class $NS disabled <<<'objectName: switched-off, objectType: secret'
	azure_class $NS forbidden <<<'objectName: db, objectType: secret'
	for name in missing disabled; do credential=azure pod $NS $name $name; done
	credential=nobody pod $NS forbidden forbidden
	eventually 60 failed_with $NS missing 'failed to get objectType:secret, objectName:not-there, objectVersion:' 'vault bats' \
		"ServicePrincipal with client id $AZURE_PRINCIPAL" SecretNotFound 'create the secret'
	eventually 60 failed_with $NS disabled 'objectName:switched-off' SecretDisabled 'enable the version'
	eventually 60 failed_with $NS forbidden 'objectName:db' "client id $AZURE_STRANGER" ForbiddenByPolicy 'access policies'
	[ "$(kubectl -n $NS get pod missing -o jsonpath='{.status.containerStatuses[0].state.waiting.reason}')" = ContainerCreating ]
	kubectl -n $NS delete pods --wait=false disabled forbidden
}

@test "a pod starts as soon as the object is there" {
	azure_put not-there "$VALUE-there"
	ready $NS missing
	shows $NS missing /mnt/0/not-there "$VALUE-there"
}

@test "what changes in the vault reaches files and Secrets, whoever asks" {
	for who in $(everybody); do
		eventually 30 holds_field $NS $who key "$VALUE-1"
		azure_put rotated-$who "$VALUE-2"
	done
	for who in $(everybody); do
		eventually 30 shows $NS $who /mnt/0/rotated-$who "$VALUE-2"
		eventually 30 holds_field $NS $who key "$VALUE-2"
	done
}

# everybody: the identities that there are.
everybody() { echo principal workload ${AZURE_METADATA:+machine assigned nmi}; }

@test "in a history, the new version is 0 and what was 0 is 1, whoever asks" {
	for who in $(everybody); do
		shows $NS $who /mnt/0/shifted-$who/0 "$VALUE-new"
		shows $NS $who /mnt/0/shifted-$who/1 "$VALUE-old"
		azure_put shifted-$who "$VALUE-newest"
	done
	for who in $(everybody); do
		eventually 30 shows $NS $who /mnt/0/shifted-$who/0 "$VALUE-newest"
		shows $NS $who /mnt/0/shifted-$who/1 "$VALUE-new"
		[ "$(inside $NS $who ls /mnt/0/shifted-$who | tr -d '\n')" = 01 ]
	done
}

@test "the status follows, with the vault's own versions" {
	id=$(azure_put rotated-workload "$VALUE-3")
	now() { versions $NS workload workload | jq -e --arg id "$id" '."secret/rotated-workload" == $id'; }
	eventually 30 now
	versions $NS workload workload |
		jq -e 'keys == ["secret/db", "secret/rotated-workload", "secret/shifted-workload/0", "secret/shifted-workload/1"] and all(.[]; test("^[0-9a-f]{32}$"))'
}

@test "many pods of a service account cost one token, and one request for an object in an interval; nothing is rewritten" {
	azure_put many "$VALUE-many"
	also=$(every 10s) azure_class $NS many "$(as_workload)" <<-'END'
		objectName: many, objectType: secret
		objectName: many, objectType: secret, objectAlias: again
	END
	before=$(tokens $AZURE_WORKLOAD)
	began=$SECONDS
	for n in $(seq 10); do account=many pod_yaml $NS "many-$n" many; done | kubectl apply -f -
	for n in $(seq 10); do ready $NS "many-$n"; done
	[ $(($(tokens $AZURE_WORKLOAD) - before)) = 1 ]
	start=$(asked '.name == "many"')
	# The first one, and one in each interval since, however long the pods take to start.
	[ "$start" -le $((2 + (SECONDS - began) / 9)) ]
	eventually 30 versions $NS many-1 many
	written=$(inside $NS many-1 stat -c '%i %Z' /mnt/0/..data)
	status=$(kubectl -n $NS get spcps many-1-$NS-many -o jsonpath='{.metadata.resourceVersion}')
	began=$SECONDS
	polled() { [ "$(asked '.name == "many"')" -ge $((start + 3)) ]; }
	eventually 60 polled
	# Three requests are three intervals, or two and what was left of one.
	[ $((SECONDS - began)) -ge 17 ]
	[ $(($(tokens $AZURE_WORKLOAD) - before)) = 1 ]
	[ "$(inside $NS many-1 stat -c '%i %Z' /mnt/0/..data)" = "$written" ]
	[ "$(kubectl -n $NS get spcps many-1-$NS-many -o jsonpath='{.metadata.resourceVersion}')" = "$status" ]
	kubectl -n $NS delete pods --wait=false $(seq -f 'many-%g' 10)
}

@test "a vault that throttles is left alone for as long as it says, and then the pod starts" {
	AZURE_VAULT=bats-busy azure_put db "$VALUE-busy"
	azure POST faults "$(jq -nc --arg client $AZURE_PRINCIPAL '{where: "vault", vault: "bats-busy", $client, times: 2,
		status: 429, code: "Throttled", message: "too many requests", retryAfter: "4"}')"
	also=$(every 5m) AZURE_VAULT=bats-busy azure_class $NS busy <<<'objectName: db, objectType: secret'
	began=$SECONDS
	credential=azure pod $NS busy busy
	ready $NS busy
	[ $((SECONDS - began)) -ge 7 ]
	shows $NS busy /mnt/0/db "$VALUE-busy"
	[ "$(asked '.vault == "bats-busy" and .status == 429')" = 2 ]
	[ "$(asked '.vault == "bats-busy" and .status == 200')" = 1 ]
}

@test "while a vault is away pods keep their files, and a new one starts once it is back" {
	azure_put away "$VALUE-away"
	azure_class $NS away <<<'objectName: away, objectType: secret'
	azure POST faults '{"where": "vault", "vault": "bats", "status": 503, "code": "ServiceUnavailable", "message": "the vault is away"}'
	credential=azure pod $NS away away
	eventually 60 failed_with $NS away 'vault bats' 503
	for who in $(everybody); do shows $NS $who /mnt/0/rotated-$who "$(last rotated-$who)"; done
	azure DELETE faults
	ready $NS away
	shows $NS away /mnt/0/away "$VALUE-away"
}

# last NAME: the latest value of a secret.
last() { azure GET state | jq -r --arg name "$1" '.vaults[0].objects.secrets[$name].versions[-1].content.value'; }

@test "of two volumes in a pod, the one that fails keeps its files and the other follows" {
	azure_put lost "$VALUE-lost"
	azure_put kept "$VALUE-1"
	also=$(every 5s) azure_class $NS lost <<<'objectName: lost, objectType: secret'
	also=$(every 5s) azure_class $NS kept "$(as_workload)" 'cloudEnvFileName: /etc/azure/copy.json' <<<'objectName: kept, objectType: secret'
	credential=azure account=web pod $NS two lost kept
	ready $NS two
	azure DELETE vaults/bats/secrets/lost
	azure_put kept "$VALUE-2"
	eventually 30 shows $NS two /mnt/1/kept "$VALUE-2"
	refused() { [ "$(asked '.name == "lost" and .status == 404')" -ge 1 ]; }
	eventually 30 refused
	shows $NS two /mnt/0/lost "$VALUE-lost"
	azure_put lost "$VALUE-found"
	eventually 60 shows $NS two /mnt/0/lost "$VALUE-found"
}

@test "a pod has a volume of Vault and one of Azure" {
	vault kv put secret/bats/azure x="$VALUE-vault"
	vault policy write bats-azure - <<<'path "secret/data/bats/azure" { capabilities = ["read"] }'
	account=web vault_role $NS bats-azure
	vault_class $NS vault 'roleName: bats-azure' <<<'- {objectName: x, secretPath: secret/data/bats/azure, secretKey: x}'
	azure_class $NS beside "$(as_workload)" <<<'objectName: db, objectType: secret'
	account=web pod $NS both vault beside
	ready $NS both
	shows $NS both /mnt/0/x "$VALUE-vault"
	shows $NS both /mnt/1/db "$VALUE-db"
}

@test "health and metrics answer where they always did" {
	for pod in $(pods_of $NAME); do [ "$(page "$pod" 8989 healthz)" = ok ]; done
	page "$(pod_on "$NODE_1" $NAME)" 8898 metrics >"$BATS_TEST_TMPDIR/metrics"
	grep -E '^keyvault_request_(seconds_)?count\{' "$BATS_TEST_TMPDIR/metrics"
	grep -E '^grpc_request_(seconds_)?count\{.*Mount' "$BATS_TEST_TMPDIR/metrics"
	! grep -F -e "$VALUE" -e not-there "$BATS_TEST_TMPDIR/metrics"
}

@test "the provider has no token of the cluster, no capability, and nothing to write to but the folder of its socket" {
	pod=$(pod_on "$NODE_1" $NAME)
	kubectl -n kube-system get pod "$pod" -o json >"$BATS_TEST_TMPDIR/pod"
	jq -e 'all(.spec.volumes[]; .projected == null)' "$BATS_TEST_TMPDIR/pod"
	jq -e '[.spec.containers[].volumeMounts[] | select(.readOnly != true) | .mountPath] == ["/provider"]' "$BATS_TEST_TMPDIR/pod"
	jq -e 'all(.spec.containers[]; .securityContext.readOnlyRootFilesystem)' "$BATS_TEST_TMPDIR/pod"
	threads=$(threads_of /provider-azure)
	[ "$(wc -l <<<"$threads")" -gt 1 ]
	for status in $threads; do
		[ "$(on_node grep -E '^(CapPrm|CapEff|CapBnd|NoNewPrivs|Seccomp):' "$status" | tr -d ' \t' | paste -sd ' ')" = \
			'CapPrm:0000000000000000 CapEff:0000000000000000 CapBnd:0000000000000000 NoNewPrivs:1 Seccomp:2' ]
	done
	for resource in secrets serviceaccounts/token pods nodes; do
		for verb in get list create; do
			run kubectl auth can-i $verb $resource --as system:serviceaccount:kube-system:$NAME -A
			[ "$output" = no ]
		done
	done
}

@test "the provider is killed, then replaced, under running pods, and they lose no file and see no other version" {
	versions $NS workload workload >"$BATS_TEST_TMPDIR/before"
	written=$(inside $NS workload stat -c '%i %Z' /mnt/0/..data)
	restarted=$(restarts $NAME)
	kill_on_node /provider-azure
	more() { [ "$(restarts $NAME)" -gt "$restarted" ]; }
	eventually 60 more
	shows $NS workload /mnt/0/rotated-workload "$VALUE-3"
	roll $NAME
	azure DELETE counters
	polled() { [ "$(asked '.name == "rotated-workload" and .status == 200')" -ge 2 ]; }
	eventually 60 polled
	[ "$(tokens $AZURE_WORKLOAD)" -le 2 ] # of web and of many, if its pods are still there
	versions $NS workload workload | diff "$BATS_TEST_TMPDIR/before" -
	[ "$(inside $NS workload stat -c '%i %Z' /mnt/0/..data)" = "$written" ]
	account=web pod $NS after beside
	ready $NS after
	shows $NS after /mnt/0/db "$VALUE-db"
}

@test "the Azure of tests has seen nothing that Azure does not know, and nobody who asks for the public cloud" {
	lawful
}

@test "no value, no credential and no token is in any log, event or status" {
	keep_logs
	kubectl -n $NS get spcps,spc -o yaml >>"$LOGS"
	grep -q AADSTS7000215 "$LOGS" # it does look at the right things
	! grep -nF -e "$VALUE" -e "$AZURE_SECRET" -e 'PRIVATE KEY' -e eyJhbGciOi -e eyJ0eXAi "$LOGS"
}
