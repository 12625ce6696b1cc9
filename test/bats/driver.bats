#!/usr/bin/env bats
# What the driver promises to pods and their authors, with a scripted provider.

load helpers

node=${NODE_1:-} # where pods run, for that is the node which is looked at

setup_file() {
	for ns in bats-a bats-b; do fresh $ns; done
	objects foo fookey | class bats-a good e2e-provider
}

teardown_file() { drop bats-a bats-b; }

@test "the CRDs are established, and the old version is served" {
	for crd in secretproviderclasses secretproviderclasspodstatuses; do
		kubectl wait --for=condition=Established crd/$crd.secrets-store.csi.x-k8s.io --timeout=60s
	done
	kubectl -n bats-a get secretproviderclasses.v1alpha1.secrets-store.csi.x-k8s.io good -o jsonpath='{.spec.provider}' 2>/dev/null | grep -x e2e-provider
}

@test "roles exist under the names that users know" {
	kubectl get clusterrole secretproviderclasses-role secretproviderclasses-admin-role secretproviderclasses-viewer-role \
		secretproviderclasspodstatuses-viewer-role
	kubectl get clusterrolebinding secretproviderclasses-rolebinding
}

@test "the driver is one container, ready, and registered at every node" {
	for pod in $(pods_of csi-secrets-store); do
		[ "$(kubectl -n kube-system get pod "$pod" -o jsonpath='{.spec.containers[*].name}')" = secrets-store ]
		page "$pod" 9808 readyz | grep -x ok
		page "$pod" 9808 healthz | grep -x ok
	done
	[ "$(kubectl get csinodes -o json | jq '[.items[] | select(any(.spec.drivers[]?; .name == "secrets-store.csi.k8s.io") | not)] | length')" = 0 ]
}

@test "the driver's identity cannot read Secrets, nor delete them" {
	who=system:serviceaccount:kube-system:secrets-store-csi-driver
	for verb in get list watch patch delete deletecollection; do
		run kubectl auth can-i $verb secrets --as $who -A
		[ "$output" = no ]
	done
	# It may write them, and a policy says which.
	for verb in create update; do [ "$(kubectl auth can-i $verb secrets --as $who -A)" = yes ]; done
	run kubectl auth can-i create serviceaccounts/token --as $who -A
	[ "$output" = no ]
}

@test "the driver keeps three capabilities, gains none, and its system calls are filtered" {
	threads=$(threads_of /secrets-store-csi)
	[ "$(wc -l <<<"$threads")" -gt 1 ]
	for status in $threads; do
		on_node grep -E '^(Cap|NoNewPrivs|Seccomp:)' "$status" | tr -d ' \t' >"$BATS_TEST_TMPDIR/status"
		diff - "$BATS_TEST_TMPDIR/status" <<-END
			CapInh:0000000000000000
			CapPrm:0000000000200003
			CapEff:0000000000200003
			CapBnd:0000000000200003
			CapAmb:0000000000000000
			NoNewPrivs:1
			Seccomp:2
		END
	done
}

@test "providers have no capability" {
	for program in /provider-vault /fakeprovider; do
		threads=$(threads_of $program)
		[ "$(wc -l <<<"$threads")" -gt 1 ]
		for status in $threads; do
			[ "$(on_node grep -cE '^(CapEff:.0000000000000000|NoNewPrivs:.1|Seccomp:.2)$' "$status")" = 3 ]
		done
	done
}

@test "a pod sees its files, whole, in a file system that runs nothing" {
	pod bats-a reader good
	ready bats-a reader
	shows bats-a reader /mnt/0/foo secret
	inside bats-a reader cat /mnt/0/fookey | grep -x 'This is mock key'
	[ "$(inside bats-a reader readlink /mnt/0/foo)" = ..data/foo ]
	[ "$(inside bats-a reader stat -L -c %a /mnt/0/foo)" = 644 ]
	on_node grep "$(uid bats-a reader).*kubernetes.io~csi/v0/mount tmpfs rw,nosuid,nodev,noexec" /proc/1/mounts
}

