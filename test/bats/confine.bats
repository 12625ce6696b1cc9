#!/usr/bin/env bats
# What somebody can do, and cannot, who stole the token of a node's driver, or of its
# Vault provider. It is the real one, from the disk of the node, and used without manners.
# And what the programs themselves may do on the node.

load helpers

CANARY=c4n4ry-Nj3xTq8Lw2 # is in every Secret here, and in no answer
MANAGED=secrets-store.csi.k8s.io/managed
ADOPT=secrets-store.csi.x-k8s.io/adopt
SYNC=secrets-store.csi.x-k8s.io/sync
NODE_NAME=internal.secrets-store.csi.k8s.io/node-name
OPEN=/api/v1/namespaces/bats-open/secrets
SHUT=/api/v1/namespaces/bats-shut/secrets
CLASSES=/apis/secrets-store.csi.x-k8s.io/v1/namespaces

# Whether the API server was started with it: test/e2e.sh hands ADMISSION on to it.
owners_guarded() { [[ ${ADMISSION:-} == *OwnerReferencesPermissionEnforcement* ]]; }

setup_file() {
	for ns in bats-open bats-shut; do fresh $ns; done
	# The API server learns of labels in the order in which they are put: when the
	# second counts, so does the first.
	kubectl label namespace kube-system $SYNC=enabled --overwrite
	kubectl label namespace bats-open $SYNC=enabled
	for ns in bats-open bats-shut; do
		# What uses all Secrets, so that garbage collection leaves them.
		for owner in owner another; do
			kubectl -n $ns create configmap $owner
			kubectl -n $ns get configmap $owner -o jsonpath='{.metadata.uid}' >"$BATS_FILE_TMPDIR/$ns-$owner"
		done
	done
	ns=bats-shut
	keep shut-mine
	keep shut-foreign 'del(.metadata.labels)'
	ns=bats-open
	keep mine
	keep fixed '.immutable = true'
	keep foreign 'del(.metadata.labels)'
	keep sealed 'del(.metadata.labels) | .immutable = true'
	keep misgiven "del(.metadata.labels) | .metadata.annotations = {\"$ADOPT\": \"\"}"
	keep service '.type = "kubernetes.io/service-account-token" | .metadata.annotations = {"kubernetes.io/service-account.name": "default"}'
	keep bootstrap '.type = "bootstrap.kubernetes.io/token"'
	steal
	eventually 30 answers 201 '' POST $OPEN?dryRun=All "$(secret new)"
}

teardown_file() {
	install sync-secrets
	kubectl label namespace kube-system $SYNC-
	drop bats-open bats-shut
}

# overlay COMPONENT: a folder that has it, and nothing else of the installation.
overlay() {
	mkdir -p "$BATS_FILE_TMPDIR/overlay"
	cat >"$BATS_FILE_TMPDIR/overlay/kustomization.yaml" <<-END
		apiVersion: kustomize.config.k8s.io/v1beta1
		kind: Kustomization
		components: [$(realpath --relative-to "$BATS_FILE_TMPDIR/overlay" "$BATS_TEST_DIRNAME/../../manifests/components/$1")]
	END
	echo "$BATS_FILE_TMPDIR/overlay"
}

# install COMPONENT: as an installer does.
install() { kubectl apply -k "$(overlay "$1")" >/dev/null; }

setup() { steal; } # anew, for it lives ten minutes

# steal [LABEL]: the token of the driver on the node that on_node sees, or of what else
# has that label there.
steal() {
	local pod
	NODE=$(kubectl -n strongroom-test get pod node -o jsonpath='{.spec.nodeName}')
	pod=$(kubectl -n kube-system get pods -o json --field-selector "spec.nodeName=$NODE" -l "${1:-app=secrets-store-csi-driver}" |
		jq -r '.items[] | select(.metadata.deletionTimestamp == null) | .metadata | "\(.name) \(.uid)"')
	DRIVER=${pod% *}
	on_node cat "/var/lib/kubelet/pods/${pod#* }/volumes/kubernetes.io~projected/api-access/token" >"$BATS_FILE_TMPDIR/token"
	use "$BATS_FILE_TMPDIR/token"
}

# use FILE: what follows is sent with the token in it, and without any certificate.
use() {
	local config
	[ -s "$1" ] || { echo 'there is no token'; return 1; }
	config=$(kubectl config view --raw --minify --flatten -o json)
	jq --rawfile token "$1" '.users = [{name: .contexts[0].context.user, user: {token: $token}}]' <<<"$config" >"$BATS_FILE_TMPDIR/kubeconfig"
	jq -r '.clusters[0].cluster["certificate-authority-data"]' <<<"$config" | base64 -d >"$BATS_FILE_TMPDIR/ca"
	printf 'Authorization: Bearer %s' "$(cat "$1")" >"$BATS_FILE_TMPDIR/header"
	SERVER=$(jq -r '.clusters[0].cluster.server' <<<"$config")
}

stolen() { kubectl --kubeconfig "$BATS_FILE_TMPDIR/kubeconfig" "$@"; }

# leaks FILE...: a value is in one of them, plain or in base64.
leaks() { grep -qaF -e $CANARY -e "$(printf %s $CANARY | base64 | tr -d =)" "$@"; }

