# The few commands of a developer's day; each sets up what it needs and says so.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VENV := .venv
COLLECTIONS := .ansible/collections
export ANSIBLE_HOME := $(CURDIR)/.ansible
export ANSIBLE_COLLECTIONS_PATH := $(CURDIR)/$(COLLECTIONS)
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.PHONY: help
help: ## Show these lines
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 22

# The virtual environment, from the newest Python that works here, and the checkout under the name that Ansible looks for.
.PHONY: setup
setup: $(COLLECTIONS)/ansible_collections/bulkhead/docker ## Make the virtual environment
	@tools/venv $(VENV)

$(COLLECTIONS)/ansible_collections/bulkhead/docker:
	@mkdir -p $(dir $@) && ln -sfn $(CURDIR) $@

.PHONY: demo
demo: setup ## Three real engines of different Docker generations, secured and listed
	@tools/demo

.PHONY: demo-clean
demo-clean: setup ## Take the demo away again
	@tools/demo clean

# Hosts to develop and test on, as containers of an engine on this machine: docs/lab.md.
.PHONY: engine
engine: ## Start a Docker engine for the lab where none answers
	@tools/outer-engine

.PHONY: images
images: engine ## Build the lab's host images, or some of them: RELEASES="12 13"
	@molecule/shared/images/build $(RELEASES)

LAB := ANSIBLE_LOCALHOST_WARNING=false ANSIBLE_INVENTORY_UNPARSED_WARNING=false ansible-playbook -e @molecule/shared/vars/dev.yml

.PHONY: lab
lab: setup ## Start one host of every kind: ansible -i .lab/dev/inventory.yml all -m ping
	@$(LAB) molecule/shared/create.yml

.PHONY: lab-destroy
lab-destroy: setup ## Remove the hosts of `make lab`
	@$(LAB) molecule/shared/destroy.yml

# Molecule's advice on other layouts and its frame around every line are of no use here; a scenario's inventory exists once it is created.
.PHONY: molecule
molecule: export MOLECULE_GLOB := molecule/*/molecule.yml
molecule: export MOLECULE_COMMAND_BORDERS := false
molecule: export MOLECULE_ANSIBLE_ARGS_STRICT_MODE := true
molecule: setup ## Test in the lab: SCENARIO=lab (default: every scenario), DO=converge|verify|destroy (default: test)
	@molecule $(or $(DO),test) $(if $(SCENARIO),-s $(SCENARIO),--all)

.PHONY: bench
bench: setup ## What the playbooks cost against a script by hand: RUNS=3 ENGINES="4 12"
	@tools/bench $(if $(RUNS),--runs $(RUNS)) $(if $(ENGINES),--engines $(ENGINES))

# The stages of `make test`, alone and together; each step's output is in .cache/test/.
.PHONY: lint unit package sanity scenarios
lint: setup ## Style, types, shell scripts, ansible-lint, documentation, changelog
	@tools/check lint
unit: setup ## Unit tests
	@tools/check unit
package: setup ## The tarball builds, installs, passes Galaxy's importer, and holds nothing of a developer's
	@tools/check package
sanity: setup ## ansible-test sanity on what the tarball installs
	@tools/check package sanity
scenarios: setup ## The scenarios of `make test`, in the lab
	@tools/check scenarios

.PHONY: test
test: setup ## Everything that CI runs, with the scenarios in the lab
	@tools/check

.PHONY: test-all
test-all: setup ## The same on every host, what is slow, and again on every ansible-core that is supported
	@tools/check all slow matrix
