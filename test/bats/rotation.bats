#!/usr/bin/env bats
# What the driver promises about volumes that are mounted, on two nodes: they are kept
# fresh, by its own clock; what fails leaves them as they are, and shows.
#
# Three namespaces: in bats-steady all is well all the time, in bats-down the store does
# not answer, in bats-r there is everything else. What fails is made to at the start, so
# that it has lasted by the time its tests come.

load helpers

STEADY=10 # pods of bats-steady, with 5 volumes each
VALUE=c4n4ry-rotation # begins every value

setup_file() {
	local ns
	for ns in bats-r bats-steady bats-down; do fresh $ns & done
	wait
	kubectl label namespace bats-r bats-steady secrets-store.csi.x-k8s.io/sync=enabled
	fake DELETE fail
	for name in first second third private; do fake PUT "object?name=$name&version=v1" "$VALUE-1"; done
	fake PUT 'object?name=private&version=v1&mode=0400' "$VALUE-1"
	fake PUT 'hint?pod=bats-r/expiring&expires=48h'
	kubectl -n bats-r create secret generic credential --from-literal=first=x
	classes | kubectl apply -f - >/dev/null
	pods | kubectl apply -f - >/dev/null
	for ns in bats-r bats-steady bats-down; do kubectl -n $ns wait --for=condition=Ready pods --all --timeout=120s >/dev/null; done
	# Of the 5 volumes of a pod, 2 fill Secrets.
	all_recorded() { [ "$(kubectl -n bats-steady get spcps -o json | jq -c '[.items[].status.conditions[] | select(.status == "True").type] | [length, (map(select(. == "Synced")) | length)]')" = "[$((7 * STEADY)),$((2 * STEADY))]" ]; }
	eventually 30 all_recorded
	now >"$BATS_FILE_TMPDIR/steady-since"
	what_fails
}

teardown_file() {
	fake DELETE fail
	fake GET 'require-secret?key=&pod=bats-r/credentialed'
	fake PUT 'hint?pod=bats-r/expiring'
	fake PUT 'hint?pod=bats-r/leased'
	fake GET 'rotation?rotated=false' # and no object but those at the start
	drop bats-r bats-steady bats-down
}

classes() {
	local n
	for n in $(seq $STEADY); do objects third | also="$(every 5s; fills "s$n" third=key)" class_yaml bats-steady "s$n" e2e-provider; done
	objects third | also=$(every 5s) class_yaml bats-steady plain e2e-provider
	objects first private | also="$(every 5s; fills follow first=key)" class_yaml bats-r follow e2e-provider
	for n in never still; do objects first | also='rotation: {mode: Never}' class_yaml bats-r $n e2e-provider; done
	objects third | class_yaml bats-r ten e2e-provider
	for n in hour expiring leased; do objects third | also=$(every 1h) class_yaml bats-r $n e2e-provider; done
	for n in forced edited; do objects second | also=$(every 1m) class_yaml bats-r $n e2e-provider; done
	for n in deleted crowd login credentialed bye; do objects third | also=$(every 5s) class_yaml bats-r $n e2e-provider; done
	for n in down slow; do objects third | also=$(every 5s) class_yaml bats-down $n e2e-provider; done
}

