#!/usr/bin/env bats
# The chart, as its page tells, under pods that run: it takes over what kustomize has
# installed, as an earlier version of itself; it is upgraded, rolled back and uninstalled;
# it is installed elsewhere over CRDs and roles of upstream, and takes the place of a
# release of upstream's driver. What kustomize installed is there again afterwards.

load helpers

PAGE=docs/helm.md
NS=bats-helm
ELSEWHERE=bats-helm-system
UPSTREAM=csi-secrets-store-secrets-store-csi-driver # as upstream's chart names it for this release
CRD=secretproviderclasses.secrets-store.csi.x-k8s.io

setup_file() {
	export HELM_CACHE_HOME=$BATS_FILE_TMPDIR HELM_CONFIG_HOME=$BATS_FILE_TMPDIR HELM_DATA_HOME=$BATS_FILE_TMPDIR
	export PATH=$PWD/bin/tools:$PATH
	touch "$BATS_FILE_TMPDIR/began"
	fresh $NS
	keep_logs
	fake PUT 'object?name=kept&version=v1' c4n4ry-helm
	objects kept | class $NS kept e2e-provider
	node=$NODE_1 pod $NS one kept
	node=$NODE_2 pod $NS two kept
	for name in one two; do ready $NS $name; done
	look >"$BATS_FILE_TMPDIR/look"
	earlier
}

# Each step is tried also when one before it failed, so that the next suites have our driver.
teardown_file() {
	[ -e "$BATS_FILE_TMPDIR/began" ] || return 0
	local code=0 release
	keep_logs
	for release in strongroom csi-secrets-store; do helm uninstall $release -n kube-system --ignore-not-found --wait || code=1; done
	helm uninstall strongroom -n $ELSEWHERE --ignore-not-found --wait || code=1
	kubectl -n kube-system delete daemonset $UPSTREAM --ignore-not-found --cascade=foreground --timeout=60s || code=1
	unmarked || code=1
	(. test/ground.sh && ground_install "${INSTALLED:-manifests/overlays/test}") || code=1
	drop $NS $ELSEWHERE || code=1
	fake DELETE 'object?name=kept' || code=1
	rm -rf "$STRONGROOM_RUN"/node-*/lib/strongroom-upstream
	return $code
}

# earlier: a checkout with a chart as an earlier version would have been: its CRD has
# another short name, and its pods differ. No version is released yet; its
# chart is to take this one's place.
earlier() {
	local chart=$BATS_FILE_TMPDIR/earlier/charts/strongroom file
	mkdir -p "${chart%/*}"
	cp -r charts/strongroom "$chart"
	sed -i 's/^version: .*/version: 0.0.1/' "$chart/Chart.yaml"
	for file in "$chart"/files/base/crds/*secretproviderclasses.yaml; do
		kubectl create --dry-run=client -o json -f "$file" | jq '.spec.names.shortNames = ["earlier"]' >"$file.json"
		mv "$file.json" "$file"
	done
	sed -i 's/^        kubectl.kubernetes.io\/default-container: .*/&\n        earlier: "yes"/' "$chart/files/base/daemonset.yaml"
}

# section NAME: the commands under that heading of the page.
section() {
	awk -v want="## $1" '/^## / { on = $0 == want } on' $PAGE >"$BATS_TEST_TMPDIR/section.md"
	test/blocks "$BATS_TEST_TMPDIR/section.md" >"$BATS_TEST_TMPDIR/section.sh"
}

# tells FOLDER NAME: the commands of that section work there.
tells() {
	section "$2"
	(cd "$1" && bash -e -o pipefail "$BATS_TEST_TMPDIR/section.sh") || { kubectl get pods -A -l app=secrets-store-csi-driver; return 1; }
}

# look: the pods, their restarts, and their files as they see them.
look() {
	local name
	kubectl -n $NS get pods one two -o json | jq -r '.items[] | "\(.metadata.name) \(.metadata.uid) \(.status.containerStatuses[0].restartCount)"'
	for name in one two; do inside $NS $name sh -c 'stat -c "%n %i %s %Y %a" /mnt/0/..data/* && readlink /mnt/0/..data && cat /mnt/0/kept'; done
}

unharmed() { diff <(look) "$BATS_FILE_TMPDIR/look"; }

