# Everything that is done to this repository, by name. "make" explains.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

ARCH ?= $(shell go env GOARCH)
TAG ?= dev
# What binaries say of themselves. Without git, of a tarball for instance, set them; an empty one says nothing.
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null)
COMMIT ?= $(shell git rev-parse HEAD 2>/dev/null)
DATE ?= $(shell TZ=UTC0 git log -1 --format=%cd --date=format-local:%Y-%m-%dT%H:%M:%SZ 2>/dev/null)
STAMP = -s -w $(foreach n,Version Commit Date,-X github.com/strongroom/strongroom/provider.linked$(n)=$($(shell echo $(n) | tr a-z A-Z)))
REGISTRY ?= strongroom
RELEASE ?= bin/release
FUZZTIME ?= 30s
SOAK ?= 30m
BIN := bin/linux
TOOLS := $(CURDIR)/bin/tools
LINT := $(TOOLS)/golangci-lint
HELM := $(TOOLS)/helm
CHART := charts/strongroom
# Modules that people write code in; those that only build other projects are not among them.
MODULES := . tools test

# One clock for all steps, also those of a make within a make.
ifndef STEPS_START
export STEPS_START := $(shell date +%s)
endif

.PHONY: help
help: ## explain the targets
	@echo 'make TARGET, where TARGET is one of'
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | while IFS=$$'\t' read -r name text; do printf '  %-11s %s\n' "$$name" "$$text"; done
	@echo 'Variables: ARCH (of binaries and images, $(ARCH)), TAG (of images, $(TAG)), KEEP=1 (make demo leaves everything running),'
	@echo 'FUZZTIME (of each target of make fuzz, $(FUZZTIME)), KUBECONFIG (make e2e and make demo use that cluster instead of one of their own).'

##### build

.PHONY: build
build: ## build the static binaries into bin/linux
	@mkdir -p $(BIN)
	CGO_ENABLED=0 GOOS=linux GOARCH=$(ARCH) go build -trimpath -buildvcs=false -ldflags '$(STAMP)' -o $(BIN)/ ./cmd/driver ./cmd/provider-vault ./cmd/provider-azure ./cmd/strongroomctl ./provider/providertest/fakeprovider

.PHONY: images
images: build $(TOOLS)/.built ## write an image of each binary as bin/images/NAME.tar
	@[ -s /etc/ssl/certs/ca-certificates.crt ] || test/packages ca-certificates
	@mkdir -p bin/images
	$(TOOLS)/image --arch $(ARCH) --binary $(BIN)/driver --entrypoint /secrets-store-csi --tag strongroom/driver:$(TAG) --user 0 --out bin/images/driver.tar
	$(TOOLS)/image --arch $(ARCH) --binary $(BIN)/provider-vault --entrypoint /provider-vault --tag strongroom/provider-vault:$(TAG) --user 0 --out bin/images/provider-vault.tar
	$(TOOLS)/image --arch $(ARCH) --binary $(BIN)/provider-azure --entrypoint /provider-azure --tag strongroom/provider-azure:$(TAG) --user 0 --out bin/images/provider-azure.tar
	$(TOOLS)/image --arch $(ARCH) --binary $(BIN)/fakeprovider --entrypoint /fakeprovider --tag strongroom/fakeprovider:$(TAG) --user 0 --out bin/images/fakeprovider.tar

.PHONY: chart
chart: $(HELM) ## write the chart into bin/charts; TAG=v1.2.3 is its version, too
	@mkdir -p bin/charts
	$(HELM) package $(CHART) --version $(if $(filter v%,$(TAG)),$(TAG:v%=%),0.0.0-$(TAG)) --app-version $(TAG) --destination bin/charts

.PHONY: release
release: $(HELM) ## write all that makes a version into bin/release: images, archives, chart, manifests, checksums; VERSION, REGISTRY
	@[ -s /etc/ssl/certs/ca-certificates.crt ] || test/packages ca-certificates
	@mkdir -p $(TOOLS)
	cd tools && CGO_ENABLED=0 go build -o $(TOOLS)/ ./release
	$(TOOLS)/release --version '$(VERSION)' --commit '$(COMMIT)' --date '$(DATE)' --registry '$(REGISTRY)' \
		$(if $(PLATFORMS),--platforms '$(PLATFORMS)') --out '$(RELEASE)'

