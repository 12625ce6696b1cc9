#!/usr/bin/env bats
# strongroomctl asks a real cluster. For each finding of doctor there is a test that breaks the
# cluster in that way, sees this finding and no other, and puts back what it broke.

load helpers

NS=bats-ctl
CTL="$BATS_TEST_DIRNAME/../../bin/linux/strongroomctl"
DRIVER=secrets-store.csi.k8s.io

setup_file() {
	fresh $NS
	kubectl label namespace $NS secrets-store.csi.x-k8s.io/sync=enabled >/dev/null
	eventually 120 driver_ready
	fake PUT 'object?name=kept&version=v1' c4n4ry-ctl
	objects kept | also=$(fills kept kept=key && every 1h) class $NS kept e2e-provider
	pod $NS web kept
	ready $NS web
	eventually 60 healthy
}

teardown_file() {
	drop $NS
	fake DELETE 'object?name=kept'
}

# teardown: what a test left broken is put back, by what it wrote down to do so.
teardown() {
	[ ! -e "$BATS_TEST_TMPDIR/back" ] || bash -e "$BATS_TEST_TMPDIR/back"
	eventually 120 healthy
}

# back COMMAND...: is done after the test, whatever becomes of it.
back() { printf '%q ' "$@" >>"$BATS_TEST_TMPDIR/back" && echo >>"$BATS_TEST_TMPDIR/back"; }

# doctor: what it finds, as lines of word and object. Other suites may have left classes and
# volumes behind, in namespaces of their own.
doctor() {
	local out code=0
	out=$("$CTL" doctor -n $NS -o json) || code=$?
	[ $code -le 1 ] || { echo "$out"; return 1; }
	jq -r '.[] | "\(.id) \(.object)"' <<<"$out"
}

healthy() {
	local out
	out=$(doctor) && [ -z "$out" ] || { echo "$out"; return 1; }
}

# finds WORD OBJECT TEXT: that, and nothing else; cause and cure say the text.
finds() {
	local out code=0
	out=$("$CTL" doctor -n $NS -o json) || code=$?
	[ $code = 1 ] && jq -e --arg id "$1" --arg object "$2" --arg text "$3" \
		'length == 1 and .[0].id == $id and (.[0].object | contains($object)) and (.[0].cause + .[0].cure | contains($text))' <<<"$out" >/dev/null ||
		{ echo "code $code: $out"; return 1; }
}

# patched KIND NAME JSON BACK: a merge patch, and the one that puts it back.
patched() {
	back kubectl patch "$1" "$2" --type=merge -p "$4"
	kubectl patch "$1" "$2" --type=merge -p "$3"
}

# edited KIND NAME JQ: an object is replaced by what a jq filter makes of it, and put back.
edited() {
	local was
	was=$(kubectl get "$1" "$2" -o json | jq 'del(.metadata.resourceVersion, .metadata.managedFields, .status)') || return
	printf '%s' "$was" >"$BATS_TEST_TMPDIR/was.json"
	back kubectl replace -f "$BATS_TEST_TMPDIR/was.json"
	jq "$3" <<<"$was" | kubectl replace -f -
}

# unready DAEMONSET: one of its pods is said not to be ready, until kubelet says what it knows.
unready() {
	local pod
	pod=$(pods_of "$1" | head -n 1)
	kubectl -n kube-system patch pod "$pod" --subresource=status --type=strategic -p '{"status":{"conditions":[{"type":"Ready","status":"False"}]}}'
}

# while_unready DAEMONSET WORD OBJECT TEXT: kubelet may have been quicker than doctor.
while_unready() { unready "$1" && finds "${@:2}"; }

@test "doctor finds nothing wrong in a healthy cluster, within five seconds" {
	local began=$SECONDS
	run "$CTL" doctor -n $NS -o table
	[ "$status" = 0 ]
	[ "$output" = 'nothing is wrong that doctor looks for' ]
	[ $((SECONDS - began)) -lt 5 ]
}

