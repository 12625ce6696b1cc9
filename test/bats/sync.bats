#!/usr/bin/env bats
# What the driver promises about Kubernetes Secrets that it fills from files, on two
# nodes. The only owner of such a Secret is the SyncedSecret of the same name, and that
# is owned by what uses it.
#
# In setup_file everything is made at once that takes time to start. Names of Secrets
# are those of their classes, unless a test is about something else.

load helpers

VALUE=c4n4ry-sync # begins every value
MANAGED=secrets-store.csi.k8s.io/managed
ADOPT=secrets-store.csi.x-k8s.io/adopt
SYNC=secrets-store.csi.x-k8s.io/sync

setup_file() {
	local ns
	for ns in bats-s bats-s2 bats-unlabelled; do fresh $ns & done
	wait
	kubectl label namespace bats-s bats-s2 $SYNC=enabled
	for name in one two three; do fake PUT "object?name=$name&version=v1" "$VALUE-$name"; done
	fake PUT 'object?name=deep/er&version=v1' "$VALUE-deeper"
	fake_on "$NODE_1" PUT 'object?name=split&version=a1' "$VALUE-a1"
	fake_on "$NODE_2" PUT 'object?name=split&version=b1' "$VALUE-b1"
	fake PUT 'object?name=large&version=v1' "$VALUE$(head -c $((1100000 - ${#VALUE})) /dev/zero | tr '\0' x)"
	bundle >"$BATS_FILE_TMPDIR/bundle"
	fake PUT 'object?name=bundle&version=v1' "$(cat "$BATS_FILE_TMPDIR/bundle")"
	secrets | kubectl apply -f - >/dev/null
	classes | kubectl apply -f - >/dev/null
	workloads | kubectl apply -f - >/dev/null
	left_by_upstream
	pods | kubectl apply -f - >/dev/null
	for ns in bats-s bats-s2 bats-unlabelled; do kubectl -n $ns wait --for=condition=Ready pods -l '!job-name' --timeout=150s >/dev/null; done
	# Nothing but the repeat mends this one: no pod of its class comes any more.
	kubectl -n bats-s patch secret repeated -p "$(jq -nc '{data: {key: ("edited" | @base64)}}')"
	date +%s >"$BATS_FILE_TMPDIR/edited"
	holds bats-s repeated '{"key": "edited"}'
}

teardown_file() {
	fake GET 'rotation?rotated=false' # and no object but those at the start
	drop bats-s bats-s2 bats-unlabelled
}

# bundle: a PEM file as stores give it: the issuer first, then the key, then the leaf.
bundle() {
	local dir=$BATS_FILE_TMPDIR
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=issuer -days 30 -keyout "$dir/ca.key" -out "$dir/ca.crt" 2>/dev/null
	openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=leaf -keyout "$dir/leaf.key" -out "$dir/leaf.csr" 2>/dev/null
	openssl x509 -req -in "$dir/leaf.csr" -CA "$dir/ca.crt" -CAkey "$dir/ca.key" -days 20 -out "$dir/leaf.crt" 2>/dev/null
	cat "$dir/ca.crt" "$dir/leaf.key" "$dir/leaf.crt"
}

# sync NAMESPACE CLASS [OBJECT]: a class that fills the Secret of its name.
sync() { objects "${3:-one}" | also=$(fills "$2" "${3:-one}=key") class_yaml "$1" "$2" e2e-provider; }

classes() {
	for n in shared repeated deleted rolled scaled set job left adopted first foreign; do sync bats-s $n; done
	objects one two | also=$(metadata='labels: {team: blue}, annotations: {note: hello}' fills both one=username two=other) class_yaml bats-s both e2e-provider
	sync bats-s left-alone two
	sync bats-s second two | sed 's/secretName: second/secretName: first/'
	sync bats-s split split | sed 's/^  provider:/  rotation: {interval: 5s}\n&/'
	objects one two | also=$(every 5s; fills dropped one=stays two=goes) class_yaml bats-s dropped e2e-provider
	objects one deep/er two | also=$(fills star '*=' two=chosen) class_yaml bats-s star e2e-provider
	objects bundle | also=$(type=kubernetes.io/tls fills tls bundle=tls.crt bundle=tls.key) class_yaml bats-s tls e2e-provider
	objects large | also=$(fills large large=key) class_yaml bats-s large e2e-provider
	objects one | also=$(type=kubernetes.io/service-account-token fills token one=token) class_yaml bats-s token e2e-provider
	objects one | also=$(type=bootstrap.kubernetes.io/token fills bootstrap one=token-id) class_yaml bats-s bootstrap e2e-provider
	sync bats-s2 both
	echo 'objects: ""' | also=$(fills named one=key) class_yaml bats-s named no-such-provider
	sync bats-s2 named
	sync bats-unlabelled unlabelled
}