pods() {
	local n node
	for n in $(seq $STEADY); do
		node=$NODE_1
		[ $((n % 2)) = 0 ] || node=$NODE_2
		pod_yaml bats-steady "steady-$n" "s$n" plain plain "s$((n % STEADY + 1))" plain
	done
	for n in 1 2; do
		node=NODE_$n
		node=${!node}
		pod_yaml bats-r "follow-$n" follow
		group=4711 pod_yaml bats-r "grouped-$n" follow
		pod_yaml bats-r "told-$n" forced edited never
		pod_yaml bats-r "pace-$n" ten hour still
	done
	node=$NODE_2
	pod_yaml bats-r bye bye
	pod_yaml bats-r deleted deleted
	for n in $(seq 4); do pod_yaml bats-r "crowd-$n" crowd; done
	pod_yaml bats-r login login
	pod_yaml bats-r expiring expiring
	pod_yaml bats-r part ten | sed 's,mountPath: /mnt/0,mountPath: /etc/third\, subPath: third,'
	pod_yaml bats-r credentialed credentialed | sed 's/readOnly: true, volumeAttributes/readOnly: true, nodePublishSecretRef: {name: credential}, volumeAttributes/'
	for n in 1 2 3; do pod_yaml bats-down "down-$n" down down; done
	node=$NODE_1
	for n in 1 2; do pod_yaml bats-down "slow-$n" slow slow; done
}

# what_fails: from now on. Of the crowd it is the pod that comes first in every order of
# volumes by their paths.
what_fails() {
	kubectl -n bats-r get pods -o json |
		jq -r '[.items[] | select(.metadata.name | startswith("crowd"))] | sort_by(.metadata.uid) | .[0].metadata.name' >"$BATS_FILE_TMPDIR/bad"
	now >"$BATS_FILE_TMPDIR/fails-since"
	fake PUT 'fail?kind=Throttled&retry-after=20s&pod=bats-down/slow-*'
	now >"$BATS_FILE_TMPDIR/throttled-since"
	fake PUT 'fail?kind=Unavailable&pod=bats-down/down-*'
	fake PUT 'fail?kind=Denied&step=login&pod=bats-r/login'
	fake PUT "fail?kind=Unavailable&pod=bats-r/$(bad)"
	fake GET 'require-secret?key=second&pod=bats-r/credentialed'
	kubectl -n bats-r delete secretproviderclass deleted
	kubectl -n bats-r delete pod bye --timeout=60s
	now >"$BATS_FILE_TMPDIR/bye"
}

bad() { cat "$BATS_FILE_TMPDIR/bad"; }

# announced NAMESPACE POD...: kubelet calls for these pods soon, as it does for all of
# them every minute or two.
announced() { kubectl -n "$1" annotate pod "${@:2}" --overwrite "bats=$(now)" >/dev/null; }

# ready_is NAMESPACE POD CLASS WANT
ready_is() { condition "$1" "$2-$1-$3" Ready "$4"; }

@test "content, version and Secret follow the store on both nodes, within the interval and a tenth" {
	# What follows waits for the first one, so it is the last one to change.
	fake PUT 'object?name=private&version=v2&mode=0400' "$VALUE-2"
	fake PUT 'object?name=first&version=v2' "$VALUE-2"
	begin=$(now)
	for n in 1 2; do eventually 20 shows bats-r "follow-$n" /mnt/0/first "$VALUE-2"; done
	for n in 1 2; do
		eventually 20 shows bats-r "grouped-$n" /mnt/0/first "$VALUE-2"
		version() { [ "$(kubectl -n bats-r get spcps "$1-$n-bats-r-follow" -o jsonpath='{.status.objects[0].version}')" = v2 ]; }
		eventually 20 version follow
		eventually 20 version grouped
	done
	filled() { [ "$(kubectl -n bats-r get secret follow -o jsonpath='{.data.key}' | base64 -d)" = "$VALUE-2" ]; }
	eventually 20 filled
	# The calls that brought it came in time, whatever it took to look. On a busy machine
	# a call is noted a moment after it was made.
	for pod in follow-1 follow-2 grouped-1 grouped-2; do
		calls bats-r/$pod | jq -e --argjson begin "$begin" '[.[].time | select(. > $begin)][0] < $begin + 5.5 + 1'
	done
}

@test "a refresh keeps the group and the modes of files" {
	for n in 1 2; do
		[ "$(inside bats-r "grouped-$n" stat -L -c '%a %g' /mnt/0/private)" = '440 4711' ]
		shows bats-r "grouped-$n" /mnt/0/private "$VALUE-2"
	done
}