.PHONY: generate
generate: $(TOOLS)/.built ## make the generated code and CRDs again
	$(TOOLS)/protoc -plugins $(TOOLS)/protoc-gen-go,$(TOOLS)/protoc-gen-go-grpc provider/v1alpha1/service.proto provider/volumes/v1/volumes.proto
	$(TOOLS)/controller-gen object paths=./api/...
	$(TOOLS)/controller-gen crd paths=./api/... output:crd:dir=manifests/base/crds
	@$(MAKE) --no-print-directory chart-files

# What the chart takes from the manifests, see docs/adr/0022-helm-chart.md.
.PHONY: chart-files
chart-files:
	@rm -rf $(CHART)/files && mkdir $(CHART)/files
	@cd manifests && cp --parents base/crds/*.yaml base/{csidriver,daemonset,policy,rbac}.yaml \
		components/{provider-azure,provider-vault}/daemonset.yaml components/{provider-vault,sync-secrets}/{policy,rbac}.yaml \
		components/provider-vault-token-request/rbac.yaml components/network-policy/network-policy.yaml \
		monitoring/{podmonitor,prometheusrule}.yaml ../$(CHART)/files

.PHONY: fmt
fmt: $(LINT) ## format the code
	@for m in $(MODULES); do (cd $$m && $(LINT) fmt -c $(CURDIR)/.golangci.yml ./...) || exit 1; done

.PHONY: tools
tools: $(TOOLS)/.built $(LINT) $(HELM) ## build the pinned tools into bin/tools

$(TOOLS)/.built: tools/go.mod tools/go.sum $(wildcard tools/*/*.go tools/*/*/*.go)
	@mkdir -p $(TOOLS)
	cd tools && GOBIN=$(TOOLS) CGO_ENABLED=0 go install tool ./protoc ./image ./testsum
	@touch $@

# Its first build takes minutes; the build cache keeps it for other checkouts.
$(LINT): tools/lint/go.mod tools/lint/go.sum
	@mkdir -p $(TOOLS)
	cd tools/lint && GOBIN=$(TOOLS) CGO_ENABLED=0 go install tool
	@touch $@

# So does Helm's.
$(HELM): tools/helm/go.mod tools/helm/go.sum
	@mkdir -p $(TOOLS)
	cd tools/helm && GOBIN=$(TOOLS) CGO_ENABLED=0 go install tool

##### check

.PHONY: lint
lint: $(LINT) $(HELM) ## run the linters over all modules and the chart
	@for m in $(MODULES); do echo "golangci-lint in $$m"; (cd $$m && $(LINT) run -c $(CURDIR)/.golangci.yml --build-tags attack,sanity,node ./...) || exit 1; done
	$(HELM) lint --strict $(CHART)

.PHONY: vet
vet: ## vet the product for Windows; "make release" compiles it for all platforms
	GOOS=windows GOARCH=amd64 go vet ./...

.PHONY: check
check: $(TOOLS)/.built $(LINT) $(HELM) ## unit tests with the race detector and the linters; needs no root
	@rm -f bin/results
	@test/step 'unit tests, race detector' test/unit unit . -race -short ./...
	@test/step 'linters' $(MAKE) --no-print-directory lint