# secrets: those that somebody else made.
secrets() {
	local name
	for name in foreign adopted; do
		printf -- '---\n{apiVersion: v1, kind: Secret, metadata: {name: %s, namespace: bats-s}, stringData: {mine: theirs}}\n' $name
	done
}

# container SECRET KEY: what reads both the file and the variable; it never starts before
# the Secret exists, and is told so by kubelet if that is not at once.
reads() { echo "env: [{name: FROM_SECRET, valueFrom: {secretKeyRef: {name: $1, key: $2}}}]"; }

# template CLASS [SECRET KEY]: the pods of a workload, at most one more on one node than
# on the other.
template() {
	more=$(reads "${2:-$1}" "${3:-key}") pod_yaml x x "$1" | sed -n '/^spec:/,$p' | sed 's/^/    /'
	cat <<-END
		      topologySpreadConstraints:
		      - {maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {app: $name}}}
	END
}

# workload KIND NAMESPACE NAME REPLICAS CLASS [SECRET KEY]
workload() {
	local name=$3
	cat <<-END
		---
		apiVersion: apps/v1
		kind: $1
		metadata: {name: $name, namespace: $2}
		spec:
		  replicas: $4
		  selector: {matchLabels: {app: $name}}
		  template:
		    metadata: {labels: {app: $name}}
		$(template "${@:5}")
	END
}

# job NAME CLASS: one that ends.
job() {
	local name=$1
	cat <<-END
		---
		apiVersion: batch/v1
		kind: Job
		metadata: {name: $name, namespace: bats-s}
		spec:
		  backoffLimit: 0
		  template:
		    metadata: {labels: {app: $name}}
		$(template "$2" | sed 's/command: .*/command: [sh, -c, "[ \\"$FROM_SECRET\\" = '"$VALUE-one"' ]"]/')
		      restartPolicy: Never
	END
}

workloads() {
	workload Deployment bats-s both-1 2 both both username
	workload Deployment bats-s both-2 2 both both username
	workload Deployment bats-s2 named 2 named
	workload Deployment bats-s shared-1 1 shared
	workload Deployment bats-s shared-2 1 shared
	workload Deployment bats-s rolled 1 rolled
	workload Deployment bats-s scaled 4 scaled
	workload StatefulSet bats-s set 1 set
	workload Deployment bats-s split 2 split
	workload Deployment bats-s left 0 left
	job job job
}

pods() {
	local n
	more=$(reads deleted key) node=$NODE_1 pod_yaml bats-s deleted deleted
	node=$NODE_1 pod_yaml bats-s repeated-1 repeated
	node=$NODE_2
	pod_yaml bats-s repeated-2 repeated
	more='env: [{name: ONE, valueFrom: {secretKeyRef: {name: shared, key: key}}}, {name: TWO, valueFrom: {secretKeyRef: {name: left-alone, key: key}}}]' \
		pod_yaml bats-s several shared left-alone
	for n in dropped star tls; do pod_yaml bats-s $n $n; done
	more=$(reads first key) pod_yaml bats-s first first
	for n in large token bootstrap foreign adopted; do pod_yaml bats-s $n $n; done
	for n in 1 2; do pod_yaml bats-unlabelled "unlabelled-$n" unlabelled; done
}

# left_by_upstream: a Secret as the upstream driver makes it, with a ReplicaSet as owner
# and without a SyncedSecret.
left_by_upstream() {
	local owner
	there() { kubectl -n bats-s get replicasets -l app=left -o json | jq -ce '.items[0] // empty | {apiVersion: "apps/v1", kind: "ReplicaSet", name: .metadata.name, uid: .metadata.uid}'; }
	owner=$(eventually 20 there) || return
	jq -nc --argjson owner "$owner" --arg managed $MANAGED '{apiVersion: "v1", kind: "Secret", type: "Opaque", stringData: {key: "stale"},
		metadata: {name: "left", namespace: "bats-s", labels: {($managed): "true"}, ownerReferences: [$owner]}}' | kubectl create -f - >/dev/null
	kubectl -n bats-s scale deployment left --replicas=1
}