# explained: what the driver records after the mount is there, too.
explained() {
	"$CTL" explain pod $NS/web -o json | jq -e '.volumes | length == 1 and (.[0] | .class == "kept" and .provider == "e2e-provider" and .mounted
		and .fresh == "True" and .objects == [{id: "secret/kept", version: "v1"}] and (.nextRefresh | startswith("within 1h"))
		and .secrets[0].name == "kept" and .secrets[0].state == "filled")'
}

# Before CRDs are changed below, which ends the watches by which drivers learn of a refresh.
@test "explain tells what is known of a pod's volumes, and no value" {
	eventually 60 explained
	run "$CTL" explain pod $NS/web -o json
	[ "$status" = 0 ]
	[[ $output != *c4n4ry* ]]
	run "$CTL" explain pod $NS/web -o table
	[ "$status" = 0 ]
	[[ $output == *'volume v0'* && $output != *c4n4ry* ]]
	run "$CTL" explain pod $NS/none
	[ "$status" = 2 ]
	[[ $output == *"get pod $NS/none"* ]]
}

@test "explain tells why a pod waits" {
	pod $NS waiting missing
	eventually 60 waits
	kubectl -n $NS delete pod waiting --wait=false
}

waits() { "$CTL" explain pod $NS/waiting -o json | jq -e '.volumes[0] | (.mounted | not) and (.error | contains("missing"))'; }

@test "refresh has the volumes of a class refreshed at once" {
	fake PUT 'object?name=kept&version=v2' c4n4ry-ctl-2
	run "$CTL" refresh class $NS/kept -o json
	[ "$status" = 0 ]
	jq -e '.volumes == 1' <<<"$output"
	eventually 180 shows $NS web /mnt/0/kept c4n4ry-ctl-2
	run "$CTL" refresh class $NS/none
	[ "$status" = 2 ]
}

@test "doctor says what its user may not see" {
	kubectl create serviceaccount nobody -n $NS
	kubectl config view --raw --flatten --minify -o json |
		jq --arg token "$(kubectl create token nobody -n $NS)" '.users[0].user = {token: $token}' >"$BATS_TEST_TMPDIR/nobody"
	run "$CTL" doctor -n $NS -o json --kubeconfig "$BATS_TEST_TMPDIR/nobody"
	[ "$status" = 1 ]
	jq -e 'length > 5 and all(.id == "NotChecked")' <<<"$output"
}

@test "doctor finds that the driver is not installed" {
	kubectl -n kube-system get daemonset csi-secrets-store -o json |
		jq 'del(.metadata.resourceVersion, .metadata.uid, .metadata.managedFields, .status)' >"$BATS_TEST_TMPDIR/set.json"
	back kubectl apply -f "$BATS_TEST_TMPDIR/set.json"
	kubectl -n kube-system delete daemonset csi-secrets-store --cascade=orphan
	eventually 20 finds DriverMissing csi-secrets-store 'kubectl apply'
}

# upstream: the DaemonSet of the upstream driver, on no node.
upstream() {
	kubectl create --dry-run=client -o json -f "$BATS_TEST_DIRNAME/../upstream/driver.yaml" | jq -s --arg ns $NS \
		'[.[] | if .kind == "List" then .items[] else . end | select(.kind == "DaemonSet")][0]
		| .metadata.namespace = $ns | .spec.template.spec.nodeSelector = {"strongroom.test/none": "none"}' | kubectl apply -f -
	back kubectl -n $NS delete daemonset csi-secrets-store
}

@test "doctor finds that the upstream driver is still installed" {
	upstream
	finds UpstreamDriver $NS/csi-secrets-store 'docs/migration.md'
}

@test "doctor finds a driver that is not ready" {
	eventually 30 while_unready csi-secrets-store DriverNotReady csi-secrets-store 'not ready'
}

@test "doctor finds a provider that is not ready" {
	eventually 30 while_unready vault-csi-provider ProviderNotReady vault-csi-provider 'kubectl -n kube-system logs'
}

@test "doctor finds a node where kubelet does not know the driver" {
	patched csinode "$NODE_1" '{"spec":{"drivers":[]}}' "$(kubectl get csinode "$NODE_1" -o json | jq -c '{spec}')"
	finds DriverNotRegistered "csinode $NODE_1" "$DRIVER"
}

