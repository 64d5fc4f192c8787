"""Run the benchmarks: every one in a process of its own, one after the other.

python benchmarks/bench.py           all; writes results.json and docs/benchmarks.md
python benchmarks/bench.py scaling   one; prints its figures
"""

import json
import os
import subprocess
import sys

import torch
from measure import peak_megabytes
from shapes import PROJECT

NAMES = [
    "attribution_speed",
    "intervention_speed",
    "embedded_speed",
    "prefix_speed",
    "end_speed",
    "scaling",
    "pruning_speed",
    "pruning_orders",
    "weight_sweep",
    "contrast_speed",
    "contrast_study",
    "real_speed",
    "peers",
    "imports",
    "head_scan",
    "default_run",
    "real_reuse",
    "real_run",
    "gpu",
]
# Those that start processes.
WHOLE = ("imports", "head_scan", "default_run", "pruning_orders", "contrast_study", "real_reuse", "real_run")
RESULTS = PROJECT / "benchmarks" / "results.json"
PAGE = """# Benchmarks

Written by `make bench` into `benchmarks/results.json` and this page. Ratios are medians of runs in
turn, in one process on one machine; seconds hold only for the machine named beside them. Peak memory is
that of the benchmark's process; for `imports`, and for those that run the workflow (`head_scan`, `default_run`, `pruning_orders`,
`contrast_study`, `real_reuse`, `real_run`), of the largest process that it waits for: jobs with a model are not among them (every job's log ends with its own).

| figure | value | unit | peak memory (MB) | command | machine |
|---|---|---|---|---|---|
{rows}

What the figures mean and how they were reached is in [performance.md](performance.md).
"""


def run_one(name):
    """Run a benchmark here and print its figures as JSON."""
    if name.startswith("pruning"):
        import pruning as module
    elif name == "weight_sweep":
        import weights as module
    elif name == "contrast_speed":
        import contrast as module
    elif name.startswith("real") or name == "peers":
        import real as module
    elif name in WHOLE:
        import workflow as module
    else:
        import attribution as module
    found = getattr(module, name)()
    command = f"python benchmarks/bench.py {name}"
    peak = round(peak_megabytes(children=name in WHOLE))
    machine = f"{os.cpu_count()} cores, torch {torch.__version__}"
    if name == "gpu":
        machine += f", {torch.cuda.get_device_name()}" if found else ""
    about = {"peak_memory_mb": peak, "command": command, "machine": machine}
    rows = [{"name": key, "value": value, "unit": unit} | about for key, (value, unit) in found.items()]
    print(json.dumps(rows))


def main(names):
    """Run benchmarks, one process each; figures of the others are kept."""
    rows = json.loads(RESULTS.read_text()) if RESULTS.is_file() else []
    for name in names:
        print(name, flush=True)
        done = subprocess.run([sys.executable, __file__, "--here", name], capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(done.stderr)
        found = json.loads(done.stdout.strip().splitlines()[-1])
        for row in found:
            print(f"  {row['name']}: {row['value']:.3g} {row['unit']}", flush=True)
        fresh = {row["name"] for row in found}
        rows = [row for row in rows if row["name"] not in fresh] + found
        # Some take an hour: what is known is kept, whatever comes of the next.
        write(rows)


def write(rows):
    """Write benchmarks/results.json and docs/benchmarks.md."""
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n")
    lines = [
        f"| {row['name']} | {row['value']:.3g} | {row['unit']} | {row['peak_memory_mb']} | `{row['command']}` | {row['machine']} |"
        for row in rows
    ]
    (PROJECT / "docs" / "benchmarks.md").write_text(PAGE.format(rows="\n".join(lines)))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--here"]:
        run_one(sys.argv[2])
    else:
        main(sys.argv[1:] or NAMES)