# holds NAMESPACE SECRET JSON: its data, decoded, is that.
holds() {
	local got
	got=$(kubectl -n "$1" get secret "$2" -o json | jq -cS '.data | map_values(@base64d)') || return
	[ "$got" = "$(jq -cS . <<<"$3")" ] || { echo "$2 holds $got, want $3"; return 1; }
}

secret_uid() { kubectl -n "$1" get secret "$2" -o jsonpath='{.metadata.uid}'; }

# owners NAMESPACE NAME KIND COUNT: what owns the SyncedSecret, and that this alone owns
# the Secret.
owners() {
	local got
	got=$(kubectl -n "$1" get syncedsecret "$2" -o json | jq -c '[.metadata.ownerReferences[].kind]') || return
	[ "$got" = "$(jq -nc --arg kind "$3" --argjson n "$4" '[range($n) | $kind]')" ] || { echo "owners are $got"; return 1; }
	got=$(kubectl -n "$1" get secret "$2" -o json | jq -c '[.metadata.ownerReferences[] | [.kind, .name, .uid]]') || return
	[ "$got" = "[[\"SyncedSecret\",\"$2\",\"$(kubectl -n "$1" get syncedsecret "$2" -o jsonpath='{.metadata.uid}')\"]]" ] || { echo "the secret is owned by $got"; return 1; }
}

# variable NAMESPACE SELECTOR WANT: what the containers of the pods read at their start.
variable() {
	local pod got pods
	pods=$(kubectl -n "$1" get pods -l "$2" -o json | jq -r '.items[] | select(.metadata.deletionTimestamp == null) | .metadata.name')
	[ -n "$pods" ] || { echo "no pods $2"; return 1; }
	for pod in $pods; do
		got=$(inside "$1" "$pod" sh -c 'echo "$FROM_SECRET"') || return
		[ "$got" = "$3" ] || { echo "$pod has '$got', want '$3'"; return 1; }
	done
}

gone() { absent -n "$1" secret "$2" && absent -n "$1" syncedsecret "$2"; }

# synced NAMESPACE POD CLASS WANT
synced() { condition "$1" "$2-$1-$3" Synced "$4"; }

rolled_out() { kubectl -n "$1" rollout status "$2" --timeout=90s; }

@test "two Deployments on two nodes: files, a Secret with labels and annotations, variables" {
	[ "$(kubectl -n bats-s get pods -l 'app in (both-1, both-2)' -o jsonpath='{.items[*].spec.nodeName}' | tr ' ' '\n' | sort | uniq -c | awk '{print $1 $2}' | tr '\n' ' ')" = "2$NODE_1 2$NODE_2 " ]
	for pod in $(kubectl -n bats-s get pods -l 'app in (both-1, both-2)' -o jsonpath='{.items[*].metadata.name}'); do
		shows bats-s "$pod" /mnt/0/one $VALUE-one
		shows bats-s "$pod" /mnt/0/two $VALUE-two
	done
	variable bats-s 'app in (both-1, both-2)' $VALUE-one
	holds bats-s both "{\"username\": \"$VALUE-one\", \"other\": \"$VALUE-two\"}"
	kubectl -n bats-s get secret both -o json | jq -e --arg managed $MANAGED '.metadata.labels == {team: "blue", ($managed): "true"}
		and .metadata.annotations.note == "hello" and .type == "Opaque"'
	owners bats-s both ReplicaSet 2
}

@test "no container waited for its Secret" {
	[ "$(kubectl get events -A --field-selector reason=Started -o json | jq '[.items[] | select(.metadata.namespace | startswith("bats-s"))] | length')" -ge 15 ] # it looks at the right things
	kubectl get events -A -o json | jq -e '[.items[] | select((.metadata.namespace | startswith("bats-s")) and .reason == "Failed") | .message] | . == [] or error(tostring)'
	kubectl get pods -A -o json | jq -e '[.items[] | select(.metadata.namespace | startswith("bats-s")) | .status.containerStatuses[].restartCount] | add == 0'
}