# answers CODE TEXT METHOD PATH [BODY [TYPE]]: the API server answers that, and whatever
# it answers, no value is in it.
answers() {
	local answer=$BATS_FILE_TMPDIR/answer code
	code=$(curl -sS --max-time 20 --cacert "$BATS_FILE_TMPDIR/ca" -H "@$BATS_FILE_TMPDIR/header" -H "Content-Type: ${6:-application/json}" \
		-X "$3" ${5:+--data-binary "$5"} -o "$answer" -D "$answer.head" -w '%{http_code}' "$SERVER$4") || return
	if leaks "$answer" "$answer.head"; then
		echo "A VALUE LEAKED: $3 $4 ${6:-} ${5:-}"
		return 1
	fi
	[ "$code" = "$1" ] && grep -qF -- "$2" "$answer" ||
		{ echo "$3 $4 ${5:-}: want $1 $2, got $code $(cat "$answer")"; return 1; }
}

# no_right METHOD PATH [BODY [TYPE]]: the rules about rights say no, before all else.
no_right() { answers 403 ' cannot ' "$@"; }

# denied TEXT METHOD PATH [BODY]: a policy says no, in these words.
denied() { answers 403 "$1" "${@:2}" && grep -q "ValidatingAdmissionPolicy .* denied request: " "$BATS_FILE_TMPDIR/answer"; }

# secret NAME [CHANGE]: as the driver would write it, changed by jq.
secret() {
	jq -nc --arg name "$1" --arg uid "$(cat "$BATS_FILE_TMPDIR/synced-$1" 2>/dev/null || echo u)" --arg managed $MANAGED '
		{apiVersion: "v1", kind: "Secret", metadata: {name: $name, labels: {($managed): "true"},
			ownerReferences: [{apiVersion: "secrets-store.csi.x-k8s.io/v1", kind: "SyncedSecret", name: $name, uid: $uid}]},
		type: "Opaque", data: {password: ("forged" | @base64)}} | '"${2:-.}"
}

# synced NAME [CHANGE]: a SyncedSecret of class db with one owner, in namespace $ns.
synced() {
	jq -nc --arg name "$1" --arg ns "${ns:-bats-open}" --rawfile uid "$BATS_FILE_TMPDIR/${ns:-bats-open}-owner" \
		--rawfile another "$BATS_FILE_TMPDIR/${ns:-bats-open}-another" '
		{apiVersion: "v1", kind: "ConfigMap", name: "another", uid: $another} as $another |
		{apiVersion: "secrets-store.csi.x-k8s.io/v1", kind: "SyncedSecret", metadata: {name: $name, namespace: $ns,
			ownerReferences: [{apiVersion: "v1", kind: "ConfigMap", name: "owner", uid: $uid}]},
		spec: {secretProviderClassName: "db"}} | '"${2:-.}"
}

# keep NAME [CHANGE]: the administrator makes a SyncedSecret, and a Secret that is to stay
# as it is; in namespace $ns.
keep() {
	made "$(synced "$1")"
	kubectl -n "$ns" get syncedsecret "$1" -o jsonpath='{.metadata.uid}' >"$BATS_FILE_TMPDIR/synced-$1"
	made "$(secret "$1" ".metadata.namespace = \"$ns\" | .data.password = (\"$CANARY\" | @base64) | ${2:-.}")"
}

# status NAME NODE [CHANGE]: the record of a volume on a node.
status() {
	jq -nc --arg name "$1" --arg node "$2" --arg key $NODE_NAME '
		{apiVersion: "secrets-store.csi.x-k8s.io/v1", kind: "SecretProviderClassPodStatus", metadata: {name: $name, namespace: "bats-open",
			labels: {($key): $node}, annotations: {($key): $node}},
		status: {podName: "p", mounted: true}} | '"${3:-.}"
}

# made OBJECT...: the administrator makes them.
made() { printf '%s\n' "$@" | kubectl create -f - >/dev/null; }

# version KIND NAME: the resource version, as a change for jq.
version() { printf '.metadata.resourceVersion = "%s"' "$(kubectl -n bats-open get "$1" "$2" -o jsonpath='{.metadata.resourceVersion}')"; }

# untouched NAME...: they hold what they held.
untouched() {
	local name
	for name; do
		[ "$(kubectl -n bats-open get secret "$name" -o jsonpath='{.data.password}' | base64 -d)" = $CANARY ] || { echo "$name was written"; return 1; }
	done
}

@test "the driver's token lives ten minutes, and is bound to its pod and its node" {
	claims=$(jq -R 'split(".")[1] | gsub("-"; "+") | gsub("_"; "/") | . + "=" * ((4 - length % 4) % 4) | @base64d | fromjson' "$BATS_FILE_TMPDIR/token")
	[ "$(jq '.exp - .iat <= 600' <<<"$claims")" = true ]
	[ "$(jq -r '.["kubernetes.io"] | "\(.node.name) \(.pod.name)"' <<<"$claims")" = "$NODE $DRIVER" ]
}

