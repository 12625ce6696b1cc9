# For every suite. Tests poll and never sleep for a fixed time.

IMAGE=${IMAGE:-docker.io/library/busybox:stable}

# eventually SECONDS COMMAND...: until it succeeds; says what it printed if it never does.
eventually() {
	local deadline=$((SECONDS + $1)) out
	shift
	until out=$("$@" 2>&1); do
		if [ $SECONDS -ge $deadline ]; then
			printf 'never succeeded: %s\n%s\n' "$*" "$out"
			return 1
		fi
		sleep 0.2
	done
	printf '%s' "$out"
}

# fresh NAMESPACE: an empty one.
fresh() {
	kubectl delete namespace "$1" --ignore-not-found --timeout=120s >/dev/null
	kubectl create namespace "$1" >/dev/null
}

# drop NAMESPACE...: they go in the background.
drop() { kubectl delete namespace "$@" --ignore-not-found --wait=false >/dev/null; }

# class_yaml NAMESPACE NAME PROVIDER: a class; parameters as YAML from standard input.
# The shell's variable also holds more of its spec, as YAML, if it is set.
class_yaml() {
	local parameters more
	parameters=$(sed 's/^/    /')
	more=$(sed 's/^/  /' <<<"${also:-}")
	cat <<-END
		---
		apiVersion: secrets-store.csi.x-k8s.io/v1
		kind: SecretProviderClass
		metadata: {name: $2, namespace: $1}
		spec:
		  provider: $3
		  parameters:
		$parameters
		$more
	END
}

class() { class_yaml "$@" | kubectl apply -f - >/dev/null; }

# every INTERVAL: how volumes of a class are refreshed, for also.
every() { echo "rotation: {interval: $1}"; }

# fills SECRET FILE=KEY...: a Secret that a class fills, for also. The shell's variables
# type and metadata are used, if they are set.
fills() {
	local pair data=''
	for pair in "${@:2}"; do data+="{objectName: '${pair%%=*}', key: '${pair#*=}'},"; done
	printf 'secretObjects:\n- {secretName: %s, type: %s, data: [%s]%s}\n' "$1" "${type:-Opaque}" "$data" "${metadata:+, $metadata}"
}

# vault_class NAMESPACE NAME [LINE...]: a class of the Vault provider. Its parameters are
# the lines, and as objects YAML from standard input.
vault_class() {
	local namespace=$1 name=$2
	shift 2
	{
		printf '%s\n' "$@"
		echo 'objects: |'
		sed 's/^/  /'
	} | class "$namespace" "$name" vault
}

# vault_role NAMESPACE NAME [SETTING...]: a role of Kubernetes auth that gives service
# accounts there the policy of its name.
vault_role() {
	vault write "auth/kubernetes/role/$2" bound_service_account_names="${account:-web}" \
		bound_service_account_namespaces="$1" audience=vault policies="$2" ttl=20m "${@:3}" >/dev/null
}

# Vault's audit log has a line for each request and each answer; values in it are hashed.
# audit_mark: where it ends now.
audit_mark() { stat -c %s "$STRONGROOM_RUN/vault/audit.log"; }

# audited MARK FILTER: how many answers since then a jq filter selects.
audited() {
	tail -c "+$(($1 + 1))" "$STRONGROOM_RUN/vault/audit.log" |
		jq -cR "fromjson? | select(.type == \"response\") | select($2)" | wc -l
}

# objects NAME...: the parameter of the scripted provider.
objects() {
	echo 'objects: |'
	echo '  array:'
	local name
	for name; do printf '  - |\n    objectName: %s\n' "$name"; done
}

# pod_yaml NAMESPACE NAME CLASS...: a pod that mounts each class at /mnt/0, /mnt/1 and so
# on. Of the shell's variables account, group, attributes, node, credential (the Secret of
# nodePublishSecretRef), program and more, which is in the container, are used, if they
# are set.
pod_yaml() {
	local namespace=$1 name=$2 n=0 mounts='' volumes='' class
	shift 2
	for class; do
		mounts+="{name: v$n, mountPath: /mnt/$n, readOnly: true},"
		volumes+="{name: v$n, csi: {driver: secrets-store.csi.k8s.io, readOnly: ${readonly:-true},"
		[ -z "${credential:-}" ] || volumes+=" nodePublishSecretRef: {name: $credential},"
		volumes+=" volumeAttributes: {secretProviderClass: $class${attributes:+, $attributes}}}},"
		n=$((n + 1))
	done
	cat <<-END
		---
		apiVersion: v1
		kind: Pod
		metadata: {name: $name, namespace: $namespace}
		spec:
		  serviceAccountName: ${account:-default}
		  ${node:+nodeName: $node}
		  terminationGracePeriodSeconds: 1
		  securityContext: {${group:+runAsUser: 1000, runAsGroup: 1000, fsGroup: $group}}
		  containers:
		  - name: main
		    image: $IMAGE
		    imagePullPolicy: IfNotPresent
		    command: [${program:-sleep, infinity}]
		    volumeMounts: [$mounts]
		    ${more:-}
		  volumes: [$volumes]
	END
}