@test "the refresh annotation reaches every node at once, also where nothing else does" {
	fake PUT 'object?name=second&version=v2' "$VALUE-2"
	kubectl -n bats-r annotate secretproviderclass forced never secrets-store.csi.x-k8s.io/refresh=now
	for n in 1 2; do
		eventually 15 shows bats-r "told-$n" /mnt/2/first "$VALUE-2"
		eventually 20 shows bats-r "told-$n" /mnt/0/second "$VALUE-2" # within a tenth of a minute
	done
	shows bats-r told-1 /mnt/1/second "$VALUE-1" # nobody asked for this one
}

@test "an edited class is followed at once" {
	objects second third | also=$(every 1m) class bats-r edited e2e-provider
	for n in 1 2; do
		eventually 20 shows bats-r "told-$n" /mnt/1/third "$VALUE-1"
		shows bats-r "told-$n" /mnt/1/second "$VALUE-2"
	done
}

@test "an interval and a mode that mean nothing are refused, in words" {
	try() { objects first | also="rotation: $1" class_yaml bats-r bad e2e-provider | kubectl apply --dry-run=server -f -; }
	for interval in 1s 4999ms 5 ten -5m 8761h 1d '""'; do
		run try "{interval: $interval}"
		[ "$status" != 0 ]
		[[ $output == *'spec.rotation.interval'* ]]
		[[ $interval = 5 || $output == *'must be a duration from 5s to 8760h, such as 90s, 10m or 1h30m'* ]] || { echo "$interval: $output"; return 1; }
	done
	run try '{mode: Sometimes}'
	[ "$status" != 0 ]
	[[ $output == *'spec.rotation.mode: Unsupported value: "Sometimes": supported values: "Periodic", "Never"'* ]]
	for good in '{interval: 5s}' '{interval: 1h30m}' '{interval: 8760h}' '{mode: Periodic}' '{mode: Never, interval: 1m}'; do try "$good"; done
}

@test "status objects show pod, class, node, whether it is fresh, and age" {
	kubectl -n bats-r get spcps >"$BATS_TEST_TMPDIR/table"
	head -n 1 "$BATS_TEST_TMPDIR/table" | grep -E '^NAME +POD +CLASS +NODE +READY +AGE *$'
	grep -E "^follow-2-bats-r-follow +follow-2 +follow +$NODE_2 +True +[0-9]+" "$BATS_TEST_TMPDIR/table"
}

@test "a deleted class leaves the files, and shows" {
	eventually 40 ready_is bats-r deleted deleted 'False SecretProviderClassNotFound'
	ready_is bats-r deleted deleted 'not found'
	shows bats-r deleted /mnt/0/third "$VALUE-1"
	eventually 20 told bats-r deleted SecretProviderClassNotFound 'its files stay as they are' 'not found'
	kubectl -n bats-r get spcps deleted-bats-r-deleted | grep -E " $NODE_2 +False "
}

@test "a login that is refused leaves the files, and shows" {
	eventually 40 ready_is bats-r login login 'False LoginFailed'
	eventually 20 told bats-r login LoginFailed '1 of 1 volumes' "$NODE_2" 'told to fail with Denied'
	shows bats-r login /mnt/0/third "$VALUE-1"
}

