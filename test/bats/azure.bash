# For the suites of the Azure provider: what the Azure of tests holds, and classes.

AZURE_TENANT=11111111-2222-3333-4444-555555555555
# A service principal with a secret, an identity that service accounts stand for, the
# machine's two, and one that is in the tenant and may do nothing.
AZURE_PRINCIPAL=aaaaaaaa-0000-0000-0000-000000000001
AZURE_WORKLOAD=aaaaaaaa-0000-0000-0000-000000000002
AZURE_SYSTEM=aaaaaaaa-0000-0000-0000-000000000003
AZURE_ASSIGNED=aaaaaaaa-0000-0000-0000-000000000004
AZURE_STRANGER=aaaaaaaa-0000-0000-0000-000000000005
AZURE_SECRET=c4n4ry-azure-client-secret
AZURE_VAULT=bats

# azure METHOD PATH [BODY]: an order to the cloud.
azure() {
	curl --silent --show-error --fail-with-body --unix-socket "$AZURE_CONTROL" -X "$1" ${3:+--data-binary "$3"} "http://azure/$2"
}

# azure_reset NAMESPACE ACCOUNT...: the cloud is new. Its vaults are empty, it trusts the
# cluster, and the service accounts of the namespace are as good as AZURE_WORKLOAD. Its
# pod nmi has, by pod identity, the identity that is assigned to the machine.
azure_reset() {
	local issuer jwks subjects
	issuer=$(kubectl get --raw /.well-known/openid-configuration | jq -r .issuer) || return
	jwks=$(kubectl get --raw /openid/v1/jwks) || return
	subjects=$(printf "system:serviceaccount:$1:%s\n" "${@:2}" | jq -R . | jq -s .)
	azure PUT state "$(jq -n --arg namespace "$1" --arg issuer "$issuer" --argjson jwks "$jwks" --argjson subjects "$subjects" --arg tenant $AZURE_TENANT \
		--arg principal $AZURE_PRINCIPAL --arg workload $AZURE_WORKLOAD --arg system $AZURE_SYSTEM --arg assigned $AZURE_ASSIGNED \
		--arg stranger $AZURE_STRANGER --arg secret $AZURE_SECRET '
		(["secrets", "keys", "certificates"] | map({key: ., value: ["get", "list"]}) | from_entries) as $all
		| {issuers: [{url: $issuer, jwks: $jwks}],
			tenants: [{id: $tenant, domains: ["bats.test"], applications: [
				{clientID: $principal, secrets: [$secret]}, {clientID: $stranger, secrets: [$secret]}, {clientID: $system}, {clientID: $assigned},
				{clientID: $workload, federated: ($subjects | map({issuer: $issuer, subject: .}))}]}],
			vaults: ["bats", "bats-busy"] | map({name: ., tenant: $tenant,
				access: ([$principal, $workload, $system, $assigned] | map({key: ., value: $all}) | from_entries)}),
			pods: [{$namespace, name: "nmi", clientID: $assigned}],
			machine: {tenant: $tenant, system: $system, assigned: [$assigned]}}')" || return
	azure DELETE faults && azure DELETE counters && azure DELETE violations
}

# azure_credential NAMESPACE NAME [CLIENT [SECRET]]: the Secret of a service principal.
azure_credential() {
	kubectl -n "$1" create secret generic "$2" --from-literal=clientid="${3:-$AZURE_PRINCIPAL}" --from-literal=clientsecret="${4:-$AZURE_SECRET}"
	kubectl -n "$1" label secret "$2" secrets-store.csi.k8s.io/used=true
}

# azure_put NAME VALUE [SECONDS]: a version of a secret in AZURE_VAULT, made at that time;
# prints its id.
azure_put() {
	azure POST "vaults/$AZURE_VAULT/secrets/$1" "$(jq -nc --arg value "$2" --argjson created "${3:-0}" '{$created, content: {$value}}')" | jq -r .id
}

# azure_make KIND NAME RECIPE: a certificate or key, see package cloud; prints its id.
azure_make() { azure POST "vaults/$AZURE_VAULT/$1/$2/make" "$3" | jq -r .id; }

# azure_class NAMESPACE NAME [LINE...]: a class for the service principal, unless the
# lines, which are parameters, say other. Its objects come from standard input, one in a
# line, as in "objectName: db, objectType: secret".
azure_class() {
	local namespace=$1 name=$2
	shift 2
	{
		printf '%s\n' "keyvaultName: $AZURE_VAULT" "tenantID: $AZURE_TENANT" 'cloudName: AzureStackCloud' "$@"
		printf 'objects: |\n  array:\n'
		sed 's/.*/  - |\n    {&}/'
	} | class "$namespace" "$name" azure
}

# What says in a class who asks.
as_workload() { echo "clientID: $AZURE_WORKLOAD"; }
as_machine() { printf 'useVMManagedIdentity: "true"\n'; }
as_assigned() { printf 'useVMManagedIdentity: "true"\nuserAssignedIdentityID: %s\n' $AZURE_ASSIGNED; }
as_nmi() { printf 'usePodIdentity: "true"\n'; }

# asked FILTER: how many requests with a token a jq filter selects, since the counters
# were cleared.
asked() { azure GET counters | jq "[.reads[] | select($1) | .count] | add // 0"; }

# tokens CLIENT: how many the cloud gave it since then.
tokens() { azure GET counters | jq --arg client "$1" '(.tokens[$client] // 0) + (.metadataTokens[$client] // 0)'; }

# lawful: no request was one that Azure does not know, and none was for another cloud.
lawful() { azure GET violations | jq -e 'if . == [] then true else tojson | halt_error end'; }

# volume NAMESPACE POD N DIR: a copy of the files of a volume.
volume() {
	mkdir -p "$4"
	inside "$1" "$2" tar -C "/mnt/$3" -ch . | tar -x -C "$4"
}

# versions NAMESPACE POD CLASS: ids and versions of its objects, as JSON.
versions() {
	kubectl -n "$1" get spcps "$2-$1-$3" -o json | jq -Sc '[.status.objects[] | {key: .id, value: .version}] | from_entries | if . == {} then error("none yet") else . end'
}

# field SECRET-NAMESPACE SECRET KEY: what a Secret holds.
field() { kubectl -n "$1" get secret "$2" -o json | jq -er --arg key "$3" '.data[$key] // error("it has no \($key)") | @base64d'; }

# holds_field NAMESPACE SECRET KEY WANT
holds_field() {
	local got
	got=$(field "$1" "$2" "$3") || return
	[ "$got" = "$4" ] || { echo "$3 of $2 is '$got', want '$4'"; return 1; }
}