@test "the driver's rights are these and no others" {
	for namespace in bats-open kube-system; do
		stolen auth can-i --list --no-headers -n $namespace | grep -v '^ ' | grep -v '^selfsubject' | tr -s ' ' | sort >"$BATS_TEST_TMPDIR/rights"
		diff - "$BATS_TEST_TMPDIR/rights" <<-'END'
			csidrivers.storage.k8s.io [] [secrets-store.csi.k8s.io] [get]
			events [] [] [create patch]
			pods [] [] [get]
			secretproviderclasses.secrets-store.csi.x-k8s.io [] [] [get list watch]
			secretproviderclasspodstatuses.secrets-store.csi.x-k8s.io [] [] [get create update delete]
			secrets [] [] [create update]
			syncedsecrets.secrets-store.csi.x-k8s.io [] [] [get create update delete]
		END
	done
}

@test "a stolen token cannot make tokens, look around, run things or give itself rights" {
	no_right POST /api/v1/namespaces/kube-system/serviceaccounts/secrets-store-csi-driver/token '{}'
	no_right POST /api/v1/namespaces/bats-open/serviceaccounts/default/token '{}'
	for path in /api/v1/nodes /api/v1/namespaces /api/v1/pods /api/v1/namespaces/bats-open/pods /api/v1/namespaces/bats-open/configmaps/owner \
		/api/v1/events "/api/v1/nodes/$NODE" "/api/v1/nodes/$NODE/proxy/pods" "/api/v1/namespaces/kube-system/pods/$DRIVER/log" \
		"$CLASSES/bats-open/secretproviderclasspodstatuses" "$CLASSES/bats-open/syncedsecrets" /apis/storage.k8s.io/v1/csidrivers \
		/apis/rbac.authorization.k8s.io/v1/clusterroles /apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies; do
		no_right GET "$path"
	done
	no_right POST "/api/v1/namespaces/kube-system/pods/$DRIVER/exec?command=id"
	no_right POST /api/v1/namespaces/bats-open/pods '{}'
	no_right POST "$CLASSES/bats-open/secretproviderclasses" '{}'
	no_right POST /apis/rbac.authorization.k8s.io/v1/clusterrolebindings '{}'
	no_right DELETE /apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings/secrets-store-csi-driver-secrets
	run stolen get secrets -n bats-open --as system:admin
	[[ $status != 0 && $output == *'cannot impersonate'* ]]
}

@test "a leak would be seen" {
	for format in json yaml 'jsonpath={.data.password}'; do
		kubectl -n bats-open get secret mine -o "$format" >"$BATS_TEST_TMPDIR/answer"
		leaks "$BATS_TEST_TMPDIR/answer"
	done
	kubectl -n bats-open get secret mine -o jsonpath='{.data.password}' | base64 -d >"$BATS_TEST_TMPDIR/answer"
	leaks "$BATS_TEST_TMPDIR/answer"
}

@test "a stolen token reads no Secret, managed or not" {
	for path in $OPEN $SHUT /api/v1/secrets; do
		no_right GET $path
		no_right GET "$path?watch=1"
		no_right GET "$path?labelSelector=$MANAGED=true"
		no_right GET "$path?fieldSelector=metadata.name=mine"
	done
	for path in $OPEN/mine $OPEN/foreign $SHUT/shut-mine $SHUT/shut-foreign; do
		no_right GET $path
		no_right GET "${path/v1/v1/watch}"
		no_right DELETE $path
		no_right DELETE "$path?dryRun=All"
	done
	no_right DELETE $OPEN
	run stolen -n bats-open get secrets mine -o yaml
	[[ $status != 0 && $output == *'cannot get resource "secrets"'* ]]
}

