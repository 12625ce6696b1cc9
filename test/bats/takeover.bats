#!/usr/bin/env bats
# The upstream driver itself is swapped for ours under pods that run, and back, as
# docs/migration.md tells. Observers in the pods read their volumes all the time.

load helpers

NS=bats-takeover
MANAGED=secrets-store.csi.k8s.io/managed
NODE_NAME=internal.secrets-store.csi.k8s.io/node-name
VALUE=c4n4ry-takeover # begins every value

setup_file() {
	[ -n "$STRONGROOM_RUN" ] && [ "$KUBECONFIG" = "$STRONGROOM_RUN/kubeconfig" ] || skip 'needs the nodes of the test ground'
	[[ ${ADMISSION:-} != *OwnerReferencesPermissionEnforcement* ]] || skip 'Secrets of upstream cannot be taken over there'
	local programs node
	programs=$("$BATS_TEST_DIRNAME/../upstream/build") || { [ $? = 3 ] && skip 'NOT SHOWN: the module of the upstream driver cannot be had here'; }
	touch "$BATS_FILE_TMPDIR/began"
	for node in "$STRONGROOM_RUN"/node-*/lib; do
		mkdir -p "$node/strongroom-upstream"
		cp "$programs/registrar" "$programs/secrets-store-csi-driver" "$node/strongroom-upstream/"
	done
	fresh $NS
	fake PUT 'object?name=kept&version=v1' $VALUE-one
	upstream
	{
		objects a b c && echo 'generations: 5s'
	} | class $NS rotating e2e-provider
	{
		objects a b c && echo 'generations: 87600h'
	} | class $NS still e2e-provider
	for name in kept alone-1 alone-2; do objects kept | also=$(fills $name kept=key && every 5s) class $NS $name e2e-provider; done
	deployment | kubectl apply -f - >/dev/null
	for n in 1 2; do observed bare-$n alone-$n | kubectl apply -f - >/dev/null; done
	kubectl -n $NS wait --for=condition=Available deployment/web --timeout=120s
	for n in 1 2; do ready $NS bare-$n; done
	pods >"$BATS_FILE_TMPDIR/pods"
}

# Each step is tried also when one before it failed, so that the next suites have our driver.
teardown_file() {
	[ -e "$BATS_FILE_TMPDIR/began" ] || return 0
	local code=0
	is_ours || ours || code=1
	drop $NS || code=1
	fake DELETE 'object?name=kept' || code=1
	rm -rf "$STRONGROOM_RUN"/node-*/lib/strongroom-upstream
	return $code
}

# spec CLASS: of a pod that observes a volume whose content changes, and one whose does
# not, and also mounts a class, from whose Secret it has a variable.
spec() {
	local name env='' volumes='' reports=''
	for name in POD_NAME=name POD_NAMESPACE=namespace POD_UID=uid; do
		env+="{name: ${name%=*}, valueFrom: {fieldRef: {fieldPath: metadata.${name#*=}}}},"
	done
	for name in rotating still "$1"; do
		volumes+="{name: $name, csi: {driver: secrets-store.csi.k8s.io, readOnly: true, volumeAttributes: {secretProviderClass: $name}}},"
	done
	for name in rotating still; do
		volumes+="{name: $name-report, emptyDir: {}},"
		reports+="{name: $name, image: strongroom/observer:dev, imagePullPolicy: IfNotPresent, env: [$env],
			volumeMounts: [{name: $name, mountPath: /mnt/0, readOnly: true}, {name: $name-report, mountPath: /report}]},"
	done
	cat <<-END
		{terminationGracePeriodSeconds: 1, volumes: [$volumes],
		topologySpreadConstraints: [{maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {app: web}}}],
		containers: [{name: main, image: $IMAGE, imagePullPolicy: IfNotPresent, command: [sleep, infinity],
			env: [{name: FROM_SECRET, valueFrom: {secretKeyRef: {name: $1, key: key}}}],
			volumeMounts: [{name: still, mountPath: /still, readOnly: true}, {name: $1, mountPath: /mnt/0, readOnly: true}]}, $reports]}
	END
}

deployment() {
	printf '{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: %s}, spec: {replicas: 2, selector: {matchLabels: {app: web}},
		template: {metadata: {labels: {app: web}}, spec: %s}}}' $NS "$(spec kept)"
}

# observed NAME CLASS: such a pod that belongs to nothing.
observed() { printf '{apiVersion: v1, kind: Pod, metadata: {name: %s, namespace: %s}, spec: %s}' "$1" $NS "$(spec "$2")"; }

# is_ours: the driver is, and is not about to go.
is_ours() { kubectl -n kube-system get daemonset csi-secrets-store -o jsonpath='{.metadata.deletionTimestamp}{.spec.selector.matchLabels.app}' | grep -qx secrets-store-csi-driver; }

remove() { kubectl -n kube-system delete daemonset csi-secrets-store --ignore-not-found --cascade=foreground --timeout=90s; }