# starts NAME: a new pod gets its files.
starts() {
	pod $NS "$1" kept
	ready $NS "$1"
	shows $NS "$1" /mnt/0/kept c4n4ry-helm
	kubectl -n $NS delete pod "$1" --wait=false
}

# short_names: those of classes, by their CRD.
short_names() { kubectl get crd $CRD -o jsonpath='{.spec.names.shortNames}'; }

# is_earlier: the earlier version runs.
is_earlier() { [ "$(kubectl -n kube-system get daemonset csi-secrets-store -o jsonpath='{.spec.template.metadata.annotations.earlier}')" = yes ]; }

# upstream_module: where the source of the upstream driver is.
upstream_module() { (cd test/upstream && GOWORK=off GOPROXY=off go list -m -f '{{.Dir}}' sigs.k8s.io/secrets-store-csi-driver); }

# unmarked: the CRDs belong to no release.
unmarked() {
	local crds
	crds=$(kubectl get crd -o name | grep secrets-store.csi.x-k8s.io) || return
	# shellcheck disable=SC2086
	kubectl annotate $crds meta.helm.sh/release-name- meta.helm.sh/release-namespace- helm.sh/resource-policy- argocd.argoproj.io/sync-options-
	# shellcheck disable=SC2086
	kubectl label $crds app.kubernetes.io/{managed-by,instance,name,version}- helm.sh/chart-
}

# upstream_crds: the CRDs are upstream's own, as its release leaves them; where its module
# cannot be had, ours without the marks of a release.
upstream_crds() {
	local dir
	unmarked
	dir=$(upstream_module) && [ -n "$dir" ] || return 0
	kubectl replace -f "$dir/charts/secrets-store-csi-driver/crds"
	[ -z "$(short_names)" ]
}

@test "every command of the page says whether it is run, and is below a heading that is tried here" {
	local name
	for name in Install Upgrade 'Roll back' Uninstall "From upstream's chart"; do
		section "$name"
		cat "$BATS_TEST_TMPDIR/section.sh"
	done >"$BATS_TEST_TMPDIR/tried"
	test/blocks $PAGE >"$BATS_TEST_TMPDIR/page"
	diff <(grep -v '^echo "== ' "$BATS_TEST_TMPDIR/tried") <(grep -v '^echo "== ' "$BATS_TEST_TMPDIR/page")
}

@test "what kustomize installed is not taken by accident" {
	run helm install strongroom charts/strongroom -n kube-system
	[ "$status" != 0 ]
	[[ $output == *'invalid ownership metadata'* ]] || [[ $output == *'cannot be imported'* ]]
	unharmed
}

@test "tokens go where the oldest kubelet puts them" {
	local chart=$BATS_TEST_TMPDIR/chart
	field() { helm template strongroom "$1" -n kube-system --dry-run=server --take-ownership --set providers.vault.enabled=true | grep -o 'serviceAccountTokenInSecrets: .*'; }
	[ "$(field charts/strongroom)" = 'serviceAccountTokenInSecrets: true' ]
	# All nodes here are new, so the chart is told that they are not.
	cp -r charts/strongroom "$chart"
	sed -i 's/">=1.35.0" $kubelet/">=1.99.0" $kubelet/' "$chart/templates/csidriver.yaml"
	[ "$(field "$chart")" = 'serviceAccountTokenInSecrets: false' ]
}

@test "the installation of the page takes it over, here by an earlier chart" {
	tells "$BATS_FILE_TMPDIR/earlier" Install
	is_earlier
	[[ $(short_names) == *earlier* ]]
	unharmed
	starts by-earlier
}

@test "the upgrade of the page upgrades CRDs and driver" {
	tells . Upgrade
	run is_earlier
	[ "$status" != 0 ]
	[[ $(short_names) == *spc* ]]
	unharmed
	starts by-upgraded
}

@test "the rollback of the page brings the earlier driver back" {
	tells . 'Roll back'
	is_earlier
	unharmed
}

@test "the end of the page leaves CRDs, classes and the files of pods" {
	tells . Uninstall
	absent -n kube-system daemonset csi-secrets-store
	absent csidriver secrets-store.csi.k8s.io
	absent clusterrole secretproviderclasses-role
	kubectl -n $NS get secretproviderclass kept
	unharmed
}

