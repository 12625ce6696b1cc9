#!/usr/bin/env bats
# A container never starts on less than the whole volume: the driver is killed at a
# random instant while pods start, and each reads its files first thing.

load helpers

ROUNDS=${ATTACK_ROUNDS:-4}
PODS=10 # of a round

setup_file() {
	fresh bats-attack
	objects foo fookey | class bats-attack good e2e-provider
}

teardown_file() { drop bats-attack; }

# readers ROUND: pods that succeed if their first read finds all.
readers() {
	local n
	for n in $(seq $PODS); do
		cat <<-END
			---
			apiVersion: v1
			kind: Pod
			metadata: {name: reader-$1-$n, namespace: bats-attack, labels: {round: "$1"}}
			spec:
			  nodeName: $NODE_1
			  restartPolicy: Never
			  terminationGracePeriodSeconds: 1
			  containers:
			  - name: main
			    image: $IMAGE
			    imagePullPolicy: IfNotPresent
			    command: [sh, -c, '[ "\$(cat /mnt/foo)" = secret ] && grep -q "This is mock key" /mnt/fookey || { ls -la /mnt/; exit 1; }']
			    volumeMounts: [{name: v, mountPath: /mnt, readOnly: true}]
			  volumes: [{name: v, csi: {driver: secrets-store.csi.k8s.io, readOnly: true, volumeAttributes: {secretProviderClass: good}}}]
		END
	done | kubectl apply -f - >/dev/null
}

# ended ROUND: all have run.
ended() {
	local phases
	phases=$(kubectl -n bats-attack get pods -l "round=$1" -o jsonpath='{.items[*].status.phase}') || return
	[ "$(tr ' ' '\n' <<<"$phases" | grep -cE '^(Succeeded|Failed)$')" = $PODS ] || { echo "$phases"; return 1; }
}

@test "a container's first read finds every file, whenever the driver is killed" {
	for round in $(seq "$ROUNDS"); do
		# A container that died before is started again later and later: a fresh pod is not.
		keep_logs
		kubectl -n kube-system delete pod -l app=secrets-store-csi-driver --timeout=60s >/dev/null
		eventually 90 driver_ready >/dev/null
		eventually 90 kubectl get csinodes -o jsonpath='{.items[?(@.spec.drivers[*].name=="secrets-store.csi.k8s.io")].metadata.name}' >/dev/null
		before=$(restarts csi-secrets-store)
		readers "$round"
		sleep "$((RANDOM % 2)).$((RANDOM % 10))" # the instant is the point
		kill_on_node /secrets-store-csi
		echo "round $round: killed while $(kubectl -n bats-attack get pods -l "round=$round" --no-headers | awk '{print $3}' | sort | uniq -c | tr -s ' \n' ' ')" >&3
		eventually 180 ended "$round" >/dev/null
		[ "$(restarts csi-secrets-store)" -gt "$before" ]
		failed=$(kubectl -n bats-attack get pods -l "round=$round" --field-selector status.phase=Failed -o name)
		[ -z "$failed" ] || { echo "started on less: $failed"; kubectl -n bats-attack logs "${failed%%$'\n'*}"; return 1; }
		[ "$(kubectl -n bats-attack get pods -l "round=$round" --field-selector status.phase=Succeeded -o name | wc -l)" = $PODS ]
	done
}

@test "nothing of the pods that were attacked is left on the node" {
	uids=$(kubectl -n bats-attack get pods -o jsonpath='{.items[*].metadata.uid}')
	kubectl -n bats-attack delete pods --all --timeout=120s >/dev/null
	gone() {
		local uid
		for uid in $uids; do
			nothing_on_node "$uid" && ! on_node test -e "/var/lib/kubelet/pods/$uid" || return
		done
	}
	eventually 120 gone
}
