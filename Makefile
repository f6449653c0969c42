# Every daily command. Recipes are one line; the story is in `soakbed --help`.
TESTBED  ?= infra/testbeds/local-4x.json
WORKLOAD ?= loadgen/workloads/quick.yaml
TARGETS  ?= etcd redis_cluster tikv
PROFILE  ?= tuned
RUN      ?= latest
SECONDS  ?= 60
SOAKBED   = .venv/bin/soakbed
ON        = --testbed $(TESTBED)
WHAT      = --workload $(WORKLOAD) --targets "$(TARGETS)" --profile $(PROFILE)

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup setup-dev provision calibrate bench teardown reap status resume report soak attach stop test \
        check engine-bench fuzz docs lock

help: ## Show this list
	@awk -F ':.*## ' '/^## /{printf "\n%s\n", substr($$0,4)} \
	  /^[a-z][a-z-]*:.*## /{printf "  %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

## The main job, in this order, also on one command line
setup: ## Install what the controller needs, build the host image, fetch the artifacts
	@infra/controller/bootstrap.sh run && $(SOAKBED) setup $(ON) --targets "$(TARGETS)"

provision: ## Make the hosts of TESTBED and prepare them
	@infra/controller/bootstrap.sh run && $(SOAKBED) provision $(ON) --profile $(PROFILE)

calibrate: ## Measure what the load hosts can do at most; runs that ask for over 70 % of it are warned of
	@infra/controller/bootstrap.sh run && $(SOAKBED) calibrate $(ON) --workload $(WORKLOAD) --profile $(PROFILE)

bench: ## Press each of TARGETS with WORKLOAD, judge, write the page (provisions what is missing)
	@infra/controller/bootstrap.sh run && $(SOAKBED) bench $(ON) $(WHAT)

teardown: ## Unmake TESTBED and prove that nothing is left; results/ stays
	@infra/controller/bootstrap.sh run && $(SOAKBED) teardown $(ON)

reap: ## What testbeds have left on AWS; with TESTBED=file that one's alone; YES=1 removes it (else nothing is)
	@infra/controller/bootstrap.sh run && $(SOAKBED) reap $(if $(filter-out file,$(origin TESTBED)),$(ON)) $(if $(YES),--yes)

## While it runs, and after
status: ## Say what is up, what runs, and what has finished
	@infra/controller/bootstrap.sh run && $(SOAKBED) status $(ON)

resume: ## Go on with an interrupted run: make resume RUN=<run_id> (default: the unfinished one)
	@infra/controller/bootstrap.sh run && $(SOAKBED) resume $(if $(filter latest,$(RUN)),,$(RUN))

report: ## Judge again and write the page again, from the archive alone: make report RUN=<run_id>
	@infra/controller/bootstrap.sh run && $(SOAKBED) report $(RUN)

soak: ## The same flow for 72 hours, whoever is away (WORKLOAD defaults to soak-72h; DETACH=1: in the background)
	@infra/controller/bootstrap.sh run && $(SOAKBED) soak $(ON) --targets "$(TARGETS)" --profile $(PROFILE) --workload $(if $(filter-out file,$(origin WORKLOAD)),$(WORKLOAD),loadgen/workloads/soak-72h.yaml) $(if $(DETACH),--detach)

attach: ## Look on live; Ctrl-C only detaches
	@infra/controller/bootstrap.sh run && $(SOAKBED) attach

stop: ## End the load in an orderly way: evidence kept, judged over what there is
	@infra/controller/bootstrap.sh run && $(SOAKBED) stop

## Every day, for those who change soakbed
test: ## All tests: unit, contract, integration, and end to end on a local testbed
	@infra/controller/bootstrap.sh dev && .venv/bin/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder

check: ## Format, lint, types, import layers, roles, Terraform
	@infra/controller/bootstrap.sh dev && .venv/bin/python -m tests.check

engine-bench: ## The engine beside redis-benchmark, grpcio and Locust, as ratios in one run (7 minutes and more)
	@infra/controller/bootstrap.sh dev && .venv/bin/python -m tests.benchmarks.engine_bench

fuzz: ## Coverage-guided fuzzing of the wire code: make fuzz SECONDS=60 (each target; needs atheris)
	@infra/controller/bootstrap.sh dev && .venv/bin/python -m tests.fuzz --seconds $(SECONDS)

docs: ## Renew the generated parts of the documentation
	@infra/controller/bootstrap.sh dev && .venv/bin/python -m soakbed.report.readme

lock: ## Renew requirements/*.lock from pyproject.toml
	@infra/controller/bootstrap.sh dev && .venv/bin/python -m tests.lock