@test "it is installed in another namespace over CRDs of upstream, and over its roles" {
	upstream_crds
	kubectl create clusterrole secretproviderclasses-role --verb=get --resource=pods
	kubectl create namespace $ELSEWHERE --dry-run=client -o yaml | kubectl apply -f -
	run helm install strongroom charts/strongroom -n $ELSEWHERE --set crds.install=false
	[ "$status" != 0 ]
	[[ $output == *secretproviderclasses-role* ]]
	helm install strongroom charts/strongroom -n $ELSEWHERE --set crds.install=false --take-ownership --force-conflicts --wait --timeout 5m
	[ "$(kubectl get validatingadmissionpolicy secrets-store-csi-driver-podstatuses -o json | grep -c "serviceaccount:$ELSEWHERE:")" = 1 ]
	unharmed
	pod $NS elsewhere kept
	ready $NS elsewhere
	eventually 90 kubectl -n $NS get secretproviderclasspodstatus elsewhere-$NS-kept # the policies know the driver
	kubectl -n $NS delete pod elsewhere --wait=false
	# A second driver does not come beside it.
	run helm install second charts/strongroom -n kube-system --set crds.install=false --take-ownership
	[ "$status" != 0 ]
	[[ $output == *"$ELSEWHERE/csi-secrets-store is a driver already"* ]]
	helm uninstall strongroom -n $ELSEWHERE --wait
}

@test "a release of upstream's driver becomes ours, as the page tells" {
	local programs lib chart=$BATS_FILE_TMPDIR/upstream dir
	[ -n "$STRONGROOM_RUN" ] && [ "$KUBECONFIG" = "$STRONGROOM_RUN/kubeconfig" ] || skip 'needs the nodes of the test ground'
	programs=$(test/upstream/build) && dir=$(upstream_module) || skip 'NOT SHOWN: the module of the upstream driver cannot be had here'
	for lib in "$STRONGROOM_RUN"/node-*/lib; do
		mkdir -p "$lib/strongroom-upstream"
		cp "$programs/registrar" "$programs/secrets-store-csi-driver" "$lib/strongroom-upstream/"
	done
	# Upstream's chart as far as it matters: its CRDs, names, selector, and its driver.
	mkdir -p "$chart/templates"
	printf '{apiVersion: v2, name: secrets-store-csi-driver, version: 1.6.0}' >"$chart/Chart.yaml"
	cp -r "$dir/charts/secrets-store-csi-driver/crds" "$chart/"
	chmod -R u+w "$chart" # modules are read-only
	sed -e "s/name: csi-secrets-store, /name: $UPSTREAM, /" -e 's/app: csi-secrets-store/app: secrets-store-csi-driver/' test/upstream/driver.yaml >"$chart/templates/driver.yaml"
	cat >"$chart/templates/rest.yaml" <<-END
		{apiVersion: v1, kind: ServiceAccount, metadata: {name: secrets-store-csi-driver, namespace: kube-system}}
		---
		apiVersion: rbac.authorization.k8s.io/v1
		kind: ClusterRoleBinding
		metadata: {name: secretproviderclasses-rolebinding}
		roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: secretproviderclasses-role}
		subjects: [{kind: ServiceAccount, name: secrets-store-csi-driver, namespace: kube-system}]
		---
		apiVersion: storage.k8s.io/v1
		kind: CSIDriver
		metadata: {name: secrets-store.csi.k8s.io}
		spec: {podInfoOnMount: true, attachRequired: false, volumeLifecycleModes: [Ephemeral], requiresRepublish: true}
	END
	# By the way of Helm 3, with which most releases of it were made.
	helm install csi-secrets-store "$chart" -n kube-system --set enableSecretRotation=true --set linux.registrar.logVerbosity=5 --server-side=false --take-ownership --wait --timeout 5m
	[ "$(kubectl -n kube-system get daemonset $UPSTREAM -o jsonpath='{.spec.template.spec.containers[*].name}')" = 'node-driver-registrar secrets-store' ]

	tells . "From upstream's chart"
	[ "$(kubectl -n kube-system get daemonset $UPSTREAM -o jsonpath='{.spec.template.spec.containers[*].name}')" = secrets-store ]
	[ "$(kubectl -n kube-system get daemonset -l app=secrets-store-csi-driver -o name)" = "daemonset.apps/$UPSTREAM" ]
	kubectl -n kube-system get daemonset $UPSTREAM -o jsonpath='{.spec.template.spec.containers[0].args}' | grep -q -e --enable-secret-rotation=true
	[[ $(short_names) == *spc* ]]
	unharmed
	starts by-ours
}