# A patch is a read: its answer shows the object, and so do its errors.
@test "a stolen token patches no Secret" {
	for path in $OPEN/mine $OPEN/foreign; do
		for more in '' '?dryRun=All'; do
			for op in '{"op": "copy", "from": "/data/password", "path": "/type"}' '{"op": "copy", "from": "/data", "path": "/metadata/labels"}' \
				'{"op": "test", "path": "/data/password", "value": "guess"}' '{"op": "remove", "path": "/data/nothing"}'; do
				no_right PATCH "$path$more" "[$op]" application/json-patch+json
			done
			no_right PATCH "$path$more" '{}' application/merge-patch+json
			no_right PATCH "$path$more" '{}' application/strategic-merge-patch+json
		done
		for more in '' '&dryRun=All' '&force=true'; do
			no_right PATCH "$path?fieldManager=thief$more" "$(secret "${path##*/}")" application/apply-patch+yaml
		done
	done
}

# What is wrong with a request is answered before any policy is asked.
@test "no answer to a bad write shows what a Secret holds" {
	for name in mine foreign fixed; do
		for more in '' '?dryRun=All'; do
			path=$OPEN/$name$more
			answers 422 'field is immutable' PUT "$path" "$(secret $name '.type = "kubernetes.io/basic-auth" | .data.username = .data.password')"
			answers 422 'metadata.labels' PUT "$path" "$(secret $name '.metadata.labels["a b"] = "c d"')"
			answers 422 'data[' PUT "$path" "$(secret $name '.data["a b"] = ""')"
			answers 422 'metadata.ownerReferences' PUT "$path" "$(secret $name '.metadata.ownerReferences[0].uid = ""')"
			answers 400 'illegal base64' PUT "$path" "$(secret $name '.data.password = "!"')"
			answers 400 'does not match' PUT "$path" "$(secret other)"
			answers 400 '' PUT "$path" '{'
			answers 400 '' PUT "$path" '{"apiVersion": "v1", "kind": "ConfigMap"}'
			answers 400 '' PUT "$path" "$(secret $name)" application/vnd.kubernetes.protobuf
			answers 415 '' PUT "$path" "$(secret $name)" text/plain
			answers 409 'Precondition failed' PUT "$path" "$(secret $name '.metadata.uid = "00000000-0000-0000-0000-000000000000"')"
			answers 409 'has been modified' PUT "$path" "$(secret $name '.metadata.resourceVersion = "1"')"
			answers 409 'already exists' POST "$OPEN$more" "$(secret $name)"
		done
		answers 400 'unknown field' PUT "$OPEN/$name?fieldValidation=Strict" "$(secret $name '.metadata.oops = 1')"
	done
	answers 422 'immutable when `immutable` is set' PUT $OPEN/fixed "$(secret fixed)"
	answers 404 '' PUT $OPEN/nothing "$(secret nothing)"
	untouched mine foreign fixed
}

# What an update changes, its answer tells in managedFields.
@test "a dry run compares no guess with a Secret" {
	for guess in forged $CANARY; do
		denied 'as a dry run' PUT $OPEN/mine?dryRun=All "$(secret mine ".data.password = (\"$guess\" | @base64)")"
	done
}

@test "a stolen token writes no Secret that is somebody else's" {
	for name in foreign misgiven; do
		for change in . '.data = {}' 'del(.data)'; do
			denied "secret bats-open/$name was not made by the driver" PUT $OPEN/$name "$(secret $name "$change")"
			denied "kubectl annotate secret -n bats-open $name $ADOPT=CLASS" PUT "$OPEN/$name?dryRun=All" "$(secret $name "$change")"
		done
		untouched $name
	done
}

@test "what a stolen token writes is labelled, and goes with its SyncedSecret" {
	for change in 'del(.metadata.labels)' '.metadata.labels[] = "false"'; do
		denied 'must have the label' PUT $OPEN/mine "$(secret mine "$change")"
		denied 'must have the label' POST $OPEN "$(secret new "$change")"
		denied 'must have the label' POST $OPEN?dryRun=All "$(secret new "$change")"
		denied 'must have the label' POST $OPEN?dryRun=All "$(secret new "$change | del(.metadata.ownerReferences)")"
	done
	for change in 'del(.metadata.ownerReferences)' '.metadata.ownerReferences[0].name = "other"' '.metadata.ownerReferences[0].kind = "Pod"' \
		'.metadata.ownerReferences[0].apiVersion = "v1"' '.metadata.ownerReferences += [{apiVersion: "v1", kind: "Pod", name: "new", uid: "u"}]'; do
		answers 403 owner PUT $OPEN/mine "$(secret mine "$change")" # OwnerReferencesPermissionEnforcement says it in other words
		answers 403 owner PUT $OPEN/mine?dryRun=All "$(secret mine "$change")"
		denied 'must have one owner' POST $OPEN "$(secret new "$change")"
	done
	untouched mine
	# So the driver asks what is allowed. Nothing comes of it.
	answers 201 '' POST $OPEN?dryRun=All "$(secret new 'del(.metadata.ownerReferences)')"
	absent -n bats-open secret new
}

@test "a stolen token makes no token" {
	for type in kubernetes.io/service-account-token bootstrap.kubernetes.io/token; do
		change=".type = \"$type\" | .metadata.annotations = {\"kubernetes.io/service-account.name\": \"default\"}"
		for path in $OPEN $OPEN?dryRun=All; do
			denied 'fills no service account token and no bootstrap token' POST $path "$(secret new "$change")"
		done
	done
	denied 'fills no service account token' PUT $OPEN/service "$(secret service \
		'.type = "kubernetes.io/service-account-token" | .metadata.annotations = {"kubernetes.io/service-account.name": "default"}')"
	denied 'fills no service account token' PUT $OPEN/bootstrap "$(secret bootstrap '.type = "bootstrap.kubernetes.io/token"')"
	untouched bootstrap
}

@test "a stolen token writes no Secret where the namespace does not allow it" {
	says="kubectl label namespace bats-shut $SYNC=enabled"
	for more in '' '?dryRun=All'; do
		denied "$says" POST "$SHUT$more" "$(secret new)"
		denied "$says" PUT "$SHUT/shut-mine$more" "$(secret shut-mine)"
		denied '' POST "$SHUT$more" "$(secret new 'del(.metadata.labels)')"
		denied "$says" POST "$CLASSES/bats-shut/syncedsecrets$more" "$(ns=bats-shut synced new)"
	done
}

# It was labelled to allow it.
@test "a stolen token writes no Secret in the namespace of the driver and of the cluster" {
	[ "$(kubectl get namespace kube-system -o json | jq -r ".metadata.labels[\"$SYNC\"]")" = enabled ]
	for more in '' '?dryRun=All'; do
		denied 'the driver fills no Secret in namespace kube-system' POST "/api/v1/namespaces/kube-system/secrets$more" "$(secret new)"
		denied 'the driver fills no Secret in namespace kube-system' POST "$CLASSES/kube-system/syncedsecrets$more" \
			"$(synced new '.metadata.namespace = "kube-system"')"
	done
}

@test "the installer opens all namespaces, but not that of the driver" {
	install sync-secrets-everywhere
	eventually 60 answers 201 '' POST $SHUT?dryRun=All "$(secret new)"
	eventually 60 answers 201 '' POST "$CLASSES/bats-shut/syncedsecrets?dryRun=All" "$(ns=bats-shut synced new)"
	denied 'was not made by the driver' PUT $SHUT/shut-foreign "$(secret shut-foreign)"
	denied 'the driver fills no Secret in namespace kube-system' POST /api/v1/namespaces/kube-system/secrets "$(secret new)"
	install sync-secrets
	eventually 60 denied "$SYNC=enabled" POST $SHUT?dryRun=All "$(secret new)"
	eventually 60 denied "$SYNC=enabled" POST "$CLASSES/bats-shut/syncedsecrets?dryRun=All" "$(ns=bats-shut synced new)"
}

@test "a stolen token changes no record of another node, and deletes none" {
	all=$CLASSES/bats-open/secretproviderclasspodstatuses
	made "$(status another elsewhere)" "$(status upstream "$NODE" 'del(.metadata.annotations)')" \
		"$(status upstream-elsewhere elsewhere 'del(.metadata.annotations)')" "$(status nobody x 'del(.metadata.annotations, .metadata.labels)')" \
		"$(status mislabelled "$NODE" '.metadata.annotations[] = "elsewhere"')"
	for name in another upstream-elsewhere nobody mislabelled; do
		denied "secretproviderclasspodstatus bats-open/$name is not that of node $NODE" \
			PUT $all/$name "$(status $name "$NODE" "$(version spcps $name)")"
		denied 'the driver deletes no secretproviderclasspodstatus' DELETE $all/$name
	done
	denied "with the value $NODE" POST $all "$(status forged elsewhere)"
	denied "with the value $NODE" POST $all "$(status forged "$NODE" 'del(.metadata.annotations)')"
	denied "with the value $NODE" POST $all "$(status forged "$NODE" '.metadata.annotations[] = "elsewhere"')"
	answers 201 '' POST $all "$(status own "$NODE")"
	answers 200 '' PUT $all/own "$(status own "$NODE" "$(version spcps own) | .status.podName = \"q\"")"
	denied "with the value $NODE" PUT $all/own "$(status own elsewhere "$(version spcps own)")"
	denied 'the driver deletes no secretproviderclasspodstatus' DELETE $all/own
	answers 200 '' PUT $all/upstream "$(status upstream "$NODE" "$(version spcps upstream)")"
	no_right PATCH $all/another '{}' application/merge-patch+json
	no_right DELETE $all
	no_right GET $all
}

@test "a token that names no node writes no record" {
	kubectl -n kube-system create token secrets-store-csi-driver >"$BATS_TEST_TMPDIR/token"
	use "$BATS_TEST_TMPDIR/token"
	denied 'names no node' POST $CLASSES/bats-open/secretproviderclasspodstatuses "$(status forged "$NODE")"
	denied 'names no node' POST $CLASSES/bats-open/secretproviderclasspodstatuses "$(status forged '')"
	denied 'status.nodeName' POST $CLASSES/bats-open/syncedsecrets "$(synced new)"
}

@test "a stolen token takes no Secret from its class, and none from those who use it" {
	all=$CLASSES/bats-open/syncedsecrets
	now=$(version syncedsecret mine)
	answers 422 'the class that fills a Secret cannot be changed' PUT $all/mine "$(synced mine "$now | .spec.secretProviderClassName = \"thief\"")"
	for change in 'del(.metadata.ownerReferences)' '.metadata.ownerReferences = [$another]' '.metadata.ownerReferences = [$another] + .metadata.ownerReferences' \
		'.metadata.ownerReferences[0].name = "x"' '.metadata.ownerReferences[0].kind = "Secret"' '.metadata.ownerReferences[0].uid = "x"'; do
		denied 'owner' PUT $all/mine "$(synced mine "$now | $change")"
	done
	# Two owners told in one.
	for part in uid name; do
		made "$(synced "two-$part" '.metadata.ownerReferences += [$another]')"
		denied 'owner' PUT "$all/two-$part" "$(synced "two-$part" "$(version syncedsecret "two-$part") |
			(.metadata.ownerReferences[0] | \"\\(.uid) \\(.apiVersion) \\(.kind) \\(.name) \") as \$told | .metadata.ownerReferences = [\$another | .$part = \$told + .$part]")"
	done
	denied 'the driver deletes no SyncedSecret' DELETE $all/mine
	denied 'the driver deletes no SyncedSecret' DELETE $all/mine?dryRun=All
	denied 'must have an owner' POST $all "$(synced new 'del(.metadata.ownerReferences)')"
	denied 'status.nodeName must be that of the token' POST $all "$(synced new '.status.nodeName = "elsewhere"')"
	denied 'status.nodeName must be that of the token' PUT $all/mine "$(synced mine "$now | .status = {nodeName: \"elsewhere\", secretUID: \"x\"}")"
	no_right PATCH $all/mine '{}' application/merge-patch+json
	no_right DELETE $all
	no_right GET $all
	[ "$(version syncedsecret mine)" = "$now" ]
}