pod() { pod_yaml "$@" | kubectl apply -f - >/dev/null; }

ready() { kubectl -n "$1" wait --for=condition=Ready "pod/$2" --timeout=90s; }

# inside NAMESPACE POD COMMAND...
inside() {
	local namespace=$1 pod=$2
	shift 2
	kubectl -n "$namespace" exec "$pod" -- "$@"
}

# shows NAMESPACE POD FILE WANT
shows() {
	local got
	got=$(inside "$1" "$2" cat "$3") || return
	[ "$got" = "$4" ] || { echo "$3 is '$got', want '$4'"; return 1; }
}

# failed_with NAMESPACE POD TEXT...: an event of the pod says FailedMount and each text.
failed_with() {
	local events text
	events=$(kubectl -n "$1" get events --field-selector "involvedObject.name=$2,reason=FailedMount" -o jsonpath='{.items[*].message}') || return
	shift 2
	for text; do
		grep -qF -- "$text" <<<"$events" || { echo "no event says '$text', but: $events"; return 1; }
	done
}

# pods_of DAEMONSET: names of its pods that are not about to go.
pods_of() {
	kubectl -n kube-system get pods -o json |
		jq -r --arg set "$1" '.items[] | select(.metadata.deletionTimestamp == null)
			| select(any(.metadata.ownerReferences[]?; .kind == "DaemonSet" and .name == $set)) | .metadata.name'
}

# page POD PORT PATH: what a pod of kube-system serves.
page() { kubectl get --raw "/api/v1/namespaces/kube-system/pods/$1:$2/proxy/$3"; }

# pod_on NODE DAEMONSET: its pod there.
pod_on() {
	kubectl -n kube-system get pods --field-selector "spec.nodeName=$1" -o json |
		jq -er --arg set "$2" '.items[] | select(.metadata.deletionTimestamp == null)
			| select(any(.metadata.ownerReferences[]?; .kind == "DaemonSet" and .name == $set)) | .metadata.name'
}

# tell POD METHOD PATH [BODY]: tells the scripted provider in a pod what to do.
tell() {
	local control="/api/v1/namespaces/kube-system/pods/$1:8080/proxy/$3"
	case $2 in
	GET) kubectl get --raw "$control" ;;
	PUT) printf '%s' "${4:-}" | kubectl replace --raw "$control" -f - ;;
	DELETE) kubectl delete --raw "$control" ;;
	esac
}

# fake METHOD PATH [BODY]: tells the scripted provider on every node.
fake() {
	local pod
	for pod in $(pods_of e2e-provider); do tell "$pod" "$@" || return; done
}

# fake_on NODE METHOD PATH [BODY]: on that node only.
fake_on() {
	local pod
	pod=$(pod_on "$1" e2e-provider) || return
	tell "$pod" "${@:2}"
}

# calls PODS: the calls of the scripted provider for the pods that a regular expression
# selects by NAMESPACE/NAME, as a JSON list in the order of time, which is in seconds.
calls() {
	local log
	log=$(fake GET log) || return
	jq -cs --arg pods "^($1)\$" 'add | map(select(.pod | test($pods))
		| .time |= (.[0:19] + "Z" | fromdate) + ("0" + .[19:-1] | tonumber)) | sort_by(.time)' <<<"$log"
}

now() { date +%s.%N; }

# metric NODE NAME: what the driver there shows for a name with all its labels.
metric() {
	local pod text
	pod=$(pod_on "$1" csi-secrets-store) || return
	text=$(page "$pod" 8095 metrics) || return
	awk -v name="$2" '$1 == name { print $2; found = 1 } END { exit !found }' <<<"$text"
}

# condition NAMESPACE NAME TYPE WANT: status, reason and text of a condition of a pod
# status, one after the other, contain that.
condition() {
	local got
	got=$(kubectl -n "$1" get spcps "$2" -o json | jq -r --arg type "$3" '.status.conditions[]? | select(.type == $type) | "\(.status) \(.reason) \(.message)"') || return
	[[ $got == *"$4"* ]] || { echo "$3 of $2 is '$got', want '$4'"; return 1; }
}

# told NAMESPACE OBJECT REASON TEXT...: exactly one event about an object gives that
# reason, and says all that.
told() {
	local events text
	events=$(kubectl -n "$1" get events --field-selector "involvedObject.name=$2,reason=$3" -o json | jq -r '.items[].message') || return
	[ "$(grep -c . <<<"$events")" = 1 ] || { echo "not one event, but: $events"; return 1; }
	for text in "${@:4}"; do
		[[ $events == *"$text"* ]] || { echo "not '$text', but: $events"; return 1; }
	done
}

