# Everything here needs Go, git and make, and nothing else, but `make e2e`. `make` alone prints what there is.
#
# There are three tiers of tests:
#   make test           the quick tier, go test's own -short: every package, real API servers, no repetition
#   make test-all       adds what looks at testing.Short(): a fault at every request, repeated races
#   make test-extended  adds what has the build tag "extended", and the benchmarks with 10,000 members: more of the same,
#                       every fault at every request, all platforms
# A test of the quick tier leaves something out with `if testing.Short() { t.Skip(...) }`; nothing else may skip.
# TESTFLAGS adds flags to all, PKG narrows them: make test PKG=./pkg/rules TESTFLAGS='-run TestReserved -v'.

GO        ?= go
# What takes longest begins first, so that everything else runs beside it.
PKG       ?= ./test/integration/... ./test/script ./...
TESTFLAGS ?=
DIST      ?= dist
FUZZTIME  ?= 10m
# The image's repository, and when it is said to be made, in seconds since 1970.
IMAGE     ?= kubefederate/manager
SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 0)
# What image-load loads into: kind (the cluster KIND_CLUSTER) or containerd.
RUNTIME   ?= $(shell command -v kind >/dev/null && echo kind || { command -v ctr >/dev/null && echo containerd; })
KIND_CLUSTER ?= kind
VERSION   ?= $(shell git describe --tags --match 'v[0-9]*' --dirty 2>/dev/null || echo v0.0.0-dev)

module     := github.com/kubefederate/kubectl-federate
buildflags := -trimpath -buildvcs=false -ldflags "-s -w -X $(module)/pkg/version.Version=$(VERSION)"
# So many packages at a time, unless a tier says otherwise: an integration test runs several API servers.
packages   := 2
gotest      = $(GO) test -count=1 -p $(packages)
# The packer of the image, and the tests of alerts and dashboard, are modules of their own with tests, which PKG leaves out.
imagetool  := test/tools/image
monitoring := test/tools/monitoring
tooltests   = $(if $(filter file,$(origin PKG)),$(foreach tool,$(imagetool) $(monitoring),$(GO) -C $(tool) test -count=1 $(1) $(TESTFLAGS) . &&) true)

controllergen := $(GO) tool -modfile=test/tools/go.mod controller-gen
golangcilint  := $(GO) tool -modfile=test/tools/golangci-lint/go.mod golangci-lint

.PHONY: help
help: ## Print this list
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

.PHONY: build
build: ## Build bin/kubectl-federate and bin/manager
	CGO_ENABLED=0 $(GO) build $(buildflags) -o bin/ ./cmd/kubectl-federate ./cmd/manager

.PHONY: controlplane
controlplane: ## Build etcd, kube-apiserver, kube-controller-manager and kubectl for the tests, once per machine
	@$(GO) run ./test/env/assets

.PHONY: test
test: packages := 3
test: controlplane ## Run the quick tier of the tests
	$(call tooltests,-short)
	$(gotest) -short -timeout 20m $(TESTFLAGS) $(PKG)

.PHONY: controlplanes
controlplanes: ## Build what runs the oldest releases of Kubernetes, and nodes, too
	@$(GO) run ./test/env/assets -all

# Runs make e2e where this machine can.
define e2ehere
@if [ "$$(id -u)" = 0 ] && command -v containerd >/dev/null; then $(MAKE) e2e; \
else echo "make e2e is left out: it takes Linux, root and Debian's containerd" >&2; fi
endef

.PHONY: test-all
test-all: controlplanes ## Run all tests; those on nodes (make e2e) where this machine can
	$(call tooltests)
	$(gotest) -timeout 60m $(TESTFLAGS) $(PKG)
	$(if $(filter file,$(origin PKG)),$(e2ehere))

.PHONY: e2e
e2e: controlplane ## Run the manager as shipped on real nodes: takes Linux, root and Debian's containerd, runc, containernetworking-plugins, iproute2, iptables
	$(GO) test -tags e2e -count=1 -timeout 20m $(TESTFLAGS) ./test/e2e