@test "an owner is added behind a thousand others" {
	all=$CLASSES/bats-open/syncedsecrets
	many='.metadata.ownerReferences += [range(1000) as $n | $another | .name += "-\($n)" | .uid = "\($n)-\(.uid)"]'
	# One that is alive keeps garbage collection from deleting it, but not from tidying.
	made "$(synced many "$many")"
	add() {
		kubectl -n bats-open get syncedsecret many -o json | jq -c --arg node "$NODE" '.metadata.ownerReferences += [.metadata.ownerReferences[0]
			| .name = "one-more" | .uid = "one-more"] | .status.nodeName = $node' >"$BATS_TEST_TMPDIR/many"
		answers 200 '' PUT "$all/many?dryRun=All" "@$BATS_TEST_TMPDIR/many"
	}
	eventually 30 add
}

# docs/security.md says all of this.
@test "what a stolen token can do" {
	# It overwrites what the driver made, in namespaces that allow it.
	answers 200 '' PUT $OPEN/mine "$(secret mine 'del(.data)')"
	answers 200 '' PUT $OPEN/mine "$(secret mine)"
	[ "$(kubectl -n bats-open get secret mine -o jsonpath='{.data.password}' | base64 -d)" = forged ]
	# It makes Secrets there, and claims names that are free.
	all=$CLASSES/bats-open/syncedsecrets
	answers 201 '' POST $all "$(synced new)"
	answers 201 '' POST $OPEN "$(secret new ".metadata.ownerReferences[0].uid = \"$(kubectl -n bats-open get syncedsecret new -o jsonpath='{.metadata.uid}')\"")"
	# It adds users to a Secret, so that it stays, and notes that content is newer than it is.
	answers 200 '' PUT $all/mine "$(synced mine "$(version syncedsecret mine) | .metadata.ownerReferences += [\$another]
		| .status = {nodeName: \"$NODE\", fetchTime: \"2222-02-02T00:00:00.000000Z\"}")"
	# It compares a guess with an immutable Secret, whose check comes before any policy.
	answers 422 'immutable when `immutable` is set' PUT $OPEN/sealed "$(secret sealed '.immutable = true')"
	denied 'was not made by the driver' PUT $OPEN/sealed "$(secret sealed ".immutable = true | .data.password = (\"$CANARY\" | @base64)")"
	# It learns that a Secret is there.
	denied '' PUT $SHUT/shut-foreign "$(secret shut-foreign)"
	answers 404 '' PUT $SHUT/nothing "$(secret nothing)"
	# It reads all classes, and a pod, a record or a SyncedSecret that it knows by name.
	answers 200 SecretProviderClassList GET /apis/secrets-store.csi.x-k8s.io/v1/secretproviderclasses
	answers 200 '' GET "/api/v1/namespaces/kube-system/pods/$DRIVER"
	answers 200 '' GET $all/mine
	# It writes events.
	answers 201 '' POST /api/v1/namespaces/bats-shut/events '{"metadata": {"name": "x"}, "involvedObject": {"namespace": "bats-shut"}}'
}