@test "a status object tells what is mounted" {
	eventually 30 kubectl -n bats-a get spcps reader-bats-a-good
	status=$(kubectl -n bats-a get spcps reader-bats-a-good -o json)
	[ "$(jq -r .status.podName <<<"$status")" = reader ]
	[ "$(jq -r .status.secretProviderClassName <<<"$status")" = good ]
	[ "$(jq -r .status.mounted <<<"$status")" = true ]
	[ "$(jq -rc '[.status.objects[] | [.id, .version]]' <<<"$status")" = '[["secret/foo","v1"],["secret/fookey","v1"]]' ]
	[ "$(jq -r '.metadata.ownerReferences | length' <<<"$status")" = 1 ]
	[ "$(jq -r '.metadata.ownerReferences[0].uid' <<<"$status")" = "$(uid bats-a reader)" ]
	jq -r .status.targetPath <<<"$status" | grep "$(uid bats-a reader)/volumes/kubernetes.io~csi/v0/mount"
}

@test "one pod has several volumes, also two of one class" {
	objects foo | class bats-a second e2e-provider
	pod bats-a several good second good
	ready bats-a several
	for n in 0 1 2; do shows bats-a several /mnt/$n/foo secret; done
	[ "$(inside bats-a several ls /mnt/1)" = foo ]
	three() { [ "$(kubectl -n bats-a get spcps -o json | jq '[.items[] | select(.status.podName == "several")] | length')" = 3 ]; }
	eventually 30 three
}

@test "a class belongs to its namespace" {
	echo 'objects: ""' | class bats-a shared no-such-provider
	objects foo | class bats-b shared e2e-provider
	pod bats-b shared shared
	ready bats-b shared
	shows bats-b shared /mnt/0/foo secret
}

@test "a missing class is named in an event" {
	pod bats-b lost good
	eventually 60 failed_with bats-b lost 'failed to get secretproviderclass bats-b/good: SecretProviderClassNotFound: it does not exist: create it' 'not found'
}

@test "a missing provider is named in an event" {
	objects foo | class bats-b nobody no-such-provider
	pod bats-b nobody nobody
	eventually 60 failed_with bats-b nobody 'error connecting to provider "no-such-provider": provider not found' \
		'failed to mount secrets store objects for pod bats-b/nobody: ProviderUnavailable: '
}

@test "bad parameters are named in an event, and mending the class mends the pod" {
	echo 'objects: "array: [oops]"' | class bats-b bad e2e-provider
	pod bats-b bad bad
	eventually 60 failed_with bats-b bad 'parse item 0 of parameter objects'
	objects foo | class bats-b bad e2e-provider
	ready bats-b bad
}

@test "a class without provider or parameters, or with a misspelt field, is refused by kubectl apply" {
	try() {
		run kubectl apply -f - <<-END
			{apiVersion: secrets-store.csi.x-k8s.io/v1, kind: SecretProviderClass, metadata: {name: hollow, namespace: bats-b}, spec: $1}
		END
		[ "$status" != 0 ]
		[[ $output == *"$2"* ]] || { echo "$output"; return 1; }
	}
	try '{}' 'spec.provider is needed'
	try '{provider: e2e-provider}' 'spec.parameters is needed'
	try '{provider: e2e provider, parameters: {objects: x}}' 'must consist of letters, digits, - and _'
	try '{provider: e2e-provider, paramters: {objects: x}}' 'unknown field "spec.paramters"'
}

@test "a pod cannot override the class" {
	attributes='objects: x' pod bats-a override good
	eventually 60 failed_with bats-a override 'must not override parameters of secretproviderclass bats-a/good, but objects would'
}

@test "a volume that is not read-only is refused" {
	readonly=false pod bats-a writer good
	eventually 60 failed_with bats-a writer 'the volume must be read-only'
}

@test "the pod's tokens reach the provider" {
	fake GET 'validate-token-requests?audience=vault'
	pod bats-a tokens good
	ready bats-a tokens
	fake GET 'validate-token-requests?audience=nobody'
	pod bats-a untokened good
	eventually 60 failed_with bats-a untokened 'no service account token for audience nobody'
	fake GET 'validate-token-requests?audience='
	ready bats-a untokened
}

@test "a group reads, others do not" {
	fake PUT 'object?name=private&version=v1&mode=0400' c4n4ry-for-the-group
	objects private | class bats-a private e2e-provider
	group=4711 pod bats-a grouped private
	ready bats-a grouped
	shows bats-a grouped /mnt/0/private c4n4ry-for-the-group
	[ "$(inside bats-a grouped stat -L -c '%a %g' /mnt/0/private)" = '440 4711' ]
}

@test "a provider that fails leaves nothing mounted, and the pod starts once it recovers" {
	fake PUT 'fail?kind=Unavailable' ''
	pod bats-a patient good
	eventually 60 failed_with bats-a patient 'told to fail with Unavailable'
	id=$(uid bats-a patient)
	nothing_on_node "$id.*kubernetes.io~csi"
	fake DELETE fail
	ready bats-a patient
	shows bats-a patient /mnt/0/foo secret
}

