#!/usr/bin/env bats
# A real Prometheus scrapes the driver, with the rules and the scrape configuration that
# are shipped. Its volumes come from a provider that only this file uses: the scripted
# one, under another name.

load helpers

MONITORING=$BATS_TEST_DIRNAME/../../manifests/monitoring

setup_file() {
	"$BATS_TEST_DIRNAME/../packages" curl jq prometheus
	fresh bats-metrics
	kubectl label namespace bats-metrics secrets-store.csi.x-k8s.io/sync=enabled >/dev/null
	socket e2e-provider.sock
	start_prometheus
	seen >"$BATS_FILE_TMPDIR/seen"
	count strongroom_provider_call_duration_seconds_count 'provider="counted"' >"$BATS_FILE_TMPDIR/counted"
	fake PUT 'hint?expires=48h' ''
	for name in steady broken synced unsynced; do objects foo | class bats-metrics $name counted; done
	objects no-such-object | class bats-metrics hollow counted
	refreshed '' steady broken
	refreshed '[{"secretName": "synced", "type": "Opaque", "data": [{"objectName": "foo", "key": "k"}]}]' synced
	refreshed '[{"secretName": "unsynced", "type": "Opaque", "data": [{"objectName": "no-such-file", "key": "k"}]}]' unsynced
	node=$(kubectl -n strongroom-test get pod node -o jsonpath='{.spec.nodeName}')
	export node
	for name in steady broken synced unsynced; do on_that_node $name $name & done
	on_that_node leaving steady
	on_that_node lost no-such-class
	on_that_node hollow hollow
	wait_for_pods steady broken synced unsynced leaving
}

teardown_file() {
	if [ -f "$BATS_FILE_TMPDIR/pids" ]; then xargs kill <"$BATS_FILE_TMPDIR/pids"; fi
	fake PUT hint ''
	fake DELETE fail
	drop bats-metrics
	on_node rm -f "$SOCKET"
}

SOCKET=/proc/1/root/run/secrets-store-csi-providers/counted.sock

# socket TARGET: where the provider of this file is.
socket() { on_node ln -sfn "$1" "$SOCKET"; }

# refreshed SECRETOBJECTS CLASS...: every 5 seconds.
refreshed() {
	local objects=$1 class
	shift
	for class; do
		kubectl -n bats-metrics patch spc "$class" --type merge -p "{\"spec\": {\"rotation\": {\"interval\": \"5s\"}, \"secretObjects\": ${objects:-[]}}}" >/dev/null
	done
}

on_that_node() { pod bats-metrics "$@"; }

wait_for_pods() { kubectl -n bats-metrics wait --for=condition=Ready --timeout=90s "${@/#/pod/}"; }

# start_prometheus: it reaches drivers and providers through the API server, scrapes and evaluates
# every second, and its alerts do not wait. Debian builds it without the discovery of
# pods, so a file takes the place of that.
start_prometheus() {
	local dir=$BATS_FILE_TMPDIR api line
	kubectl proxy --port=0 >"$dir/proxy" 2>&1 3>&- &
	echo $! >"$dir/pids"
	api=$(eventually 20 grep -oE '127.0.0.1:[0-9]+' "$dir/proxy")
	targets >"$dir/targets.json"
	sed -E '/^ *(for|interval): /d' "$MONITORING/rules.yaml" >"$dir/rules.yaml"
	cat >"$dir/proxied" <<-END
		  - {source_labels: [__address__], target_label: instance}
		  - source_labels: [__meta_kubernetes_namespace, __meta_kubernetes_pod_name, __meta_kubernetes_pod_container_port_number]
		    regex: (.+);(.+);(.+)
		    target_label: __metrics_path__
		    replacement: /api/v1/namespaces/\$1/pods/\$2:\$3/proxy/metrics
		  - {target_label: __address__, replacement: '$api'}
	END
	{
		echo 'global: {evaluation_interval: 1s}'
		echo 'rule_files: [rules.yaml]'
		sed -E "s/(scrape_interval|scrape_timeout): .*/\1: 1s/; /kubernetes_sd_configs:/,/names:/c \  file_sd_configs: [{files: [targets.json]}]
			/relabel_configs:/r $dir/proxied" "$MONITORING/scrape.yaml"
	} >"$dir/prometheus.yaml"
	promtool check config "$dir/prometheus.yaml"
	prometheus --config.file="$dir/prometheus.yaml" --storage.tsdb.path="$dir/data" --web.listen-address=127.0.0.1:0 >"$dir/log" 2>&1 3>&- &
	echo $! >>"$dir/pids"
	line=$(eventually 20 grep -E 'msg="Listening on" address=' "$dir/log") || { cat "$dir/log"; return 1; }
	echo "${line##*address=}" >"$dir/address"
	eventually 20 finds 'up == 1' >/dev/null
}