# given NAME: a Secret of somebody who wants class db to fill it.
given() {
	made "$(secret "$1" ".metadata = {name: \"$1\", namespace: \"bats-open\", annotations: {\"$ADOPT\": \"db\"}} | .data.password = (\"$CANARY\" | @base64)")" \
		"$(synced "$1")"
	kubectl -n bats-open get syncedsecret "$1" -o jsonpath='{.metadata.uid}' >"$BATS_FILE_TMPDIR/synced-$1"
}

@test "a Secret is handed over by an annotation" {
	if owners_guarded; then skip 'OwnerReferencesPermissionEnforcement is on: only who may delete a Secret may change its owner'; fi
	given handed-over
	answers 200 '' PUT $OPEN/handed-over "$(secret handed-over)"
	[ "$(kubectl -n bats-open get secret handed-over -o jsonpath='{.data.password}' | base64 -d)" = forged ]
}

@test "the driver deletes no Secret, also where it has the right" {
	kubectl -n bats-open create role more --verb=delete --resource=secrets
	kubectl -n bats-open create rolebinding more --role=more --serviceaccount=kube-system:secrets-store-csi-driver
	eventually 30 denied 'the driver deletes no Secret' DELETE $OPEN/mine
	# With that right it takes Secrets over in any cluster.
	given with-right
	answers 200 '' PUT $OPEN/with-right "$(secret with-right)"
	kubectl -n bats-open delete rolebinding more
	eventually 30 no_right DELETE $OPEN/mine
}

@test "with OwnerReferencesPermissionEnforcement, the driver adds owners to SyncedSecrets and records, and takes no Secret over" {
	if ! owners_guarded; then skip 'the plugin is off: run with ADMISSION=OwnerReferencesPermissionEnforcement'; fi
	given held-back
	answers 403 "cannot set an ownerRef on a resource you can't delete" PUT $OPEN/held-back "$(secret held-back)"
	untouched held-back
	all=$CLASSES/bats-open/secretproviderclasspodstatuses
	answers 201 '' POST $all "$(status guarded "$NODE")"
	answers 200 '' PUT $all/guarded "$(status guarded "$NODE" "$(version spcps guarded) | .metadata.ownerReferences = [{apiVersion: \"v1\", kind: \"Pod\", name: \"p\", uid: \"u\"}]")"
	made "$(synced guarded)"
	answers 200 '' PUT $CLASSES/bats-open/syncedsecrets/guarded "$(synced guarded "$(version syncedsecret guarded) | .metadata.ownerReferences += [\$another]")"
}

VAULT=app.kubernetes.io/name=vault-csi-provider
SYSTEM=/api/v1/namespaces/kube-system

# key [CHANGE]: the Secret that the Vault provider makes, changed by jq.
key() {
	jq -nc '{apiVersion: "v1", kind: "Secret", metadata: {name: "vault-csi-provider-hmac-key"}, type: "Opaque", immutable: true,
		data: {key: ("k" | @base64)}} | '"${1:-.}"
}

