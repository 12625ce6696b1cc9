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

# class NAMESPACE NAME PROVIDER: parameters as YAML from standard input.
class() {
	local parameters
	parameters=$(sed 's/^/    /')
	kubectl apply -f - >/dev/null <<-END
		apiVersion: secrets-store.csi.x-k8s.io/v1
		kind: SecretProviderClass
		metadata: {name: $2, namespace: $1}
		spec:
		  provider: $3
		  parameters:
		$parameters
	END
}

# objects NAME...: the parameter of the scripted provider.
objects() {
	echo 'objects: |'
	echo '  array:'
	local name
	for name; do printf '  - |\n    objectName: %s\n' "$name"; done
}

# pod NAMESPACE NAME CLASS...: mounts each class at /mnt/0, /mnt/1 and so on. Of the
# shell's variables account, group and attributes are used, if they are set.
pod() {
	local namespace=$1 name=$2 n=0 mounts='' volumes='' class
	shift 2
	for class; do
		mounts+="{name: v$n, mountPath: /mnt/$n, readOnly: true},"
		volumes+="{name: v$n, csi: {driver: secrets-store.csi.k8s.io, readOnly: ${readonly:-true},"
		volumes+=" volumeAttributes: {secretProviderClass: $class${attributes:+, $attributes}}}},"
		n=$((n + 1))
	done
	kubectl apply -f - >/dev/null <<-END
		apiVersion: v1
		kind: Pod
		metadata: {name: $name, namespace: $namespace}
		spec:
		  serviceAccountName: ${account:-default}
		  terminationGracePeriodSeconds: 1
		  securityContext: {${group:+runAsUser: 1000, runAsGroup: 1000, fsGroup: $group}}
		  containers:
		  - name: main
		    image: $IMAGE
		    imagePullPolicy: IfNotPresent
		    command: [sleep, infinity]
		    volumeMounts: [$mounts]
		  volumes: [$volumes]
	END
}

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

# fake METHOD PATH: tells the scripted provider on every node what to do.
fake() {
	local pod
	for pod in $(pods_of e2e-provider); do
		case $1 in
		GET) page "$pod" 8080 "$2" ;;
		PUT) printf '%s' "$3" | kubectl replace --raw "/api/v1/namespaces/kube-system/pods/$pod:8080/proxy/$2" -f - ;;
		DELETE) kubectl delete --raw "/api/v1/namespaces/kube-system/pods/$pod:8080/proxy/$2" ;;
		esac || return
	done
}

# restarts DAEMONSET: how often its containers were started again.
restarts() {
	kubectl -n kube-system get pods -o json |
		jq --arg set "$1" '[.items[] | select(any(.metadata.ownerReferences[]?; .name == $set)) | .status.containerStatuses[]?.restartCount] | add'
}

# on_node COMMAND...: in a pod that sees the node's kubelet folder and its processes.
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
	for pod in $(pods_of csi-secrets-store) $(pods_of vault-csi-provider) $(pods_of e2e-provider); do
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

node_pod() {
	kubectl create namespace strongroom-test --dry-run=client -o yaml | kubectl apply -f - >/dev/null
	kubectl apply -f - >/dev/null <<-END
		apiVersion: v1
		kind: Pod
		metadata: {name: node, namespace: strongroom-test}
		spec:
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
