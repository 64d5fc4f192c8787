"""One tiny run of the workflow, in a copy of the project that tests may edit."""

import contextlib
import importlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

import explain
import yaml

PROJECT = Path(__file__).resolve().parents[2]
PARTS = ["Snakefile", "rules", "workflow", "profiles", "config", "envs"]
MODELS = ["tiny-gpt2-small", "tiny-neox-small"]
CONFIG = {
    "models": MODELS,
    "tasks": ["ioi", "digits"],
    "methods": ["atp"],
    "model_sources": {name: {"path": f"resources/models/{name}"} for name in [*MODELS, "third"]},
    "examples": {"count": 24, "shard_size": 12, "held_out_share": 0.5, "correct_only": False, "min_valid": 4},
    "circuits": {
        "kinds": ["head"],
        "top_k": [2, 3],
        "thresholds": [0.5, 1],
        "controls": {"count": 6, "random_sets": 5, "same_layers": False, "pool_too_small": "skip", "norm_strata": 2},
        "halves": 3,
    },
    "generic": {"count": 20, "random_sets": 6},
    "fine_grained": {"top_k": {"edge": 6, "position": 4}, "draws": 19},
    "stability": {"corruption": True},
    "optimal_ablation": {"steps": 2, "random_sets": 2},
    "reuse": {"draws": 99, "rarefaction": 6},
    "ablation": {"replacement": "corrupt", "directions": ["remove", "keep"], "keep_controls": 2},
    "tests": {"permutations": 200, "bootstrap": 100, "alpha": 0.05},
    "cross_task": {"top_k": 3, "threshold": 0.5, "controls": 3, "matched_sets": 2},
    "scaling": {
        "tasks": ["ioi", "digits"],
        "examples": 24,
        "shard_size": 12,
        "draws": 99,
        "replacements": ["zero", "mean", "corrupt"],
        "replacement": "corrupt",
        "classes": {"tau": 0.05, "unit": "base"},
        "heroes": {"sizes": [1, 2], "random_sets": 4, "examples": 4},
        "tracing": {"parts": ["z", "v"], "by_position": ["z"], "examples": 3},
        "backups": {"heroes": 2, "examples": 8},
        "transfer": {"draws": 19},
    },
    "sequences": {
        "models": ["tiny-gpt2-small"],
        "tasks": ["digits"],
        "variants": [],
        "control_tasks": ["ioi"],
        "examples": 24,
        "pruning": {"thresholds": [0.2, 0.1], "threshold": 0.2, "random_orders": 2, "draws": 1, "add_back": False},
        "random_sets": 4,
        "edges": {"examples": 4, "acdc": [0.05]},
        "lengths": {"values": [2, 4], "examples": 4},
    },
    "weights": {
        "models": ["tiny-gpt2-small"],
        "tasks": ["digits"],
        "examples": 24,
        "held_out": 8,
        "masks": {"coefficients": [0.0005, 0.002], "steps": 40, "batch": 8, "rate": 0.05, "target": {"excess": 3}},
        "sweep": {
            "points": 5,
            "trials": 2,
            "quantiles": 3,
            "pool_too_small": "widen",
            "controls": ["non_circuit", "matrix", "quantile", "touching", "window", "layer"],
        },
        "random": {"circuits": 19, "trials": 1, "every": 2},
        "nodes": {"fractions": [0, 1], "trials": 1, "steps": 4},
    },
    "contrast": {
        "models": ["tiny-gpt2-small"],
        "examples": 24,
        "held_out": 8,
        "flips": 19,
        "draws": 20,
        "random_sets": 99,
        "sets": {
            "names": {"task": "ioi"},
            "own": {
                "file": "config/texts.csv",
                "paired": False,
                "first": "sarcastic",
                "second": "sincere",
                "behaviour": "digits",
            },
        },
        "scorings": {
            "published": {
                "positions": "all",
                "score": "mean_of_norms",
                "scale": "none",
                "rules": ["published"],
                "mlp_threshold": 0.5,
            },
            "aligned": {"rules": ["knapsack", "ratio"]},
        },
        "budget": 0.5,
        "budgets": [0.3, 0.9],
        "attribution": "atp",
        "circuits": {"mine": {"file": "config/circuit.json", "models": ["tiny-gpt2-small"]}},
        "export": ["circuit", "budget", "graph", "edges"],
        "replicate": {"pairs": {"mine_and_published": {"first": "mine", "second": {"set": "names"}}}},
    },
    "figures": {"formats": ["png"], "dpi": 50},
    "compute": {"device": "cpu", "dtype": "float32", "batch_tokens": 512},
}

# Texts of unequal length, unpaired, and a circuit under a write budget.
FEELINGS = "great perfect wonderful lovely great perfect lovely great perfect wonderful".split()
THINGS = "printer phone camera radio engine lamp clock server heater screen".split()
TEXTS = "text,set\n" + "".join(
    f'"Oh {feeling}, the {thing} failed again",sarcastic\n"The {thing} worked",sincere\n'
    for feeling, thing in zip(FEELINGS * 2, [*THINGS, *(f"old {thing}" for thing in THINGS)], strict=True)
)
CIRCUIT = {
    "nodes": ["input", "m0", "a0.h1", "a2.h3"],
    "metadata": {
        "total_components": 4,
        "write_budget_used": 160,
        "write_budget_max": 200,
        "num_mlps": 1,
        "num_attention_heads": 2,
    },
}