@test "the Vault provider's token lives ten minutes, and is good for one Secret" {
	steal $VAULT
	claims=$(jq -R 'split(".")[1] | gsub("-"; "+") | gsub("_"; "/") | . + "=" * ((4 - length % 4) % 4) | @base64d | fromjson' "$BATS_FILE_TMPDIR/token")
	[ "$(jq '.exp - .iat <= 600' <<<"$claims")" = true ]
	rights() { stolen auth can-i --list --no-headers -n "$1" | grep -v '^ ' | grep -v '^selfsubject' | tr -s ' ' | sort; }
	rights kube-system | diff - <(printf '%s\n' 'secrets [] [] [create]' 'secrets [] [vault-csi-provider-hmac-key] [get]')
	[ -z "$(rights bats-open)" ]
	for path in /api/v1/secrets $SYSTEM/secrets $SYSTEM/secrets?watch=1 $SYSTEM/secrets/other $OPEN $OPEN/mine $SYSTEM/pods; do no_right GET $path; done
	for method in PUT PATCH DELETE; do no_right $method $SYSTEM/secrets/vault-csi-provider-hmac-key "$(key)"; done
	no_right POST $OPEN "$(key)"
	no_right POST $SYSTEM/serviceaccounts/vault-csi-provider/token '{}'
	no_right POST /api/v1/namespaces/bats-open/serviceaccounts/default/token '{}'
}

@test "a stolen token of the Vault provider creates nothing but the key of versions, and so makes no token" {
	steal $VAULT
	for more in '' '?dryRun=All'; do
		for change in '.metadata.name = "other"' 'del(.metadata.name) | .metadata.generateName = "vault-csi-provider-hmac-key"' '.metadata.name += "-2"'; do
			denied 'creates no Secret but kube-system/vault-csi-provider-hmac-key' POST "$SYSTEM/secrets$more" "$(key "$change")"
		done
		for change in '.type = "kubernetes.io/service-account-token" | .metadata.annotations = {"kubernetes.io/service-account.name": "vault-csi-provider"}' \
			'.type = "bootstrap.kubernetes.io/token"' 'del(.immutable)' '.immutable = false' '.data.more = ""' '.stringData = {more: ""}' 'del(.data)' \
			'.data = {other: ""}' '.metadata.finalizers = ["a.b/c"]' '.metadata.ownerReferences = [{apiVersion: "v1", kind: "Pod", name: "p", uid: "u"}]'; do
			denied 'is of type Opaque, immutable' POST "$SYSTEM/secrets$more" "$(key "$change")"
		done
	done
	# It may be there already.
	answers 201 '' POST "$SYSTEM/secrets?dryRun=All" "$(key)" || answers 409 'already exists' POST "$SYSTEM/secrets?dryRun=All" "$(key)"
}

# threads PROGRAM: what each thread of a program on the node is, without doubles.
threads() {
	local file
	for file in $(threads_of "$1"); do
		on_node grep -E '^(Uid|Gid|Groups|Cap|NoNewPrivs|Seccomp:)' "$file" | tr -s ' \t' ' ' | sed 's/ $//'
	done | sort -u
}