@test "one bad pod among healthy ones becomes visible within a minute after two intervals" {
	eventually 70 ready_is bats-r "$(bad)" crowd 'False StoreUnavailable'
	elapsed=$(($(date +%s) - $(cut -d. -f1 "$BATS_FILE_TMPDIR/fails-since")))
	[ $elapsed -le 70 ]
	echo "visible after at most $elapsed s" >&3
	is_stale() { [ "$(metric "$NODE_2" 'strongroom_volumes{state="stale"}')" -ge 1 ]; }
	eventually 30 is_stale
	metric "$NODE_2" 'strongroom_volumes_oldest_seconds{state="stale"}' | awk '{ exit !($1 > 10) }'
	# Where the node is so busy that all four are late for a moment, their class is told
	# first, and this pod when it has failed alone, which is tried twice a minute.
	eventually 90 told bats-r "$(bad)" StoreUnavailable '1 of 4 volumes' "$NODE_2" 'its files stay as they are'
	kubectl -n bats-r get events -o json | jq -e '[.items[] | select(.type == "Warning" and (.message | contains("bats-r/crowd"))).involvedObject | [.kind, .name]] | length <= 2 and length == (unique | length)'
	# The others go on, though the failure looks as if the store were down.
	for pod in crowd-1 crowd-2 crowd-3 crowd-4; do
		[ $pod != "$(bad)" ] || continue
		eventually 20 ready_is bats-r $pod crowd True
		lately() { calls bats-r/$pod | jq -e --argjson now "$(now)" '$now - .[-1].time < 6.5'; }
		eventually 20 lately
	done
}

@test "a store that is down for many pods makes one event, which counts them" {
	eventually 40 told bats-down down StoreUnavailable "6 of 6 volumes on node $NODE_2 are not refreshed" 'told to fail with Unavailable'
	for n in 1 2 3; do
		eventually 30 condition bats-down "down-$n-bats-down-down" Ready 'False StoreUnavailable'
		shows bats-down "down-$n" /mnt/1/third "$VALUE-1"
	done
	kubectl -n bats-down get events -o json |
		jq -e '[.items[] | select(.type == "Warning" and .reason == "StoreUnavailable" and (.message | contains("bats-down/down")))] | length == 1'
}

@test "what a store that is asked too often says about when to come back is kept to" {
	since=$(cat "$BATS_FILE_TMPDIR/throttled-since")
	again() { calls 'bats-down/slow-.*' | jq -e --argjson since "$since" '[.[].time | select(. > $since)] | .[-1] - .[0] > 10'; }
	eventually 60 again
	# Those that were under way together come together, the later ones a moment after the
	# first; then nobody comes for 20 seconds.
	calls 'bats-down/slow-.*' | jq -e --argjson since "$since" '[.[].time | select(. > $since)] as $all
		| [$all[] | select(. > $all[0] + 3)][0] - $all[0] | . >= 20 and . <= 25'
}

@test "a credential of the pod that is wanting shows, and its change is followed" {
	eventually 40 ready_is bats-r credentialed credentialed 'False ClassInvalid'
	kubectl -n bats-r create secret generic credential --from-literal=second=y --dry-run=client -o yaml | kubectl apply -f - 2>/dev/null
	announced bats-r credentialed
	eventually 20 ready_is bats-r credentialed credentialed True
}