# upstream: its driver runs on all nodes, and ours on none. Our policies name the service
# account that both use, and would keep it from writing as it does.
upstream() {
	! is_ours || keep_logs
	remove
	kubectl delete validatingadmissionpolicybinding secrets-store-csi-driver-{podstatuses,secrets,syncedsecrets} --ignore-not-found
	kubectl apply -f "$BATS_TEST_DIRNAME/../upstream/driver.yaml"
	kubectl -n kube-system rollout status daemonset csi-secrets-store --timeout=120s
	eventually 60 registered
}

# registered: kubelet told the registrar on each node so.
registered() {
	local pod
	for pod in $(pods_of csi-secrets-store); do
		kubectl -n kube-system logs "$pod" -c node-driver-registrar | grep -q 'registered: true' || { echo "$pod is not registered"; return 1; }
	done
}

# ours: our driver runs on all nodes, as the suite installs it, and upstream's on none.
ours() {
	remove
	kubectl label namespace $NS secrets-store.csi.x-k8s.io/sync=enabled --overwrite
	kubectl kustomize "$BATS_TEST_DIRNAME/../../${INSTALLED:-manifests/overlays/test}" | kubectl create --dry-run=client -o json -f - |
		jq -s '{apiVersion: "v1", kind: "List", items: [.[] | if .kind == "List" then .items[] else . end
			| select(.metadata.name | test("vault|azure|e2e-provider") | not)]}' | kubectl apply -f -
	kubectl -n kube-system rollout status daemonset csi-secrets-store --timeout=120s
}

# pods: name, UID and node of each.
pods() {
	kubectl -n $NS get pods -o json | jq -r '.items[] | select(.metadata.deletionTimestamp == null) | "\(.metadata.name) \(.metadata.uid) \(.spec.nodeName)"' | sort
}

# report UID NODE CLASS: what the observer of that volume says.
report() { cat "$STRONGROOM_RUN/$2/lib/kubelet/pods/$1/volumes/kubernetes.io~empty-dir/$3-report/$1.json"; }

# unharmed: the pods are the same, no container was started again, which it is after a
# violation too, and the observers look on.
unharmed() {
	local restarts name uid node class
	diff <(pods) "$BATS_FILE_TMPDIR/pods" || { echo 'these are not the same pods'; return 1; }
	restarts=$(kubectl -n $NS get pods -o json | jq '[.items[].status.containerStatuses[].restartCount] | add')
	[ "$restarts" = 0 ] || { echo "$restarts restarts"; kubectl -n $NS get pods -o json | jq '.items[].status.containerStatuses[] | select(.restartCount > 0)'; return 1; }
	while read -r name uid node; do
		for class in rotating still; do
			report "$uid" "$node" $class | jq -e '(.violations == null) and (now - (.written | sub("\\.[0-9]+"; "") | fromdate) < 15)' >/dev/null ||
				{ echo "the observer of $class in $name says:"; report "$uid" "$node" $class; return 1; }
		done
		report "$uid" "$node" still | jq -e '.generations == 1' >/dev/null || { echo "what does not change changed in $name"; return 1; }
	done <"$BATS_FILE_TMPDIR/pods"
}

# files: those of the volumes that do not change, as the pods see them.
files() {
	local name
	while read -r name _; do
		inside $NS "$name" sh -c 'stat -c "%n %i %s %Y %a" /still/..data/* && readlink /still/..data' </dev/null || return
	done <"$BATS_FILE_TMPDIR/pods"
}

# rotates: each pod has seen another generation since the mark that "generation" made.
generation() {
	local name uid node
	while read -r name uid node; do report "$uid" "$node" rotating | jq .generation; done <"$BATS_FILE_TMPDIR/pods"
}
rotates() {
	paste -d ' ' <(generation) "$BATS_FILE_TMPDIR/generation" | awk '$1 <= $2 { print "generation " $1 " stays"; exit 1 }'
}

# value WANT COUNT: what the pods and the Secrets of their classes, so many, hold.
value() {
	local name got
	while read -r name _; do shows $NS "$name" /mnt/0/kept "$1" </dev/null || return; done < <(pods)
	got=$(kubectl -n $NS get secrets -l $MANAGED=true -o json | jq -c '[.items[].data.key | @base64d]')
	[ "$got" = "$(jq -nc --arg want "$1" --argjson n "$2" '[range($n) | $want]')" ] || { echo "the Secrets hold $got"; return 1; }
}

# owned SECRET KIND...: by objects of these kinds.
owned() {
	local got
	got=$(kubectl -n $NS get secret "$1" -o json | jq -r '[.metadata.ownerReferences[]?.kind] | join(" ")')
	[ "$got" = "${*:2}" ] || { echo "$1 is owned by $got"; return 1; }
}