@test "a Secret stays while one Deployment uses it, and goes with the last" {
	before=$(secret_uid bats-s both)
	kubectl -n bats-s delete deployment both-1 --timeout=60s
	eventually 60 owners bats-s both ReplicaSet 1
	[ "$(secret_uid bats-s both)" = "$before" ]
	kubectl -n bats-s delete deployment both-2 --timeout=60s
	eventually 60 gone bats-s both
}

@test "a class belongs to its namespace, and so does its Secret" {
	variable bats-s2 app=named $VALUE-one
	holds bats-s2 named "{\"key\": \"$VALUE-one\"}"
	owners bats-s2 named ReplicaSet 1
	gone bats-s named
	kubectl -n bats-s2 delete deployment named --timeout=60s
	eventually 60 gone bats-s2 named
}

@test "two classes in one pod: both files, both Secrets, both variables, the pod as owner" {
	shows bats-s several /mnt/0/one $VALUE-one
	shows bats-s several /mnt/1/two $VALUE-two
	holds bats-s left-alone "{\"key\": \"$VALUE-two\"}"
	[ "$(inside bats-s several sh -c 'echo "$ONE $TWO"')" = "$VALUE-one $VALUE-two" ]
	owners bats-s left-alone Pod 1
	holds bats-s shared "{\"key\": \"$VALUE-one\"}"
	[ "$(kubectl -n bats-s get syncedsecret shared -o json | jq -c '[.metadata.ownerReferences[].kind] | sort')" = '["Pod","ReplicaSet","ReplicaSet"]' ]
	kubectl -n bats-s delete pod several --timeout=60s
	eventually 60 gone bats-s left-alone
	eventually 60 owners bats-s shared ReplicaSet 2
}

@test "every file becomes a key, with dots, and those that are listed keep their names" {
	holds bats-s star "{\"one\": \"$VALUE-one\", \"deep.er\": \"$VALUE-deeper\", \"two\": \"$VALUE-two\", \"chosen\": \"$VALUE-two\"}"
}

@test "a PEM bundle becomes a Secret for TLS, the leaf first" {
	kubectl -n bats-s get secret tls -o json >"$BATS_TEST_TMPDIR/secret"
	[ "$(jq -r .type "$BATS_TEST_TMPDIR/secret")" = kubernetes.io/tls ]
	jq -r '.data["tls.crt"] | @base64d' "$BATS_TEST_TMPDIR/secret" >"$BATS_TEST_TMPDIR/crt"
	jq -r '.data["tls.key"] | @base64d' "$BATS_TEST_TMPDIR/secret" >"$BATS_TEST_TMPDIR/key"
	[ "$(openssl x509 -in "$BATS_TEST_TMPDIR/crt" -noout -subject)" = "$(openssl x509 -in "$BATS_FILE_TMPDIR/leaf.crt" -noout -subject)" ]
	[ "$(openssl pkey -in "$BATS_TEST_TMPDIR/key" -pubout)" = "$(openssl x509 -in "$BATS_TEST_TMPDIR/crt" -noout -pubkey)" ]
	openssl verify -CAfile "$BATS_FILE_TMPDIR/ca.crt" "$BATS_TEST_TMPDIR/crt"
}

@test "a Secret that somebody else made is left alone, and an event says how to hand it over" {
	holds bats-s foreign '{"mine": "theirs"}'
	eventually 20 told bats-s foreign SecretNotManaged 'secret bats-s/foreign exists and is not the driver' 'choose another secretName' \
		"kubectl annotate secret -n bats-s foreign $ADOPT=foreign"
	eventually 20 synced bats-s foreign foreign 'False SecretNotManaged'
	shows bats-s foreign /mnt/0/one $VALUE-one
	holds bats-s foreign '{"mine": "theirs"}'
	[ "$(kubectl -n bats-s get secret foreign -o jsonpath='{.metadata.ownerReferences}{.metadata.labels}')" = '' ]
}

@test "a Secret is handed over by the command that the event says" {
	eventually 20 told bats-s adopted SecretNotManaged 'kubectl annotate secret'
	before=$(secret_uid bats-s adopted)
	read -ra command < <(kubectl -n bats-s get events --field-selector involvedObject.name=adopted,reason=SecretNotManaged -o jsonpath='{.items[0].message}' | grep -o 'kubectl annotate secret .*')
	"${command[@]}"
	node=$NODE_2 pod bats-s adopter adopted
	ready bats-s adopter
	eventually 30 holds bats-s adopted "{\"key\": \"$VALUE-one\"}"
	owners bats-s adopted Pod 2
	[ "$(secret_uid bats-s adopted)" = "$before" ]
}