.PHONY: test
test: ## everything: check, root tests, generated files, tools, then bats on a real node
	@rm -f bin/results
	@test/step 'tools' $(MAKE) --no-print-directory tools
	@test/step 'Kubernetes and Vault, unless they are cached' $(MAKE) --no-print-directory ground
	@test/step 'generated files' test/generated
	@test/step 'go.mod files' $(MAKE) --no-print-directory tidy-check
	@test/step 'programs that tests run' test/packages openssl
	@test/step 'unit and root tests, race detector' test/unit unit . -race -count=1 ./...
	@test/step 'tests of the tools' test/unit tools tools ./...
	@test/step 'linters' $(MAKE) --no-print-directory lint
	@test/step 'vet for Windows' $(MAKE) --no-print-directory vet
	@test/step 'a release for one platform' $(MAKE) --no-print-directory release VERSION=v0.0.0-check PLATFORMS=linux/$(ARCH) RELEASE=bin/release-check
	@test/step 'known vulnerabilities' test/vulnerabilities
	@test/step 'tests of the test ground' test/unit ground test -tags node -count=1 ./...
	@test/step 'CSI conformance' $(MAKE) --no-print-directory sanity
	@test/step 'attack' $(MAKE) --no-print-directory attack
	@$(MAKE) --no-print-directory e2e
	@test/step 'bats where owners are guarded' env QUIET=1 ADMISSION=OwnerReferencesPermissionEnforcement test/e2e.sh test/bats/confine.bats -f 'owner|record|handed over|SyncedSecret|from its class|stolen token can do'
	@echo; echo 'Results:'; cat bin/results

.PHONY: fuzz
fuzz: ## run every fuzz target of the repository, FUZZTIME each
	@test/step 'fuzz targets' env FUZZTIME=$(FUZZTIME) test/fuzz

.PHONY: tidy-check
tidy-check:
	@for m in $(MODULES); do (cd $$m && go mod tidy -diff) || exit 1; done

.PHONY: e2e
e2e: $(TOOLS)/.built ## the bats suite on a real node, a real Vault and an Azure of tests
	@test/step 'images' $(MAKE) --no-print-directory images
	@test/step 'bats on a real node' test/e2e.sh

.PHONY: ground
ground: ## build Kubernetes, Vault and the upstream driver into the cache, a quarter of an hour the first time
	cd test && CGO_ENABLED=0 go build -o ../bin/ground/ ./cluster ./vault
	bin/ground/cluster build
	bin/ground/vault build
	@test/upstream/build >/dev/null || [ $$? = 3 ] # without its module, takeover.bats is skipped and says so

.PHONY: demo
demo: ## show a pod that reads its secret from a real Vault; KEEP=1 leaves it running
	@test/step 'images' $(MAKE) --no-print-directory images
	@test/step 'demo' test/demo.sh

.PHONY: recording
recording: ## run the demo, and write what it prints into docs/recording.md
	@test/step 'images' $(MAKE) --no-print-directory images
	@test/step 'recording' test/recording.sh

.PHONY: attack
attack: build $(TOOLS)/.built ## kill the driver at every system call and at random; ATTACK_LONG=1 for more, ATTACK_RANDOM=N kills
	@rm -f bin/attack.log
	@ATTACK_LOG=$(CURDIR)/bin/attack.log test/unit attack test -tags attack -count 1 -timeout 60m ./attack
	@grep -E 'points, killed at|kills within' bin/attack.log; echo "each point: bin/attack.log, $$(grep -c ': killed at' bin/attack.log) lines"

.PHONY: sanity
sanity: build $(TOOLS)/.built ## the conformance suite of CSI against the driver
	@test/unit sanity test -tags sanity -count 1 ./sanity

.PHONY: bench
bench: build ## rates, latencies and memory of the driver beside the aims; BENCH='-volumes 300 -rounds 5'
	cd test && CGO_ENABLED=0 go build -o ../bin/ground/ ./bench ./vault
	@bin/ground/bench $(BENCH)

.PHONY: bench-scale
bench-scale: build ## what grows with volumes, with other nodes' objects and with nodes that watch; BENCH='-less 50' for less of the latter
	cd test && CGO_ENABLED=0 go build -o ../bin/ground/ ./bench
	@bin/ground/bench -only scale $(BENCH)

.PHONY: soak
soak: $(TOOLS)/.built ## let pods come and go on a real node for SOAK (30m), and judge whether anything grows or is left
	@test/step 'images' $(MAKE) --no-print-directory images
	@test/step 'soak' env SOAK=$(SOAK) test/soak/run

.PHONY: clean
clean: ## remove what was built here; caches outside the checkout stay
	rm -rf bin