@test "what recovers is no longer shown" {
	objects third | also=$(every 5s) class bats-r deleted e2e-provider
	fake DELETE fail
	eventually 20 ready_is bats-r deleted deleted True
	eventually 20 ready_is bats-r login login True
	# One that failed alone is asked as seldom as a store that was down for long.
	eventually 60 ready_is bats-r "$(bad)" crowd True
	# That is every half minute, and a little later.
	for n in 1 2 3; do eventually 45 condition bats-down "down-$n-bats-down-down" Ready True; done
	for n in 1 2; do eventually 30 condition bats-down "slow-$n-bats-down-slow" Ready True; done
	eventually 20 told bats-down down Refreshed 'are refreshed again'
	well() {
		local node state
		for node in "$NODE_1" "$NODE_2"; do
			for state in failing stale outdated tokenless unsynced unrecorded; do
				[ "$(metric "$node" "strongroom_volumes{state=\"$state\"}")" = 0 ] || { echo "$node: $state"; return 1; }
			done
		done
	}
	eventually 20 well
}

@test "a container that mounts a subPath is told that it never sees a refresh" {
	told bats-r part SubPathNeverRefreshed 'subPath' 'restart the pod'
	[ "$(kubectl -n bats-r get events --field-selector reason=SubPathNeverRefreshed -o json | jq '.items | length')" = 1 ]
}

@test "what ends within a week is told to the pod once, and is a metric" {
	told bats-r expiring ContentExpires 'what secretproviderclass bats-r/expiring mounts ends at 20' 'renew it at its store'
	[ "$(kubectl -n bats-r get events --field-selector reason=ContentExpires -o json | jq '.items | length')" = 1 ]
	at=$(metric "$NODE_2" 'strongroom_earliest_expiry_timestamp_seconds{class="expiring",namespace="bats-r"}')
	awk -v at="$at" -v now="$(date +%s)" 'BEGIN { hours = (at - now) / 3600; exit !(hours > 47 && hours <= 48) }'
}

# The driver counts from where it begins a call, and the provider notes it a little later.
LATER=0.6 # seconds

@test "counted: in ten intervals 9 to 11 calls for each volume, never two within 0.9 of one" {
	since=$(cat "$BATS_FILE_TMPDIR/steady-since")
	# The end of ten intervals is where the calls themselves say so.
	past() { calls 'bats-steady/.*' | jq -e --argjson since "$since" 'map(select(.time >= $since)) | group_by(.volume) | length == 50 and all(.[]; .[-1].time > $since + 57)'; }
	eventually 90 past
	calls 'bats-steady/.*' | jq -ce --argjson since "$since" --argjson later $LATER '[map(select(.time >= $since)) | group_by(.volume)[] | map(.time) |
		. as $all | {calls: map(select(. < $all[0] + 50)) | length, gap: [range(1; length) as $i | .[$i] - .[$i - 1]] | min}]
		| {volumes: length, least: (map(.calls) | min), most: (map(.calls) | max), gap: (map(.gap) | min)},
		(length == 50 and all(.[]; .calls >= 9 and .calls <= 11 and .gap >= 4.5 - $later))' >&3
	# The driver's own interval is ten seconds; an hour and never are not over.
	calls 'bats-r/pace-.*' | jq -ce --argjson since "$since" 'map(select(.time >= $since - 60)) | [group_by(.volume)[] | map(select(.time >= $since and .time < $since + 50)) | length] | sort
		| length == 6 and .[0:4] == [0, 0, 0, 0] and (.[4:] | all(.[]; . >= 4 and . <= 6))' || { calls 'bats-r/pace-.*'; return 1; }
	# A volume that is gone is not asked for.
	calls bats-r/bye | jq -e --argjson gone "$(cat "$BATS_FILE_TMPDIR/bye")" 'length > 0 and .[-1].time < $gone'
}

# requests FILTER: of the driver's requests in the API server's audit log, those that
# jq's filter accepts, as lines.
requests() {
	grep -F system:serviceaccount:kube-system:secrets-store-csi-driver "$STRONGROOM_RUN/log/audit.log" |
		jq -cR 'fromjson? | .at = (.requestReceivedTimestamp | (.[0:19] + "Z" | fromdate) + ("0" + .[19:-1] | tonumber)) | select('"$1"')
			| {at, verb, resource: .objectRef.resource, name: .objectRef.name, code: .responseStatus.code}'
}