# restarts DAEMONSET: how often its containers were started again.
restarts() {
	kubectl -n kube-system get pods -o json |
		jq --arg set "$1" '[.items[] | select(any(.metadata.ownerReferences[]?; .name == $set)) | .status.containerStatuses[]?.restartCount] | add'
}

# on_node COMMAND...: in a pod that sees the kubelet folder of the first node, and its
# processes. Pods that are to be seen there must run there: see node_names.
on_node() { kubectl -n strongroom-test exec node -- "$@"; }

# absent WHAT...: kubectl get finds nothing by that name; fails if it cannot ask.
absent() {
	local out
	out=$(kubectl get "$@" --ignore-not-found -o name) || return
	[ -z "$out" ] || { echo "there is $out"; return 1; }
}

# nothing_on_node PATTERN: no mount of the node has it; fails if it cannot look.
nothing_on_node() {
	local mounts
	mounts=$(on_node cat /proc/1/mounts) || return
	grep -q tmpfs <<<"$mounts" || { echo 'that is no list of mounts'; return 1; }
	! grep -e "$1" <<<"$mounts"
}

# keep_logs: what driver and provider pods have logged goes where the last test looks,
# before they are replaced.
LOGS=${BATS_RUN_TMPDIR:-/tmp}/logs
keep_logs() {
	local pod
	for pod in $(pods_of csi-secrets-store) $(pods_of vault-csi-provider) $(pods_of csi-secrets-store-provider-azure) $(pods_of e2e-provider); do
		kubectl -n kube-system logs "$pod" --tail=-1 >>"$LOGS"
		kubectl -n kube-system logs "$pod" --tail=-1 --previous >>"$LOGS" 2>/dev/null || true
	done
	kubectl get events -A -o yaml >>"$LOGS"
}

# roll DAEMONSET...: its pods are replaced by new ones.
roll() {
	keep_logs
	kubectl -n kube-system rollout restart daemonset "$@"
	local set
	for set; do kubectl -n kube-system rollout status daemonset "$set" --timeout=120s || return; done
}

# kill_on_node PROGRAM: SIGKILL to every process of that program, which must be there.
kill_on_node() {
	# shellcheck disable=SC2016
	on_node sh -c 'n=0
		for p in /proc/[0-9]*; do
			[ "$(tr "\0" "\n" 2>/dev/null <"$p/cmdline" | head -n 1)" = "$1" ] && kill -9 "${p#/proc/}" && n=$((n + 1))
		done
		[ $n -gt 0 ]' sh "$1"
}

# threads_of PROGRAM: the status files in /proc of all threads of that program.
threads_of() {
	# shellcheck disable=SC2016
	on_node sh -c 'for p in /proc/[0-9]*; do
			[ "$(tr "\0" "\n" 2>/dev/null <"$p/cmdline" | head -n 1)" = "$1" ] && ls "$p"/task/*/status
		done; true' sh "$1"
}

# kill_on_node_path NAME: the same for a program of the test ground, by the name of its file.
kill_on_node_path() {
	# shellcheck disable=SC2016
	on_node sh -c 'n=0
		for p in /proc/[0-9]*; do
			case $(tr "\0" "\n" 2>/dev/null <"$p/cmdline" | head -n 1) in */"$1") kill -9 "${p#/proc/}" && n=$((n + 1)) ;; esac
		done
		[ $n -gt 0 ]' sh "$1"
}

driver_ready() { kubectl -n kube-system rollout status daemonset csi-secrets-store --timeout=1s; }

# node_names: the shell knows the first node and the second. With one node, that is both.
node_names() {
	local names
	names=$(kubectl get nodes -o json | jq -r '[.items[].metadata.name] | sort | .[0:2] | join(" ")') || return
	export NODE_1=${names% *} NODE_2=${names#* }
}

node_pod() {
	fresh strongroom-test # that of an earlier run may be on its way
	kubectl apply -f - >/dev/null <<-END
		apiVersion: v1
		kind: Pod
		metadata: {name: node, namespace: strongroom-test}
		spec:
		  nodeName: $NODE_1
		  hostPID: true
		  terminationGracePeriodSeconds: 1
		  containers:
		  - name: main
		    image: $IMAGE
		    imagePullPolicy: IfNotPresent
		    command: [sleep, infinity]
		    securityContext: {privileged: true}
		    volumeMounts: [{name: pods, mountPath: /var/lib/kubelet/pods, mountPropagation: HostToContainer}]
		  volumes: [{name: pods, hostPath: {path: /var/lib/kubelet/pods}}]
	END
	ready strongroom-test node >/dev/null
}

# uid NAMESPACE POD
uid() { kubectl -n "$1" get pod "$2" -o jsonpath='{.metadata.uid}'; }