@test "driver and provider are killed under a running pod, and it loses no file" {
	before=$(restarts csi-secrets-store)
	kill_on_node /secrets-store-csi
	kill_on_node /fakeprovider
	shows bats-a reader /mnt/0/foo secret
	more() { [ "$(restarts csi-secrets-store)" -gt "$before" ]; }
	eventually 60 more
	kubectl -n kube-system rollout status daemonset csi-secrets-store --timeout=90s
	kubectl -n kube-system rollout status daemonset e2e-provider --timeout=90s
	shows bats-a reader /mnt/0/foo secret
	pod bats-a late good
	ready bats-a late
	shows bats-a late /mnt/0/foo secret
}

@test "driver and provider are replaced under a running pod, and it loses no file" {
	roll csi-secrets-store e2e-provider
	shows bats-a reader /mnt/0/foo secret
	pod bats-a later good
	ready bats-a later
	shows bats-a later /mnt/0/foo secret
}

@test "metrics have the names that dashboards use" {
	counted() {
		local pod
		for pod in $(pods_of csi-secrets-store); do page "$pod" 8095 metrics; done | grep -E "^$1\{.*os_type=\"linux\""
	}
	counted node_publish_total
	kubectl -n bats-a delete pod later --timeout=60s
	eventually 60 counted 'node_unpublish_total'
}

@test "a deleted pod leaves nothing on the node, and no error in the log" {
	id=$(uid bats-a reader)
	kubectl -n bats-a delete pod reader --timeout=60s
	gone() { nothing_on_node "$id" && [ "$(on_node sh -c "ls /var/lib/kubelet/pods | grep -c $id || true")" = 0 ]; }
	eventually 60 gone
	eventually 90 absent -n bats-a spcps reader-bats-a-good
	keep_logs
	grep -q unpublished "$LOGS"
	! grep 'failed to clean and unmount target path' "$LOGS"
}

@test "a pod that is deleted while the driver is away goes once it is back" {
	pod bats-a away good
	ready bats-a away
	id=$(uid bats-a away)
	keep_logs
	kubectl -n kube-system patch daemonset csi-secrets-store --type merge -p '{"spec":{"template":{"spec":{"nodeSelector":{"no-such-node":"x"}}}}}'
	none() { [ -z "$(pods_of csi-secrets-store)" ]; }
	eventually 60 none
	kubectl -n bats-a delete pod away --wait=false
	kubectl -n kube-system patch daemonset csi-secrets-store --type json -p '[{"op":"remove","path":"/spec/template/spec/nodeSelector/no-such-node"}]'
	kubectl -n kube-system rollout status daemonset csi-secrets-store --timeout=90s
	eventually 90 absent -n bats-a pod away
	gone() { nothing_on_node "$id"; }
	eventually 60 gone
}

@test "a status that could not be written is written by the next driver" {
	roll csi-secrets-store
	kubectl patch clusterrole secretproviderclasses-role --type json -p '[{"op":"test","path":"/rules/3/resources/0","value":"secretproviderclasspodstatuses"},{"op":"replace","path":"/rules/3/verbs","value":["get"]}]'
	pod bats-a unrecorded good
	ready bats-a unrecorded
	pods=$(pods_of csi-secrets-store)
	kill_on_node /secrets-store-csi
	kubectl patch clusterrole secretproviderclasses-role --type json -p '[{"op":"replace","path":"/rules/3/verbs","value":["get","create","update","delete"]}]'
	eventually 60 kubectl -n bats-a get spcps unrecorded-bats-a-good
	[ "$pods" = "$(pods_of csi-secrets-store)" ]
}