# kubelet_says VERSION WORD: kubelet soon says again which it is.
kubelet_says() {
	kubectl patch node "$NODE_1" --subresource=status --type=merge -p "{\"status\":{\"nodeInfo\":{\"kubeletVersion\":\"$1\"}}}" && finds "$2" "node $NODE_1" "$1"
}

@test "doctor finds a kubelet that is too old" {
	eventually 30 kubelet_says v1.29.9 KubeletTooOld
}

@test "doctor finds a kubelet that does not hand over tokens as the CSIDriver says" {
	eventually 30 kubelet_says v1.34.2 TokensInSecrets
}

@test "doctor finds that the CSIDriver is missing" {
	kubectl get csidriver $DRIVER -o json | jq 'del(.metadata.resourceVersion, .metadata.uid)' >"$BATS_TEST_TMPDIR/driver.json"
	back kubectl apply -f "$BATS_TEST_TMPDIR/driver.json"
	kubectl delete csidriver $DRIVER
	finds CSIDriverMissing $DRIVER 'csidriver.yaml'
}

@test "doctor finds fields of the CSIDriver that keep volumes from being mounted" {
	patched csidriver $DRIVER '{"spec":{"podInfoOnMount":false}}' '{"spec":{"podInfoOnMount":true}}'
	finds CSIDriverField $DRIVER podInfoOnMount
}

@test "doctor finds an audience that a provider needs and kubelet does not ask for" {
	local now
	now=$(kubectl get csidriver $DRIVER -o json | jq -c '{spec: {tokenRequests: .spec.tokenRequests}}')
	patched csidriver $DRIVER "$(jq -c 'del(.spec.tokenRequests[] | select(.audience == "vault"))' <<<"$now")" "$now"
	finds AudienceMissing $DRIVER '"vault"'
}

@test "the cure of a missing audience cures it" {
	local now
	now=$(kubectl get csidriver $DRIVER -o json | jq -c '{spec: {tokenRequests: .spec.tokenRequests}}')
	patched csidriver $DRIVER "$(jq -c 'del(.spec.tokenRequests[] | select(.audience == "vault"))' <<<"$now")" "$now"
	finds AudienceMissing $DRIVER '"vault"'
	bash -ec "$("$CTL" doctor -n $NS -o json | jq -r '.[0].cure')"
	healthy
}

@test "doctor finds a CRD of the upstream driver" {
	edited crd secretproviderclasses.secrets-store.csi.x-k8s.io 'del(.spec.versions[].schema.openAPIV3Schema.properties.spec.properties.rotation.properties.mode)'
	finds CRDOutdated secretproviderclasses spec.rotation.mode
}

@test "doctor finds a right that the driver lacks" {
	edited clusterrole secretproviderclasses-role 'del(.rules[] | select(.resources == ["events"]))'
	eventually 30 finds RightMissing secrets-store-csi-driver 'create events' # which the API server notices in a while
}

@test "doctor finds a right that the driver must not have" {
	back kubectl delete clusterrolebinding,clusterrole bats-ctl
	kubectl create clusterrole bats-ctl --verb=get,list --resource=secrets
	kubectl create clusterrolebinding bats-ctl --clusterrole=bats-ctl --serviceaccount=kube-system:secrets-store-csi-driver
	eventually 30 finds RightTooMuch secrets-store-csi-driver 'get secrets, list secrets'
}

@test "doctor finds a policy that denies nothing" {
	local name=secrets-store-csi-driver-syncedsecrets
	patched validatingadmissionpolicybinding $name '{"spec":{"validationActions":["Audit"]}}' '{"spec":{"validationActions":["Deny"]}}'
	finds PolicyMissing $name Deny || finds PolicyMissing $name deny
}

@test "doctor finds a policy that is about another user" {
	edited validatingadmissionpolicy secrets-store-csi-driver-secrets \
		'.spec.matchConditions[0].expression |= sub("kube-system"; "csi")'
	finds PolicyOfAnother secrets-store-csi-driver-secrets system:serviceaccount:kube-system:secrets-store-csi-driver
}