@test "counted: while nothing changes, no API write for 50 volumes and 10 Secrets" {
	[ -n "$STRONGROOM_RUN" ] && [ "$KUBECONFIG" = "$STRONGROOM_RUN/kubeconfig" ] || skip 'needs the cluster of the test ground'
	since=$(cat "$BATS_FILE_TMPDIR/steady-since")
	[ "$(kubectl -n bats-steady get secrets -l secrets-store.csi.k8s.io/managed=true -o name | wc -l)" = $STEADY ]
	# Lines come a moment late: when that of a later request is there, so are they.
	kubectl -n bats-steady create configmap marker
	marked() { tail -n 2000 "$STRONGROOM_RUN/log/audit.log" | grep -F '"bats-steady"' | grep -qF '"marker"'; }
	eventually 20 marked
	written='.verb != "get" and .verb != "list" and .verb != "watch" and .objectRef.namespace == "bats-steady"'
	# It does find them: each volume and each Secret was written when it came.
	[ "$(requests "$written and .at < $since and .objectRef.resource == \"secretproviderclasspodstatuses\" and .verb == \"create\"" | wc -l)" -ge 50 ]
	[ "$(requests "$written and .at < $since and .objectRef.resource == \"secrets\"" | wc -l)" -ge $STEADY ]
	requests "$written and .at >= $since" >"$BATS_TEST_TMPDIR/writes"
	repeats=$(jq -c 'select(.verb == "update" and .resource == "secrets")' "$BATS_TEST_TMPDIR/writes" | wc -l)
	writes=$(jq -c 'select(.verb != "update" or .resource != "secrets")' "$BATS_TEST_TMPDIR/writes" | wc -l)
	echo "in $(($(date +%s) - ${since%.*})) s: $writes writes, and $repeats repeats of Secrets" >&3
	[ "$writes" = 0 ] || { cat "$BATS_TEST_TMPDIR/writes"; return 1; }
	# A repeat changes nothing: no Secret is another one than was noted when it was filled.
	[ "$(kubectl -n bats-steady get syncedsecrets -o json | jq -c '[.items[] | [.metadata.name, .status.secretResourceVersion]] | sort')" = \
		"$(kubectl -n bats-steady get secrets -l secrets-store.csi.k8s.io/managed=true -o json | jq -c '[.items[] | [.metadata.name, .metadata.resourceVersion]] | sort')" ]
}

@test "the driver's audit log tells who got what and why, and no value" {
	local pod uid
	for pod in $(pods_of csi-secrets-store); do kubectl -n kube-system logs "$pod"; done >"$BATS_TEST_TMPDIR/log"
	grep '^{"time":' "$BATS_TEST_TMPDIR/log" >"$BATS_TEST_TMPDIR/audit"
	uid=$(uid bats-r follow-1)
	audited() { jq -se "any(.[]; $1)" "$BATS_TEST_TMPDIR/audit" >/dev/null || { echo "no line with $1"; return 1; }; }
	who=".namespace == \"bats-r\" and .pod == \"follow-1\" and .uid == \"$uid\" and .serviceAccount == \"default\" and .class == \"follow\" and .provider == \"e2e-provider\""
	audited "$who and .trigger == \"mount\" and .result == \"delivered\" and (.objects | index({id: \"secret/first\", version: \"v1\"}) != null)"
	audited "$who and .trigger == \"interval\" and .result == \"delivered\" and (.objects | index({id: \"secret/first\", version: \"v2\"}) != null)"
	audited "$who and .trigger == \"interval\" and .result == \"unchanged\""
	audited '.trigger == "sync" and .result == "delivered" and .secret == "follow"'
	audited '.trigger == "forced" and .result == "delivered" and .class == "forced"'
	audited '.trigger == "class" and .result == "delivered" and .class == "edited"'
	audited '.result == "failed" and .kind == "Denied" and .pod == "login" and (.error | contains("told to fail"))'
	! grep -n $VALUE "$BATS_TEST_TMPDIR/log"
}

@test "metrics of refreshes have the names that dashboards use, on every node" {
	for pod in $(pods_of csi-secrets-store); do
		page "$pod" 8095 metrics >"$BATS_TEST_TMPDIR/metrics"
		for name in node_publish_total rotation_reconcile_total; do
			grep -E "^$name\{.*os_type=\"linux\".*provider=\"e2e-provider\".*\} [1-9]" "$BATS_TEST_TMPDIR/metrics"
		done
	done
	# What failed was on the second node.
	page "$(pod_on "$NODE_2" csi-secrets-store)" 8095 metrics | grep -E '^rotation_reconcile_error_total\{.*provider="e2e-provider".*\} [1-9]'
	page "$(pod_on "$NODE_2" csi-secrets-store)" 8095 metrics | grep -E '^node_unpublish_total\{.*\} [1-9]'
}