# targets: the ports of all pods of kube-system, with the labels that the discovery of
# pods gives them.
targets() {
	kubectl -n kube-system get pods -o json | jq '[.items[] | . as $pod | .spec.containers[].ports[]? | {
		targets: ["\($pod.status.podIP):\(.containerPort)"],
		labels: {
			__meta_kubernetes_namespace: $pod.metadata.namespace, __meta_kubernetes_pod_name: $pod.metadata.name,
			__meta_kubernetes_pod_node_name: $pod.spec.nodeName, __meta_kubernetes_pod_phase: $pod.status.phase,
			__meta_kubernetes_pod_label_app: ($pod.metadata.labels.app // ""),
			__meta_kubernetes_pod_label_app_kubernetes_io_name: ($pod.metadata.labels["app.kubernetes.io/name"] // ""),
			__meta_kubernetes_pod_container_port_name: .name, __meta_kubernetes_pod_container_port_number: "\(.containerPort)"
		}
	}]'
}

# ask PATH [CURL ARGUMENT...]
ask() {
	local path=$1
	shift
	curl -sSG "http://$(cat "$BATS_FILE_TMPDIR/address")/api/v1/$path" "$@"
}

# finds EXPRESSION: it has a result, and one that is a number.
finds() {
	local answer
	answer=$(ask query --data-urlencode "query=$1") || return
	[ "$(jq 'any(.data.result[]; .value[1] != "NaN")' <<<"$answer")" = true ] || { echo "$1: $answer"; return 1; }
}

finds_none() { [ "$(ask query --data-urlencode "query=$1" | jq '.data.result | length')" = 0 ]; }