@test "a non-root pod reads through a group, with a read-only root and a subPath" {
	fake PUT 'object?name=private&version=v1&mode=0400' c4n4ry-for-the-group
	kubectl apply -f - <<-END
		apiVersion: v1
		kind: Pod
		metadata: {name: nonroot, namespace: bats-a}
		spec:
		  terminationGracePeriodSeconds: 1
		  securityContext: {runAsNonRoot: true, runAsUser: 1000, fsGroup: 1000}
		  containers:
		  - name: main
		    image: $IMAGE
		    imagePullPolicy: IfNotPresent
		    command: [sleep, infinity]
		    securityContext: {readOnlyRootFilesystem: true, allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
		    volumeMounts:
		    - {name: v, mountPath: /mnt/0, readOnly: true}
		    - {name: v, mountPath: /etc/private, subPath: private, readOnly: true}
		  volumes: [{name: v, csi: {driver: secrets-store.csi.k8s.io, readOnly: true, volumeAttributes: {secretProviderClass: private}}}]
	END
	ready bats-a nonroot
	shows bats-a nonroot /mnt/0/private c4n4ry-for-the-group
	shows bats-a nonroot /etc/private c4n4ry-for-the-group
}

@test "the credential of nodePublishSecretRef reaches the provider, and nobody else" {
	kubectl -n bats-a create secret generic credential --from-literal=clientid=c4n4ry-credential
	fake GET 'require-secret?key=clientid'
	pod bats-a bare good
	eventually 60 failed_with bats-a bare 'nodePublishSecretRef has no key "clientid"'
	kubectl apply -f - <<-END
		apiVersion: v1
		kind: Pod
		metadata: {name: credentialed, namespace: bats-a}
		spec:
		  terminationGracePeriodSeconds: 1
		  containers:
		  - {name: main, image: $IMAGE, imagePullPolicy: IfNotPresent, command: [sleep, infinity],
		     volumeMounts: [{name: v, mountPath: /mnt/0, readOnly: true}]}
		  volumes: [{name: v, csi: {driver: secrets-store.csi.k8s.io, readOnly: true, nodePublishSecretRef: {name: credential},
		     volumeAttributes: {secretProviderClass: good}}}]
	END
	ready bats-a credentialed
	fake GET 'require-secret?key='
	keep_logs
	! grep -n c4n4ry-credential "$LOGS"
}

@test "fifty pods at once" {
	for n in $(seq 50); do node='' pod bats-b "many-$n" shared & done
	wait
	all() { [ "$(kubectl -n bats-b get pods -o json | jq '[.items[] | select(.metadata.name | startswith("many-")) | select(any(.status.conditions[]?; .type == "Ready" and .status == "True"))] | length')" = 50 ]; }
	eventually 180 all
	for n in 1 25 50; do shows bats-b "many-$n" /mnt/0/foo secret; done
	statuses() { [ "$(kubectl -n bats-b get spcps -o name | grep -c many-)" = 50 ]; }
	eventually 60 statuses
	kubectl -n bats-b delete pod $(seq -f 'many-%g' 50) --wait=false >/dev/null
}

@test "a provider that is installed after the pod" {
	keep_logs
	kubectl -n kube-system get daemonset e2e-provider -o json | jq '{apiVersion, kind, metadata: {name: .metadata.name, namespace: .metadata.namespace, labels: .metadata.labels}, spec}' >"$BATS_TEST_TMPDIR/provider.json"
	kubectl -n kube-system delete daemonset e2e-provider --timeout=60s
	none() { [ -z "$(kubectl -n kube-system get pods -l app=e2e-provider -o name)" ]; }
	eventually 60 none
	pod bats-a early good
	eventually 60 failed_with bats-a early 'error connecting to provider "e2e-provider"'
	kubectl apply -f "$BATS_TEST_TMPDIR/provider.json"
	kubectl -n kube-system rollout status daemonset e2e-provider --timeout=90s
	ready bats-a early
	shows bats-a early /mnt/0/foo secret
}

@test "the API server is away for a while, and nothing is restarted" {
	[ -n "$STRONGROOM_RUN" ] && [ "$KUBECONFIG" = "$STRONGROOM_RUN/kubeconfig" ] || skip 'needs the cluster of the test ground'
	before=$(restarts csi-secrets-store)
	started() { kubectl get --raw /metrics | grep ^process_start_time_seconds; }
	first=$(started)
	kill_on_node_path kube-apiserver || true # it takes the answer with it
	another() { [ "$(started)" != "$first" ]; }
	eventually 60 another
	eventually 60 kubectl get --raw /readyz
	eventually 60 kubectl -n bats-a get pods
	shows bats-a early /mnt/0/foo secret
	[ "$(restarts csi-secrets-store)" = "$before" ]
	eventually 90 driver_ready
	pod bats-a after-outage good
	ready bats-a after-outage
	# The watch of classes goes on: a change of the class reaches what is mounted.
	objects foo | class bats-a good e2e-provider
	followed() { [ "$(inside bats-a after-outage ls /mnt/0)" = foo ]; }
	eventually 150 followed
}