bare() {
	kubectl apply -f - <<<"{apiVersion: secrets-store.csi.x-k8s.io/v1, kind: SecretProviderClass, metadata: {name: bare, namespace: $NS}, spec: {provider: vault}}"
}

# The CRD refuses such a class, which may be older than the CRD.
@test "doctor finds a class that says too little" {
	edited crd secretproviderclasses.secrets-store.csi.x-k8s.io 'walk(if type == "object" then del(."x-kubernetes-validations") else . end)'
	back kubectl -n $NS delete spc bare
	eventually 20 bare
	finds ClassIncomplete $NS/bare spec.parameters
}

@test "doctor finds a class whose provider is not there" {
	back kubectl -n $NS delete spc typo
	objects kept | class $NS typo vualt
	finds ProviderMissing $NS/typo '"vualt"'
}

@test "doctor finds a class whose Secret must not be filled" {
	back kubectl label namespace $NS secrets-store.csi.x-k8s.io/sync=enabled
	kubectl label namespace $NS secrets-store.csi.x-k8s.io/sync-
	finds SyncNotAllowed $NS/kept 'kubectl label namespace'
}

# said TYPE REASON: the status of the pod says so of a condition.
said() {
	local name=web-$NS-kept
	kubectl -n $NS get spcps $name -o json | jq 'del(.metadata.resourceVersion)' >"$BATS_TEST_TMPDIR/status.json"
	back kubectl replace -f "$BATS_TEST_TMPDIR/status.json"
	jq --arg type "$1" --arg reason "$2" '.status.conditions |= map(if .type == $type then .status = "False" | .reason = $reason | .message = "no" else . end)' \
		"$BATS_TEST_TMPDIR/status.json" | kubectl replace -f -
}

@test "doctor finds a volume that is not refreshed" {
	said Ready RefreshStale
	finds VolumeNotRefreshed $NS/kept "RefreshStale, for the volumes of web"
}

@test "doctor finds a Secret that is not filled" {
	said Synced Conflict
	finds SecretNotFilled $NS/kept Conflict
}

@test "migrate check tells what changes, from the objects that are there" {
	run "$CTL" migrate check -o json
	jq -e 'all(.id != "UpstreamDriver")' <<<"$output"
	upstream
	back kubectl -n $NS delete pod overrides --wait=false
	attributes='kept: x' pod $NS overrides kept
	run "$CTL" migrate check -o json
	[ "$status" = 1 ]
	jq -e --arg ns $NS 'any(.id == "UpstreamDriver" and .object == "daemonset \($ns)/csi-secrets-store")
		and any(.id == "AttributeOverride" and .object == "pod \($ns)/overrides") and any(.id == "Sidecars")
		and any(.id == "Flags" and (.change | contains("--rotation-poll-interval=5s")))' <<<"$output"
	[[ $output != *c4n4ry* ]]
}

@test "as a plugin, it is called as kubectl calls it" {
	ln -s "$CTL" "$BATS_TEST_TMPDIR/kubectl-strongroom"
	PATH=$BATS_TEST_TMPDIR:$PATH run kubectl strongroom help
	[ "$status" = 0 ]
	[[ $output == *'kubectl strongroom doctor'* ]]
}

# The kinds of Secrets go with their CRD, so this is the last: what uses them then is gone.
@test "doctor finds a kind that is missing" {
	local name=syncedsecrets.secrets-store.csi.x-k8s.io
	kubectl -n $NS delete pod web
	kubectl get crd $name -o json | jq 'del(.metadata.resourceVersion, .metadata.uid, .metadata.managedFields, .status)' >"$BATS_TEST_TMPDIR/crd.json"
	back kubectl create -f "$BATS_TEST_TMPDIR/crd.json"
	back kubectl wait --for=condition=Established crd/$name --timeout=60s
	kubectl delete crd $name --timeout=60s
	eventually 30 finds CRDMissing $name 'manifests/base/crds'
}