@test "a Secret that the upstream driver left is taken over" {
	rolled_out bats-s deployment/left
	variable bats-s app=left $VALUE-one
	holds bats-s left "{\"key\": \"$VALUE-one\"}"
	owners bats-s left ReplicaSet 1
}

@test "a second class cannot claim a Secret, and is told which one has it" {
	node=$NODE_1 pod bats-s second second
	ready bats-s second
	eventually 20 told bats-s second Conflict 'secret bats-s/first is filled by class first' 'give it another secretName'
	eventually 20 synced bats-s second second 'False Conflict'
	synced bats-s first first True
	shows bats-s second /mnt/0/two $VALUE-two
	holds bats-s first "{\"key\": \"$VALUE-one\"}"
	owners bats-s first Pod 1
}

@test "tokens that give access to the cluster are never filled" {
	for name in token bootstrap; do
		eventually 20 told bats-s $name FailedToCreateSecret "secret $name has type" 'gives access to the cluster'
		synced bats-s $name $name 'False FailedToCreateSecret'
		shows bats-s $name /mnt/0/one $VALUE-one
		gone bats-s $name
	done
}

@test "what is too large for a Secret is mounted, and an event says so" {
	eventually 20 told bats-s large FailedToCreateSecret 'it would have 1100000 bytes, and a secret can have 1048576'
	synced bats-s large large 'False FailedToCreateSecret'
	[ "$(inside bats-s large sh -c 'wc -c </mnt/0/large')" = 1100000 ]
	gone bats-s large
}

@test "where a namespace does not allow it, volumes are mounted, and one event says how to" {
	for n in 1 2; do shows bats-unlabelled "unlabelled-$n" /mnt/0/one $VALUE-one; done
	refusals() { kubectl -n bats-unlabelled get events -o json | jq -c '[.items[] | select(.reason == "SyncNotAllowed") | .message]'; }
	once() { [ "$(refusals | jq length)" = 1 ] || { refusals; return 1; }; }
	eventually 20 once
	refusals | grep -F "kubectl label namespace bats-unlabelled $SYNC=enabled"
	for n in 1 2; do eventually 20 synced bats-unlabelled "unlabelled-$n" unlabelled 'False SyncNotAllowed'; done
	[ "$(kubectl -n bats-unlabelled get secrets,syncedsecrets -o name)" = '' ]
	once
}

@test "nodes whose stores differ do not take turns, and what was fetched later wins" {
	[ "$NODE_1" != "$NODE_2" ] || skip 'needs two nodes'
	[ "$(kubectl -n bats-s get pods -l app=split -o jsonpath='{.items[*].spec.nodeName}' | tr ' ' '\n' | sort -u | wc -l)" = 2 ]
	version() { kubectl -n bats-s get secret split -o jsonpath='{.metadata.resourceVersion}'; }
	# intervals COUNT: until every volume of the class was refreshed that often from now on.
	intervals() {
		local from
		from=$(now)
		refreshed() { calls 'bats-s/split-.*' | jq -e --argjson from "$from" --argjson n "$1" 'map(select(.time > $from)) | group_by(.volume) | length == 2 and all(.[]; length >= $n)'; }
		eventually $((8 * $1)) refreshed "$1"
	}
	before=$(version)
	intervals 3
	[ "$(version)" = "$before" ]
	for round in 2 3; do
		fake_on "$NODE_1" PUT "object?name=split&version=a$round" "$VALUE-a$round"
		eventually 30 holds bats-s split "{\"key\": \"$VALUE-a$round\"}"
		fake_on "$NODE_2" PUT "object?name=split&version=b$round" "$VALUE-b$round"
		eventually 30 holds bats-s split "{\"key\": \"$VALUE-b$round\"}"
	done
	before=$(version)
	intervals 2
	[ "$(version)" = "$before" ]
	holds bats-s split "{\"key\": \"$VALUE-b3\"}"
}