.PHONY: test-extended
test-extended: controlplanes ## Run all tests, with more repetitions, and the benchmarks: hours, for a release and by hand
	$(call tooltests)
	$(gotest) -tags extended -timeout 180m $(TESTFLAGS) $(PKG)
	$(e2ehere)
	$(MAKE) bench

# Making inputs smaller would else take most of the time: coverage of one input differs from run to run.
.PHONY: fuzz
fuzz: ## Fuzz every target in turn, each for FUZZTIME (10m)
	@grep -rl --include='*_test.go' '^func Fuzz' . | sort | while read -r file; do \
		for target in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' "$$file"); do \
			echo "$$file: $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 20x $(TESTFLAGS) "$$(dirname "$$file")" || exit 1; \
		done; \
	done

.PHONY: lint
lint: ## Run the linters
	$(golangcilint) run
	cd $(imagetool) && $(GO) tool -modfile=../golangci-lint/go.mod golangci-lint run
	cd $(monitoring) && $(GO) tool -modfile=../golangci-lint/go.mod golangci-lint run
	cd test/consumer && $(GO) tool -modfile=../tools/golangci-lint/go.mod golangci-lint run

.PHONY: fix
fix: ## Apply what the linters can mend by themselves
	$(golangcilint) run --fix

.PHONY: verify
verify: ## Check that formatting, generated files and go.mod files are up to date, editing nothing
	$(GO) run ./test/verify

.PHONY: generate
generate: manifests ## Write every generated file
	$(controllergen) object paths=./pkg/apis/...

.PHONY: manifests
manifests: ## Write the CustomResourceDefinitions from the API types
	$(controllergen) crd paths=./pkg/apis/... output:crd:dir=manifests/crd

.PHONY: demo
demo: build controlplane ## Show the product in two minutes, on real API servers
	$(GO) run ./test/demo

.PHONY: playground
playground: build controlplane ## Start the demo's clusters, keep them, and print how to use them
	$(GO) run ./test/demo -keep

.PHONY: bench
bench: controlplane ## Measure judging, start-up, joins and discovery of many clusters, what admission costs, a manager with 10,000 members and a discovery controller with 1,000 clusters
	$(GO) test -run '^$$' -bench . -timeout 10m $(TESTFLAGS) ./pkg/check ./pkg/discover ./pkg/rules
	$(GO) test -tags extended -run '^$$' -bench . -benchtime 30x -timeout 2h $(TESTFLAGS) ./test/bench

.PHONY: krew
krew: ## Build the archives and the krew manifest for six platforms into dist/; init installs RELEASED_IMAGE, an image by digest
	$(GO) run ./test/krew/pack -version $(VERSION) -image "$(RELEASED_IMAGE)" -out $(DIST)

packimage = $(GO) -C $(imagetool) run . -source $(CURDIR) -out $(abspath $(DIST)) -name $(IMAGE) -version $(VERSION) \
	-created $(SOURCE_DATE_EPOCH) -revision "$$(git rev-parse HEAD 2>/dev/null)"

.PHONY: image
image: ## Build the manager's image for linux/amd64 and linux/arm64 into dist/, as an OCI archive, with its digest and SBOM
	$(packimage)

.PHONY: image-push
image-push: ## Build the image, push it to IMAGE, a repository of a registry, and its SBOM as a referrer
	$(packimage) -push

.PHONY: image-load
image-load: image ## Load the image into a kind cluster (KIND_CLUSTER) or containerd, by RUNTIME=kind or containerd
	@archive=$(DIST)/manager-image_$$(echo '$(VERSION)' | tr + _).tar; case '$(RUNTIME)' in \
	kind) kind load image-archive "$$archive" --name $(KIND_CLUSTER) ;; \
	containerd) ctr --namespace k8s.io images import "$$archive" ;; \
	*) echo "error: neither kind nor ctr is on PATH, so there is nothing to load $$archive into; set RUNTIME=kind or RUNTIME=containerd where one of them is" >&2; exit 1 ;; \
	esac

.PHONY: clean
clean: ## Remove bin/ and dist/
	rm -rf bin dist