@test "driver and providers run as root of the node's files, in no other group, with three capabilities and with none" {
	for program in /secrets-store-csi:0000000000200003 /provider-vault:0000000000000000 /provider-azure:0000000000000000 /fakeprovider:0000000000000000; do
		[ "$(threads_of ${program%:*} | wc -l)" -gt 1 ]
		# containerd gives who is started as uid and gid 0 the group 0 once more.
		threads ${program%:*} | grep -vxE 'Groups:( 0)?' | diff - <(sort <<-END
			CapAmb: 0000000000000000
			CapBnd: ${program#*:}
			CapEff: ${program#*:}
			CapInh: 0000000000000000
			CapPrm: ${program#*:}
			Gid: 0 0 0 0
			NoNewPrivs: 1
			Seccomp: 2
			Uid: 0 0 0 0
		END
		)
	done
}

# disks PROGRAM: what a program sees of the node's file system, as "rw FOLDER", or with ro;
# not what kubelet and the runtime make for each container.
disks() {
	# shellcheck disable=SC2016
	on_node sh -c 'for p in /proc/[0-9]*; do
			[ "$(tr "\0" "\n" 2>/dev/null <"$p/cmdline" | head -n 1)" = "$1" ] && cat "$p/mountinfo"
		done; true' sh "$1" |
		awk '{ split($6, o, ","); for (i = 7; $i != "-"; i++); type = $(i + 1) }
			$5 ~ "^/(proc|sys|dev)(/|$)" || $5 ~ "^/etc/(hosts|hostname|resolv.conf)$" { next }
			$5 ~ "^/var/lib/kubelet/pods/" { next }
			{ print o[1], $5 }' | sort -u
}

@test "driver and providers have a root that nobody writes, and of the node only the folders that they need" {
	disks /secrets-store-csi | diff - <(sort <<-END
		ro /
		ro /etc/content-hash
		ro /var/run/secrets/kubernetes.io/serviceaccount
		rw /csi
		rw /etc/kubernetes/secrets-store-csi-providers
		rw /registration
		rw /var/lib/kubelet/pods
		rw /var/run/secrets-store-csi-providers
	END
	)
	disks /provider-vault | grep -v /var/run/vault | diff - <(sort <<-END
		ro /
		ro /var/run/secrets/kubernetes.io/serviceaccount
		rw /provider
	END
	)
	disks /provider-azure | diff - <(sort <<-END
		ro /
		ro /etc/azure
		ro /var/run/secrets/kubernetes.io/serviceaccount
		rw /provider
	END
	)
	# Azure's is the CA of the cluster, and no token.
	azure=$(on_node sh -c 'for p in /proc/[0-9]*; do [ "$(tr "\0" "\n" 2>/dev/null <$p/cmdline | head -n 1)" = /provider-azure ] && echo $p; done' | head -n 1)
	[ "$(on_node ls "$azure/root/var/run/secrets/kubernetes.io/serviceaccount")" = ca.crt ]
}

# root_of PROGRAM: the folder in which the node sees its file system.
root_of() {
	# shellcheck disable=SC2016
	on_node sh -c 'for p in /proc/[0-9]*; do
			[ "$(tr "\0" "\n" 2>/dev/null <"$p/cmdline" | head -n 1)" = "$1" ] && echo "$p/root" && exit
		done; exit 1' sh "$1"
}

# docs/security.md says so: who can make sockets there can pose as any provider.
@test "a provider reaches the sockets of providers, and no socket of the driver, of kubelet and of the runtime" {
	for program in /provider-vault /provider-azure; do
		root=$(root_of $program)
		for socket in vault azure e2e-provider; do on_node test -S "$root/provider/$socket.sock"; done
		sockets=$(on_node find "$root/" -xdev -type s; on_node find "$root/provider/" "$root/run/" "$root/var/run/" "$root/tmp/" -type s 2>/dev/null || true)
		grep -q /provider/vault.sock <<<"$sockets"
		[ "$(grep -cE 'csi\.sock|reg\.sock|containerd|kubelet' <<<"$sockets")" = 0 ]
		run on_node ls "$root/var/lib/kubelet"
		[ "$status" != 0 ]
	done
}

@test "NetworkPolicies are accepted, and are for the pods of the driver and of the Vault provider" {
	policies=$(kubectl apply -k "$(overlay network-policy)" --dry-run=server -o json)
	selected() {
		local labels
		labels=$(jq -r --arg name "$1" '.items[] | select(.metadata.name == $name) | .spec.podSelector.matchLabels | to_entries | map("\(.key)=\(.value)") | join(",")' <<<"$policies")
		[ -n "$labels" ] || return
		kubectl -n kube-system get pods -l "$labels" -o json | jq -r '.items[].metadata.ownerReferences[0].name' | sort -u
	}
	[ "$(selected secrets-store-csi-driver)" = csi-secrets-store ]
	[ "$(selected vault-csi-provider)" = vault-csi-provider ]
	# Whom they are for is not in the node's network, which they do not cover.
	for set in csi-secrets-store vault-csi-provider; do
		[ -z "$(kubectl -n kube-system get daemonset $set -o jsonpath='{.spec.template.spec.hostNetwork}')" ]
	done
	[ "$(kubectl -n kube-system get daemonset csi-secrets-store-provider-azure -o jsonpath='{.spec.template.spec.hostNetwork}')" = true ]
}

@test "a forged target path in a record leads nowhere" {
	objects foo | class bats-open plain e2e-provider
	node=$NODE pod bats-open victim plain
	node=$NODE pod bats-open thief plain
	for pod in victim thief; do ready bats-open $pod; done
	for pod in victim thief; do eventually 30 kubectl -n bats-open get spcps $pod-bats-open-plain; done
	kubectl -n bats-open get spcps victim-bats-open-plain -o json | jq .status.targetPath >"$BATS_TEST_TMPDIR/path"
	kubectl -n bats-open patch spcps thief-bats-open-plain --type merge -p "{\"status\": {\"targetPath\": $(cat "$BATS_TEST_TMPDIR/path")}}"
	gone=$(uid bats-open thief)
	before=$(restarts csi-secrets-store)
	keep_logs
	kill_on_node /secrets-store-csi
	again() { [ "$(restarts csi-secrets-store)" -gt "$before" ] && driver_ready; }
	eventually 90 again
	kubectl -n bats-open delete pod thief --timeout=60s
	eventually 30 nothing_on_node "$gone"
	shows bats-open victim /mnt/0/foo secret
	kubectl -n bats-open get spcps victim-bats-open-plain -o json | jq .status.targetPath | diff "$BATS_TEST_TMPDIR/path" -
	kubectl -n bats-open delete pod victim --timeout=60s
}

@test "a stolen token is worth nothing once its pod is gone" {
	answers 200 '' GET /apis/secrets-store.csi.x-k8s.io/v1/secretproviderclasses
	keep_logs
	kubectl -n kube-system delete pod "$DRIVER" --timeout=60s
	eventually 60 answers 401 Unauthorized GET /apis/secrets-store.csi.x-k8s.io/v1/secretproviderclasses
	eventually 90 driver_ready
}
