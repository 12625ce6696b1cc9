#!/usr/bin/env bats
# Driver and providers do not grow. make soak does the same for half an hour.

load helpers

LASTS=${SOAK:-75s}

setup_file() {
	[ -n "$STRONGROOM_RUN" ] && [ "$KUBECONFIG" = "$STRONGROOM_RUN/kubeconfig" ] || skip 'needs the cluster of the test ground'
	(cd "$BATS_TEST_DIRNAME/.." && CGO_ENABLED=0 go build -o ../bin/ground/ ./soak)
	keep_logs
}

@test "driver and providers do not grow while pods come and go, and nothing is left of those" {
	local log=$BATS_TEST_TMPDIR/soak
	"$BATS_TEST_DIRNAME/../../bin/ground/soak" -for "$LASTS" -pods 10 >"$log" 2>&1 || { cat "$log"; return 1; }
	grep -E 'observers read|pods came|of the driver' "$log" >&3
}