@test "a key that is dropped from the class disappears" {
	holds bats-s dropped "{\"stays\": \"$VALUE-one\", \"goes\": \"$VALUE-two\"}"
	objects one two | also=$(every 5s; fills dropped one=stays) class bats-s dropped e2e-provider
	eventually 30 holds bats-s dropped "{\"stays\": \"$VALUE-one\"}"
}

@test "a Secret survives a driver that is restarted, a rollover, and a scale to one and back" {
	rolled=$(secret_uid bats-s rolled)
	scaled=$(secret_uid bats-s scaled)
	kubectl -n bats-s scale deployment scaled --replicas=1
	kubectl -n bats-s rollout restart deployment rolled
	roll csi-secrets-store
	date +%s >"$BATS_FILE_TMPDIR/restarted"
	kubectl -n bats-s scale deployment scaled --replicas=4
	for name in rolled scaled; do
		rolled_out bats-s deployment/$name
		variable bats-s app=$name $VALUE-one
		holds bats-s $name "{\"key\": \"$VALUE-one\"}"
	done
	[ "$(secret_uid bats-s rolled)" = "$rolled" ]
	[ "$(secret_uid bats-s scaled)" = "$scaled" ]
	eventually 20 owners bats-s rolled ReplicaSet 2
	owners bats-s scaled ReplicaSet 1
}

@test "a StatefulSet and a Job that are made again under their names have their Secret" {
	# of NAME: what owns its SyncedSecret is what there is now, and no more.
	owned_by() { [ "$(kubectl -n bats-s get syncedsecret "$1" -o jsonpath='{.metadata.ownerReferences[*].uid}')" = "$(kubectl -n bats-s get "$2" "$1" -o jsonpath='{.metadata.uid}')" ]; }
	kubectl -n bats-s wait --for=condition=Complete job/job --timeout=60s
	owned_by set statefulset
	owned_by job job
	workload StatefulSet bats-s set 1 set | kubectl replace --force --timeout=60s -f -
	job job job | kubectl replace --force --timeout=60s -f -
	rolled_out bats-s statefulset/set
	kubectl -n bats-s wait --for=condition=Complete job/job --timeout=60s
	# Garbage collection takes away the owners that were, and then nothing more.
	eventually 60 owned_by set statefulset
	eventually 60 owned_by job job
	for name in set job; do holds bats-s $name "{\"key\": \"$VALUE-one\"}"; done
	variable bats-s app=set $VALUE-one
	owners bats-s set StatefulSet 1
	owners bats-s job Job 1
}

@test "a new pod mends a Secret that was edited, or deleted" {
	kubectl -n bats-s patch secret shared -p "$(jq -nc '{data: {key: ("edited" | @base64), more: ("x" | @base64)}, metadata: {labels: {team: "red"}}}')"
	kubectl -n bats-s delete secret deleted
	for name in shared deleted; do more=$(reads $name key) node=$NODE_1 pod bats-s "mends-$name" $name; done
	for name in shared deleted; do
		ready bats-s "mends-$name"
		holds bats-s $name "{\"key\": \"$VALUE-one\"}"
		[ "$(inside bats-s "mends-$name" sh -c 'echo "$FROM_SECRET"')" = $VALUE-one ]
	done
	kubectl -n bats-s get secret shared -o json | jq -e --arg managed $MANAGED '.metadata.labels == {($managed): "true"}'
	owners bats-s deleted Pod 2
}

@test "a Secret that was edited is mended within five minutes, without any new pod" {
	# A driver that starts takes up the repeats where chance puts them, so it counts from
	# there.
	since=$(cat "$BATS_FILE_TMPDIR/restarted" "$BATS_FILE_TMPDIR/edited" | sort -n | tail -n 1)
	eventually $((since + 310 - $(date +%s))) holds bats-s repeated "{\"key\": \"$VALUE-one\"}"
	echo "mended at most $(($(date +%s) - since)) s after the edit, or the start of a driver" >&3
}

@test "no value is in any log, event or status" {
	keep_logs
	kubectl get spcps,spc,syncedsecrets -A -o yaml >>"$LOGS"
	grep -q 'gives access to the cluster' "$LOGS" # it does look at the right things
	! grep -nF -e $VALUE -e 'BEGIN PRIVATE KEY' -e 'BEGIN EC PRIVATE KEY' "$LOGS"
}