# count NAME [LABEL="VALUE"...]: the sum over all drivers of the series that have these labels.
count() {
	local pod
	for pod in $(pods_of csi-secrets-store); do page "$pod" 8095 metrics || return; done |
		LABELS="$*" awk 'BEGIN { n = split(ENVIRON["LABELS"], want, " ") }
			{
				name = $1; sub(/\{.*/, "", name)
				if (name != want[1]) next
				for (i = 2; i <= n; i++) if (!index($1, want[i])) next
				sum += $NF
			}
			END { printf "%d\n", sum }'
}

# counts WANT COMPARISON NAME [LABEL...]
counts() {
	local n
	n=$(count "${@:3}") && [ "$n" "$2" "$1" ] || { echo "${*:3} is $n, want $2 $1"; return 1; }
}

# seen: the calls for pods of this file that the scripted provider has had.
seen() { fake GET log | jq -s '[.[][]? | select(.pod | startswith("bats-metrics/"))] | length'; }

@test "promtool accepts the rules, and every alert fires when it should" {
	promtool check rules "$MONITORING/rules.yaml"
	promtool test rules "$MONITORING/rules.test.yaml"
}

@test "publishes and unpublishes are counted, once each" {
	before=$(count node_publish_total 'provider="counted"')
	on_that_node another steady
	wait_for_pods another
	counts $((before + 1)) -eq node_publish_total 'provider="counted"' 'os_type="linux"' 'otel_scope_name="sigs.k8s.io/secrets-store-csi-driver"'
	counts 1 -ge strongroom_publish_duration_seconds_count 'provider="counted"' 'kind="OK"'
	eventually 30 counts 1 -ge node_publish_error_total 'provider=""' 'error_type="SecretProviderClassNotFound"' 'os_type="linux"'
	eventually 30 counts 1 -ge node_publish_error_total 'provider="counted"' 'error_type="GRPCProviderError"' 'os_type="linux"'
	counts 1 -ge strongroom_publish_duration_seconds_count 'provider="counted"' 'kind="NotFound"'
	before=$(count node_unpublish_total 'os_type="linux"')
	errors=$(count node_unpublish_error_total 'os_type="linux"')
	kubectl -n bats-metrics delete pod leaving --timeout=60s
	eventually 30 counts $((before + 1)) -ge node_unpublish_total
	counts "$errors" -eq node_unpublish_error_total
}

@test "every call of a provider is a publish or a refresh, and none is missing" {
	calls() {
		local seen counted
		seen=$(($(seen) - $(cat "$BATS_FILE_TMPDIR/seen")))
		counted=$(($(count strongroom_provider_call_duration_seconds_count 'provider="counted"') - $(cat "$BATS_FILE_TMPDIR/counted")))
		[ $seen -gt 10 ] && [ $seen = $counted ] || { echo "the provider saw $seen calls, the driver counts $counted"; return 1; }
	}
	eventually 20 calls
	refreshes() {
		local ours upstream took
		ours=$(count strongroom_refreshes_total)
		upstream=$(($(count rotation_reconcile_total 'rotated="true"' 'os_type="linux"') + $(count rotation_reconcile_error_total 'rotated="true"')))
		took=$(count strongroom_refresh_duration_seconds_count)
		[ "$ours" -gt 0 ] && [ "$ours" = "$upstream" ] && [ "$ours" = "$took" ] || { echo "$ours, $upstream, $took"; return 1; }
	}
	eventually 20 refreshes
	counts 1 -ge strongroom_refreshes_total 'provider="counted"' 'result="unchanged"'
}

@test "what changes at the store is a refresh with a change" {
	before=$(count strongroom_refreshes_total 'provider="counted"' 'result="changed"')
	fake GET 'rotation?rotated=true'
	eventually 20 counts $((before + 4)) -ge strongroom_refreshes_total 'provider="counted"' 'result="changed"'
	eventually 20 shows bats-metrics steady /mnt/0/foo rotated
	fake GET 'rotation?rotated=false'
	eventually 20 shows bats-metrics broken /mnt/0/foo secret
}

@test "Secrets are counted: filled, and why not" {
	kubectl -n bats-metrics get secret synced
	eventually 20 counts 1 -ge sync_k8s_secret_total 'provider="counted"' 'os_type="linux"'
	eventually 20 counts 1 -ge strongroom_secret_errors_total 'provider="counted"' 'reason="FailedToCreateSecret"'
	eventually 20 counts 1 -ge strongroom_volumes 'state="unsynced"'
	took() { [ "$(count k8s_secret_duration_sec_count)" = "$(count sync_k8s_secret_total)" ]; }
	eventually 20 took
}

@test "when content ends is told by class, in the namespace of the class" {
	eventually 20 finds 'strongroom_earliest_expiry_timestamp_seconds{namespace="bats-metrics", class="steady"} - time() > 47 * 3600 < 49 * 3600'
}

@test "one stale volume among healthy ones fires the alert, which names the node and ends" {
	eventually 30 finds_none 'ALERTS{alertname="StrongroomVolumesStale"}'
	fake PUT 'fail?kind=Denied&pod=bats-metrics/broken' ''
	eventually 20 counts 1 -ge rotation_reconcile_error_total 'provider="counted"' 'error_type="GRPCProviderError"' 'rotated="true"'
	counts 1 -ge strongroom_refreshes_total 'provider="counted"' 'result="Denied"'
	# Two intervals of 5 seconds, and a minute.
	eventually 70 finds "ALERTS{alertname=\"StrongroomVolumesStale\", alertstate=\"firing\", severity=\"warning\", node=\"$node\"}"
	finds "ALERTS{alertname=\"StrongroomVolumesFailing\", alertstate=\"firing\", node=\"$node\"}"
	[ "$(ask alerts | jq --arg node "$node" 'any(.data.alerts[]; .annotations.description | contains("1 volumes on node " + $node + " were not refreshed"))')" = true ]
	shows bats-metrics broken /mnt/0/foo secret
	fake DELETE fail
	eventually 30 finds_none 'ALERTS{alertname="StrongroomVolumesStale"}'
}

# expressions: title and expression of all panels, with the variables filled in.
expressions() {
	# shellcheck disable=SC2016
	jq -r '.panels[] | .title as $title | .targets[]? | $title + "\t" + .expr' "$MONITORING/dashboard.json" |
		sed 's/\$node/.*/g; s/\$__rate_interval/5m/g'
}

@test "every panel of the dashboard finds data" {
	[ "$(expressions | wc -l)" -gt 40 ]
	! expressions | grep '\$' || false
	panels() {
		local title expression code=0
		while IFS=$'\t' read -r title expression; do
			finds "$expression" || { echo "panel $title has no data"; code=1; }
		done < <(expressions)
		return $code
	}
	eventually 20 panels
}

@test "every variable of the dashboard has values" {
	values() {
		local metric label
		while read -r metric label; do
			[ "$(ask "label/$label/values" --data-urlencode "match[]=$metric" | jq '.data | length')" -gt 0 ] ||
				{ echo "$metric has no label $label"; return 1; }
		done < <(jq -r '.templating.list[] | select(.type == "query") | .query.query' "$MONITORING/dashboard.json" |
			sed -E 's/label_values\((.*), *([a-z_]+)\)/\1 \2/')
	}
	values
}

@test "every alert looks at series that are there" {
	# Prometheus writes rules in one way: comparisons become questions, which have an answer
	# also where nothing is wrong.
	rules() {
		ask rules | jq -r '.data.groups[].rules[] | .name + "\t" + .query' |
			sed -E 's/ (>|<|>=|<=|==|!=) / \1 bool /g; s/absent\(([^()]*)\)/\1/g'
	}
	[ "$(rules | wc -l)" = "$(grep -c -- '- alert:' "$MONITORING/rules.yaml")" ]
	look() {
		local name expression code=0
		while IFS=$'\t' read -r name expression; do
			finds "$expression" || { echo "alert $name has nothing to look at"; code=1; }
		done < <(rules)
		return $code
	}
	look
	[ "$(ask rules | jq 'all(.data.groups[].rules[]; .health == "ok")')" = true ]
}

@test "a provider that is gone fires the alert, which ends once it is back" {
	finds 'strongroom_provider_up{provider="counted"} == 1'
	on_node rm "$SOCKET"
	eventually 20 finds "ALERTS{alertname=\"StrongroomProviderDown\", alertstate=\"firing\", severity=\"critical\", provider=\"counted\", node=\"$node\"}"
	socket e2e-provider.sock
	eventually 20 finds_none 'ALERTS{alertname="StrongroomProviderDown", provider="counted"}'
}

@test "the providers are scraped too, each on every node" {
	local metric
	for metric in strongroom_vault_sessions strongroom_azure_sessions; do
		eventually 20 finds "count($metric{job=\"secrets-store-csi-provider\"}) == $(kubectl get nodes -o name | wc -l)"
	done
}