# no_mounts UID NODE: nothing of a pod is left there.
no_mounts() {
	! grep "$1" "/proc/$(cat "$STRONGROOM_RUN/$2/pid")/mounts" || return
	[ ! -e "$STRONGROOM_RUN/$2/lib/kubelet/pods/$1" ] || { echo "the folder of $1 is left on $2"; return 1; }
}

# leaves POD SECRET: deleted, it leaves nothing.
leaves() {
	local name uid node
	read -r name uid node < <(grep "^$1 " "$BATS_FILE_TMPDIR/pods")
	kubectl -n $NS delete pod "$1" --timeout=60s
	eventually 30 no_mounts "$uid" "$node"
	for name in rotating still "$2"; do eventually 30 absent -n $NS spcps "$1-$NS-$name"; done
	eventually 30 absent -n $NS secret "$2"
	sed -i "/^$1 /d" "$BATS_FILE_TMPDIR/pods"
}

# swapped TO: the other driver comes, and nothing happens to pods and files.
swapped() {
	files >"$BATS_FILE_TMPDIR/files"
	"$1"
	generation >"$BATS_FILE_TMPDIR/generation"
	unharmed
	diff <(files) "$BATS_FILE_TMPDIR/files"
}

@test "pods run with the upstream driver, which filled their Secrets and wrote their statuses" {
	unharmed
	eventually 60 value $VALUE-one 3
	# It was no other driver: its mounts have no options, its objects know neither SyncedSecrets nor conditions.
	grep -q ' /var/lib/kubelet/pods/[^ ]*/volumes/kubernetes.io~csi/still/mount tmpfs rw,relatime' "/proc/$(cat "$STRONGROOM_RUN/node-1/pid")/mounts"
	eventually 30 owned kept ReplicaSet
	for n in 1 2; do eventually 30 owned alone-$n SecretProviderClassPodStatus; done
	[ "$(kubectl -n $NS get syncedsecrets -o name)" = '' ]
	kubectl -n $NS get spcps -o json | jq -e '(.items | length) == 12 and all(.items[]; .status.conditions == null and .metadata.annotations == null)'
	generation >"$BATS_FILE_TMPDIR/generation"
	eventually 60 rotates
}

@test "ours comes under running pods: no restart, no file lost or changed" {
	kubectl -n $NS get secrets -l $MANAGED=true -o json | jq -r '.items[].metadata | "\(.name) \(.uid)"' >"$BATS_FILE_TMPDIR/secrets"
	kubectl -n $NS get spcps -o json | jq -r '.items[].metadata | "\(.name) \(.uid)"' >"$BATS_FILE_TMPDIR/statuses"
	swapped ours
}

@test "the pods' volumes rotate, and their Secrets with them" {
	fake PUT 'object?name=kept&version=v2' $VALUE-two
	eventually 60 rotates
	eventually 60 value $VALUE-two 3
	unharmed
}

@test "the Secrets and the statuses are the same ones, and ours" {
	eventually 60 owned kept SyncedSecret
	for n in 1 2; do eventually 60 owned alone-$n SyncedSecret; done
	owners() { kubectl -n $NS get syncedsecrets -o json | jq -c '[.items[] | {(.metadata.name): [.metadata.ownerReferences[].kind]}] | add'; }
	[ "$(owners)" = '{"alone-1":["Pod"],"alone-2":["Pod"],"kept":["ReplicaSet"]}' ] || { owners; return 1; }
	diff "$BATS_FILE_TMPDIR/secrets" <(kubectl -n $NS get secrets -l $MANAGED=true -o json | jq -r '.items[].metadata | "\(.name) \(.uid)"')
	written() {
		kubectl -n $NS get spcps -o json | jq -e --arg key $NODE_NAME 'all(.items[]; .metadata.annotations[$key] != null and (.status.conditions | length) > 0)' ||
			{ kubectl -n $NS get spcps -o json | jq -c '.items[] | [.metadata.name, .metadata.annotations, .status]'; return 1; }
	}
	eventually 90 written
	diff "$BATS_FILE_TMPDIR/statuses" <(kubectl -n $NS get spcps -o json | jq -r '.items[].metadata | "\(.name) \(.uid)"')
}

@test "a pod that upstream mounted leaves nothing when ours unmounts it" {
	leaves bare-1 alone-1
}

@test "upstream comes back under running pods: no restart, no file lost or changed, and it goes on" {
	swapped upstream
	fake PUT 'object?name=kept&version=v3' $VALUE-three
	eventually 60 rotates
	eventually 90 value $VALUE-three 2
	unharmed
	leaves bare-2 alone-2
}

@test "ours comes again, goes on, and leaves nothing" {
	swapped ours
	fake PUT 'object?name=kept&version=v4' $VALUE-four
	eventually 60 rotates
	eventually 60 value $VALUE-four 1
	unharmed
	kubectl delete namespace $NS --timeout=120s
	while read -r _ uid node; do eventually 30 no_mounts "$uid" "$node"; done <"$BATS_FILE_TMPDIR/pods"
}
