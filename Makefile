# `make run` for the default study and its report, `make real` for a real language model, `make test` for the tests.
# PYTHON must be 3.11 or newer; ARGS goes to Snakemake (make run ARGS="--configfile my.yaml").

PYTHON ?= python3
CORES ?= $(shell nproc 2>/dev/null || sysctl -n hw.ncpu)
VENV := .venv
BIN := $(VENV)/bin
# Two lines that stay, instead of all that Snakemake says (workflow/screen); VERBOSE=1 shows that.
SNAKEMAKE = PYTHONPATH=$(CURDIR)/workflow/screen $(BIN)/snakemake $(GPU_LIMIT) --logger circuit-reuse
# Without a profile as many jobs run a model at once as the machine has GPUs; one where CUDA_VISIBLE_DEVICES has chosen.
GPUS := $(words $(wildcard /proc/driver/nvidia/gpus/*))
GPU_LIMIT = $(if $(filter-out 0,$(GPUS)),$(if $(filter --profile% --resources%,$(ARGS)),,--resources gpu=$(if $(CUDA_VISIBLE_DEVICES),1,$(GPUS))))
# Modules are compiled when they are first imported, most never, and kept compiled: otherwise every start of a program
# compiles its libraries again, which takes longer than all else that a run without work does.
unexport PYTHONDONTWRITEBYTECODE
PYTEST = $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder
PIP = $(BIN)/pip install --quiet --disable-pip-version-check --no-compile

.PHONY: install run real mine paper rehearsal explain validate report test test-long test-faults site faults slurm test-cluster fetch-real test-real bench validity accuracy lint format docs lock clean clean-stale

# Only what a run needs: torch and all else, in .venv.
install: $(VENV)/done

run: $(VENV)/done
	@$(SNAKEMAKE) --cores $(CORES) $(ARGS)
	@$(if $(filter -n --dry-run --dryrun,$(ARGS)),exit 0,$(MAKE) --no-print-directory results/report.html)
	@$(if $(filter -n --dry-run --dryrun,$(ARGS)),exit 0,echo "Figures are in results/figures (PDF, SVG, PNG), tables in results/tables, how each was made in results/report.html.")

# All five studies on a real model, fetched once: SmolLM2-135M, or what REAL names on top of it.  The option with one value
# comes last, as a target in ARGS would be taken for another config.
REAL ?= config/smollm2.yaml
real:
	@$(MAKE) --no-print-directory run ARGS="--configfile config/smollm2.yaml $(filter-out config/smollm2.yaml,$(REAL)) --cores $(CORES) $(ARGS)"

# The reuse study on a model of your own: make mine MODEL=<folder, .gguf file, or owner/name of the hub> [TASKS="ioi months"]
mine: $(VENV)/done
	@file=$$(PYTHONPATH=workflow/scripts $(BIN)/python workflow/scripts/new_config.py "$(MODEL)" $(TASKS)) && \
	  $(MAKE) --no-print-directory run ARGS="reuse --configfile config/smollm2.yaml $$file --cores $(CORES) $(ARGS)"

# The published studies, one after the other, each with its own models and settings: about the cost, docs/plan.md.
paper: $(VENV)/done
	@failed=0; for name in reuse scaling sequences weights contrast; do \
	  $(SNAKEMAKE) --cores $(CORES) paper_$$name --keep-going --configfile config/papers/$$name.yaml $(ARGS) || failed=1; \
	done; exit $$failed

# All that the published studies need, to the end, with small models in the place of theirs.
rehearsal: $(VENV)/done
	@$(SNAKEMAKE) --cores $(CORES) paper --keep-going --configfile config/smollm2.yaml config/papers/rehearsal.yaml $(ARGS)

# Made again only when a result is newer than it, or another run was asked for.
results/report.html: $(VENV)/done results/.report-arguments $(wildcard results/tables/*/*.csv results/tables/*/*.json results/figures/*/*.* results/figures/*/*/*.*) workflow/report/*.rst
	@# Quietly, so that what the run found stays in sight.
	@$(BIN)/snakemake --cores 1 --quiet all --report $@ $(ARGS)

results/.report-arguments: .FORCE
	@mkdir -p results && echo '$(ARGS)' | cmp -s - $@ || echo '$(ARGS)' > $@

.FORCE:

report: results/report.html

# What would rerun, why, and about how long it takes, before anything runs.
explain: $(VENV)/done
	@CORES=$(CORES) $(BIN)/python workflow/scripts/explain.py $(ARGS)

# Are the methods and tests right, and how faithful are circuits of every size: with a report.
validate: $(VENV)/done
	@$(SNAKEMAKE) --cores $(CORES) validate faithfulness $(ARGS)
	$(BIN)/snakemake --cores 1 --report results/validation.html validate faithfulness $(ARGS)

# MARKS= for all tests in one go.
MARKS ?= not long
test: $(VENV)/done
	$(PYTEST) -m "$(MARKS)"

# What takes longer: whole runs of the workflow, the pages of docs/ as a reader follows them, and all below.  The cluster's tests
# wait for Slurm most of the time, so they run beside the others.
test-long: slurm fetch-real
	@$(MAKE) --no-print-directory test MARKS=long

# Runs that are killed, cut off, or meet a full disk, and what the next run makes of them.
test-faults: $(VENV)/done
	$(BIN)/python -m pytest -n 2 tests/faults/test_faults.py

# The executor of Snakemake for Slurm, which only clusters need.
slurm: $(VENV)/done
	$(PIP) --no-deps --require-hashes --requirement requirements-slurm.lock

# A study through a private Slurm of one node, of Debian's slurmctld, slurmd and slurm-client.
test-cluster: slurm
	$(BIN)/python -m pytest -q tests/cluster

# SmolLM2 of config/smollm2.yaml, fetched and converted once.
fetch-real: $(VENV)/done
	@$(SNAKEMAKE) --cores $(CORES) --configfile config/smollm2.yaml -- resources/hub/smollm2-135m

# The workflow and the engine on it; the tests of the engine take Gemma 3, too, where it was fetched.
test-real: fetch-real
	$(BIN)/python -m pytest -q -n 0 tests/real tests/unit/test_real_models.py

# Figures of time are ratios within one run; best with nothing else on the machine (NAMES="real_speed peers" for some).
bench: $(VENV)/done
	$(BIN)/python benchmarks/bench.py $(NAMES)

lint: $(VENV)/done
	$(BIN)/ruff check . && $(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile rules workflow/Snakefile
	$(BIN)/snakemake --lint

format: $(VENV)/done
	$(BIN)/ruff check --fix . && $(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile rules workflow/Snakefile

# torch first, by version: its build differs from machine to machine.  All else by the hash of its files; at last
# what only this build of torch needs (the libraries of CUDA, or nothing).
$(VENV)/done: requirements.lock
	$(PYTHON) -m venv $(VENV)
	@# Side by side: they are different packages.
	$(PIP) --no-deps "torch==2.13.0" & torch=$$!; \
	  $(PIP) --no-deps --require-hashes --requirement requirements.lock; others=$$?; wait $$torch && exit $$others
	$(PIP) "torch==2.13.0"
	@# The command, for this clone.
	@printf '#!/bin/sh\nPYTHONPATH="%s" exec "%s" -m circuit_reuse.command "$$@"\n' "$(CURDIR)/workflow/scripts" "$(CURDIR)/$(BIN)/python" > $(BIN)/circuit-reuse
	@chmod +x $(BIN)/circuit-reuse
	@touch $@

# The parts of the documentation that are made from the schemas.
docs: $(VENV)/done
	$(BIN)/python workflow/scripts/document.py

# The documentation as pages, in results/site; warnings are errors.
site: $(VENV)/docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict
	@echo "Open results/site/index.html; with search: $(BIN)/mkdocs serve"

$(VENV)/docs: $(VENV)/done requirements-docs.lock
	$(PIP) --no-deps --require-hashes --requirement requirements-docs.lock
	@touch $@

# Random configs and files, 500 of each kind; a default study killed at twenty random moments, and docs/reliability.md from what happened; half an hour.
faults: $(VENV)/done
	FUZZ=500 $(BIN)/python -m pytest -q -n 2 tests/faults/test_broken_input.py tests/faults/test_random_files.py
	PYTHONPATH=tests:tests/workflow:tests/faults $(BIN)/python tests/faults/campaign.py

# Lock files with hashes, the pins of envs/ and the list of licences; UPGRADE=1 takes newer versions.
lock: $(VENV)/done
	$(PIP) "uv>=0.13,<1"
	PATH=$(abspath $(BIN)):$$PATH $(BIN)/python workflow/scripts/lock.py

clean:
	rm -rf results logs .snakemake

# Results of models that are in no study of the config: ARGS as for make run.
clean-stale: $(VENV)/done
	@PYTHONPATH=workflow/scripts $(BIN)/python workflow/scripts/stale_results.py --remove $(ARGS)

# Which share of the built-in prompts is valid under each tokenizer of a folder: results/tables/validity.csv.
validity: $(VENV)/done
	$(BIN)/python workflow/scripts/measure_validity.py $(TOKENIZERS)

# What a model answers on every built-in task, without and with solved examples: results/tables/accuracy.csv.
accuracy: $(VENV)/done
	$(BIN)/python workflow/scripts/measure_validity.py --model $(MODEL)
