#!/bin/bash
# Runs the bats suite on two real nodes, a real Vault and an Azure of tests, and adds the
# counts to bin/results. KEEP=1 leaves all running. Arguments go to bats; the default is all.
# ADMISSION names further admission plugins that the API server runs, with commas
# between. OwnerReferencesPermissionEnforcement is worth a run of its own; it is not the
# default, because Secrets cannot be handed over to the driver where it is on.
# All programs log what they can, unless QUIET=1. In the end test/canary looks for secrets
# in logs, events, objects and metrics, and the run fails if there is one.
cd "$(dirname "$0")/.." || exit 1
export STRONGROOM_RUN=${STRONGROOM_RUN:-/var/tmp/strongroom/e2e}
. test/ground.sh
test/packages bats openssl || exit 1

watch=''
finish() {
	code=$?
	[ -z "$watch" ] || kill -- -"$watch"
	if [ -n "$KEEP" ]; then
		echo "left running: export STRONGROOM_RUN=$STRONGROOM_RUN KUBECONFIG=$KUBECONFIG; . $STRONGROOM_RUN/vault/env; . $STRONGROOM_RUN/azure/env"
		return
	fi
	trap '' INT TERM
	ground_down || code=1
	exit $code
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

begin=$(date +%s)
export ADMISSION=${ADMISSION:-}
ground_up "${NETWORK:-10.198.0.0/16}" --nodes 2 ${ADMISSION:+--enable-admission-plugins "$ADMISSION"} || exit 1
ground_azure || exit 1
ground_images || exit 1
ground_load bin/images/*.tar bin/ground/images/*.tar || exit 1
# In a group of its own, so that all of it ends together.
setsid test/canary watch &
watch=$!
export INSTALLED=manifests/overlays/test-loud
[ -z "${QUIET:-}" ] || INSTALLED=manifests/overlays/test
ground_install $INSTALLED || exit 1
echo "ground and installation: $(($(date +%s) - begin)) s"

mkdir -p bin
[ $# = 0 ] && set -- test/bats
bats --timing --print-output-on-failure --formatter tap "$@" | tee bin/bats.tap
code=${PIPESTATUS[0]}
passed=$(grep -cE '^ok [0-9]' bin/bats.tap)
skipped=$(grep -cE '^ok [0-9]+ .*# skip' bin/bats.tap)
failed=$(grep -cE '^not ok [0-9]' bin/bats.tap)
[ "$code" != 0 ] && [ "$failed" = 0 ] && failed=1
echo "bats: $((passed - skipped)) passed, $failed failed, $skipped skipped" | tee -a bin/results
if [ "$failed" != 0 ]; then
	echo '--- driver and provider logs ---'
	for app in app=secrets-store-csi-driver app.kubernetes.io/name=vault-csi-provider app=csi-secrets-store-provider-azure; do
		kubectl -n kube-system logs -l $app --tail=40 --prefix
	done
fi
if test/canary find; then
	echo 'canaries: 1 passed' >>bin/results
else
	echo 'canaries: 1 failed' | tee -a bin/results
	[ "$code" != 0 ] || code=1
fi
exit "$code"