@test "a provider that is gone leaves the files, and shows until it is back" {
	keep_logs
	kubectl -n kube-system patch daemonset e2e-provider --type merge -p '{"spec":{"template":{"spec":{"nodeSelector":{"no-such-node":"x"}}}}}'
	for n in 1 2; do eventually 40 ready_is bats-r "follow-$n" follow 'False ProviderUnavailable'; done
	for n in 1 2; do shows bats-r "follow-$n" /mnt/0/first "$VALUE-2"; done
	[ "$(metric "$NODE_2" 'strongroom_provider_up{provider="e2e-provider"}')" = 0 ]
	kubectl -n kube-system patch daemonset e2e-provider --type json -p '[{"op":"remove","path":"/spec/template/spec/nodeSelector/no-such-node"}]'
	kubectl -n kube-system rollout status daemonset e2e-provider --timeout=90s
	fake PUT 'object?name=first&version=v3' "$VALUE-3"
	fake PUT 'object?name=private&version=v3&mode=0400' "$VALUE-3"
	for name in second third; do fake PUT "object?name=$name&version=v3" "$VALUE-3"; done
	for n in 1 2; do
		eventually 30 ready_is bats-r "follow-$n" follow True
		shows bats-r "follow-$n" /mnt/0/first "$VALUE-3"
	done
}

@test "a driver that is restarted refreshes nothing needlessly, and keeps what was due" {
	fake PUT 'hint?pod=bats-r/leased&refresh=25s'
	node=$NODE_2 pod bats-r leased leased
	ready bats-r leased
	fake PUT 'hint?pod=bats-r/leased'
	keep_logs
	kubectl -n kube-system delete pod "$(pod_on "$NODE_2" csi-secrets-store)" --timeout=60s
	# What was mounted before is unclaimed until kubelet names it again.
	unclaimed() { [ "$(metric "$NODE_2" 'strongroom_volumes{state="unclaimed"}')" -ge "$1" ]; }
	eventually 60 unclaimed 10
	driven=$(now)
	for ns in bats-r bats-steady bats-down; do announced $ns --all; done
	claimed() { [ "$(metric "$NODE_2" 'strongroom_volumes{state="unclaimed"}')" = 0 ]; }
	eventually 60 claimed
	eventually 20 ready_is bats-r follow-2 follow True
	kubectl -n kube-system rollout status daemonset csi-secrets-store --timeout=60s
	back() { calls bats-r/leased | jq -e 'length > 1'; }
	eventually 40 back
	calls bats-r/leased | jq -ce --argjson later $LATER --argjson driven "$driven" '.[1].time - .[0].time,
		(length == 2 and .[1].time - .[0].time >= 25 - $later and .[1].time < ([.[0].time + 25, $driven] | max) + 3)' >&3
	calls 'bats-steady/.*' | jq -e --argjson later $LATER '[group_by(.volume)[] | map(.time) | [range(1; length) as $i | .[$i] - .[$i - 1]] | min] | length == 50 and min >= 4.5 - $later'
	# Their hour is not over, and never is never.
	calls 'bats-r/(expiring|pace-.)' | jq -e 'map(select(.pod == "bats-r/expiring")) == [] and ([group_by(.volume)[] | .[0].volume] | length == 2)'
}

@test "no value is in any log, event or status" {
	keep_logs
	kubectl get spcps,spc,syncedsecrets -A -o yaml >>"$LOGS"
	grep -q 'told to fail with Denied' "$LOGS" # it does look at the right things
	! grep -nF $VALUE "$LOGS"
}