def no_network():
    """A command that takes the network away from what follows it; empty where that is not allowed."""
    for command in (["unshare", "--net"], ["unshare", "--user", "--map-root-user", "--net"]):
        if shutil.which("unshare") and not subprocess.run([*command, "true"], capture_output=True).returncode:
            return command
    return []


NO_NETWORK = no_network()
OURS = {"circuit_reuse", *(path.stem for path in (PROJECT / "workflow" / "scripts").glob("*.py"))}


def is_ours(name):
    """Whether a module is the project's: each copy of it imports its own."""
    return name.split(".")[0] in OURS


class Run:
    """A project folder with its config, and Snakemake in it."""

    def __init__(self, folder):
        self.folder, self.reported = folder, set()

    def snakemake(self, *arguments, check=True, offline=False):
        """Run Snakemake; returns what it printed.

        offline: in a network namespace without interfaces, if this machine can make one
        """
        command = [sys.executable, "-m", "snakemake", "--cores", "2", *map(str, arguments)]
        if offline:
            command = [*NO_NETWORK, *command]
        done = subprocess.run(
            command, cwd=self.folder, capture_output=True, text=True, env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
        )
        text = done.stdout + done.stderr
        if check:
            assert done.returncode == 0, text[-6000:]
        return text

    def dry_run(self, *arguments):
        """What a dry run prints, in a fork of a process that has imported Snakemake already, and what earlier forks did."""
        import snakemake.cli  # once, for all forks

        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as imported:
            child = os.fork()
            if child == 0:
                status = 1
                try:
                    for stream in (1, 2):
                        os.dup2(out.fileno(), stream)
                    sys.stdout, sys.stderr = (os.fdopen(stream, "w") for stream in (1, 2))
                    os.chdir(self.folder)
                    # The copy's modules, not those that tests have imported from the project.
                    for name in [name for name in sys.modules if is_ours(name)]:
                        del sys.modules[name]
                    known = set(sys.modules)
                    # The Snakefile reads the targets from here.
                    sys.argv = ["snakemake", "--cores", "2", "--dry-run", *map(str, arguments)]
                    snakemake.cli.main(sys.argv[1:])
                except SystemExit as end:
                    status = end.code or 0
                except BaseException:
                    traceback.print_exc()
                sys.stdout.flush()
                sys.stderr.flush()
                print(*sorted(set(sys.modules) - known), file=imported, flush=True)
                os._exit(status)
            _, status = os.waitpid(child, 0)
            out.seek(0)
            imported.seek(0)
            text, names = out.read(), imported.read().split()
        for name in names:
            # Modules of a folder that only the fork had in its path are not found here, and are its own.
            if not is_ours(name):
                with contextlib.suppress(Exception):
                    importlib.import_module(name)
        assert status == 0, text[-6000:]
        return text

    def planned(self):
        """The jobs that a dry run lists: [(rule, {wildcard: value})].

        Those that write what a study found are apart, in `reported`: they run when its tables are made, and the list of
        what was left out after them.
        """
        self.reported = set()
        jobs = []
        for rule, values, *_ in explain.planned(self.dry_run()):
            if rule == "write_findings":
                self.reported.add(values["study"])
            elif rule not in ("list_skipped", "describe_tables"):
                jobs.append((rule, values))
        return jobs

    def config(self, **blocks):
        """Write the config with some blocks changed."""
        (self.folder / "config" / "config.yaml").write_text(yaml.safe_dump(CONFIG | blocks))

    @contextlib.contextmanager
    def edited(self, path, change):
        """A file with a change, put back afterwards with its time."""
        path = self.folder / path
        before, times = path.read_bytes(), path.stat()
        path.write_bytes(change(before))
        try:
            yield
        finally:
            path.write_bytes(before)
            os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def copied(run, folder):
    """A finished run with its results, in a folder of its own."""
    shutil.copytree(run.folder, folder / "copy", symlinks=True)
    return Run(folder / "copy")


def copy_project(folder):
    """The parts of the project that a run needs, and the small models."""
    folder.mkdir(parents=True, exist_ok=True)
    for part in PARTS:
        source = PROJECT / part
        if source.is_dir():
            shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / part)
    for name in MODELS:
        shutil.copytree(PROJECT / "resources" / "models" / name, folder / "resources" / "models" / name)
    shutil.copytree(folder / "resources" / "models" / MODELS[0], folder / "resources" / "models" / "third")
    for name in ("published", "texts"):
        shutil.copytree(PROJECT / "resources" / name, folder / "resources" / name)
    (folder / "config" / "texts.csv").write_text(TEXTS)
    (folder / "config" / "circuit.json").write_text(json.dumps(CIRCUIT))
    run = Run(folder)
    run.config()
    return run
