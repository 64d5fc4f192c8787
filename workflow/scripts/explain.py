"""Say, before a run, what would rerun, why, and how long that takes at least; nothing is run.

    make explain ARGS="--configfile config/my.yaml"      the same arguments as for make run
    python workflow/scripts/explain.py --record          keep the times of the last run in resources/durations.json
    python workflow/scripts/explain.py --record MODEL    those of one model, of 135 million parameters, in resources/durations-real.json

Times are medians of earlier jobs of the same rule and model in this folder, from Snakemake's records; for what never ran here,
those of the default run (resources/durations.json), or, for models above 20 million parameters, those of SmolLM2-135M in proportion
to the parameters (resources/durations-real.json); both on two cores, which a GPU beats.
"""

import ast
import json
import os
import re
import statistics
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import start_page

PROJECT = Path(__file__).resolve().parents[2]
SHIPPED = PROJECT / "resources" / "durations.json"
# Those of a real model, by the parameters of its layers (attention and MLPs, `parameters`).
REAL = PROJECT / "resources" / "durations-real.json"
REAL_PARAMETERS, LEAST_REAL = 119_439_360, 20_000_000
# Names of the number of layers, and of the width of the stream, in config.json.
SHAPE = (("num_hidden_layers", "n_layer", "num_layers"), ("hidden_size", "n_embd"))
HASH = re.compile(r"'[0-9a-f]{12}'")
# Of what files of the user hold (circuit_reuse/config/contents.py).
CONTENT = re.compile(r"'files [0-9a-f]{12}'")
WIDEST = 76


def planned(text):
    """Jobs of a dry run: [(rule, {wildcard: value}, reason, whether it asks for a GPU)]."""
    jobs = []
    for block in re.split(r"\n(?=(?:local)?rule \w+:)", text)[1:]:
        rule = re.match(r"(?:local)?rule (\w+):", block)[1]
        values = re.search(r"^    wildcards: (.+)$", block, re.MULTILINE)
        reason = re.search(r"^    reason: (.+?)(?=\n    \w+: |\n\n|\Z)", block, re.MULTILINE | re.DOTALL)
        if not re.search(r"^    output: ", block, re.MULTILINE):
            continue
        pairs = dict(part.split("=", 1) for part in values[1].split(", ")) if values else {}
        gpu = bool(re.search(r"^    resources: .*\b(gpu=[1-9]|gres=gpu)", block, re.MULTILINE))
        jobs.append((rule, pairs, reason[1] if reason else "", gpu))
    return jobs


def literal(text):
    """The first dict in a text, as a dict; empty if there is none."""
    start = text.find("{")
    if start < 0:
        return {}
    for end in range(len(text), start, -1):
        if text[end - 1] == "}":
            try:
                return ast.literal_eval(text[start:end])
            except (ValueError, SyntaxError):
                continue
    return {}


def changes(before, now, where=""):
    """What differs between two settings: `circuits.thresholds: [50] -> [50, 75]`."""
    for key in sorted({*before, *now}, key=str):
        old, new, name = before.get(key), now.get(key), f"{where}.{key}".strip(".")
        if isinstance(old, dict) and isinstance(new, dict):
            yield from changes(old, new, name)
        elif old != new:
            yield f"{name}: {shorter(old)} -> {shorter(new)}"


def shorter(value):
    """A value in a few characters."""
    text = "not there" if value is None else str(value)
    return text if len(text) <= 30 else f"{text[:27]}..."


def why(reason):
    """A reason of Snakemake's in words of this workflow."""
    found = []
    if match := re.search(r"before: (.*?) now: (.*)", reason, re.DOTALL):
        before, now = match[1], match[2]
        edits = list(changes(literal(before), literal(now)))
        found += edits[:2] + ([f"and {len(edits) - 2} settings more"] if len(edits) > 2 else [])
        if HASH.findall(before) != HASH.findall(now):
            found.append("its code was edited")
        if CONTENT.findall(before) != CONTENT.findall(now):
            found.append("one of your files holds something else")
    for words, reported in (
        ("Missing output", "not made yet"),
        ("Incomplete output", "was cut off"),
        ("Updated input files", "an input was edited"),
        ("Set of input", "other inputs than before"),
        ("Software environment", "its environment was edited"),
        ("Forced", "forced"),
    ):
        if words in reason:
            found.append(reported)
    return found or ["upstream output changed"]


def known_times(folder):
    """{rule: seconds} and {(rule, model): seconds} of a job, and how many jobs of this folder they come from."""
    shipped = json.loads(SHIPPED.read_text()) if SHIPPED.is_file() else {}
    seen = defaultdict(list)
    jobs = start_page.records(folder)
    for job in jobs:
        seen[job["rule"]].append(job["seconds"])
        seen[job["rule"], job["model"]].append(job["seconds"])
    times = shipped | {key: statistics.median(values) for key, values in seen.items()}
    return times, len(jobs)


def real_times():
    """{rule: seconds} of SmolLM2."""
    return json.loads(REAL.read_text()) if REAL.is_file() else {}


def parameters(text):
    """{model: parameters of its layers, about} of the models whose config.json a dry run names; 12 d² a layer (Kaplan et al. 2020)."""
    found = {}
    for block in re.split(r"\n(?=(?:local)?rule \w+:)", text)[1:]:
        model = re.search(r"^    wildcards: (?:.*, )?model=([^,\n]+)", block, re.MULTILINE)
        file = re.search(r"^    input: (?:.*, )?([^,\n]*config\.json)", block, re.MULTILINE)
        if not (model and file) or model[1] in found:
            continue
        try:
            about = json.loads(Path(file[1]).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        about = about.get("text_config", about)
        layers, width = (next((about[key] for key in keys if key in about), 0) for keys in SHAPE)
        found[model[1]] = 12 * layers * width**2
    return found


def seconds_of(rule, model, times, real, sizes):
    """About how long a job takes, or None; figures of a method take as long as those of another.

    real: {rule: seconds} of SmolLM2;  sizes: {model: parameters}
    """
    if rule.startswith("draw_reuse_") and rule not in times:
        rule = next((key for key in times if str(key).startswith("draw_reuse_")), rule)
    if (rule, model) in times:
        return times[rule, model]
    if sizes.get(model, 0) >= LEAST_REAL and rule in real:
        return real[rule] * sizes[model] / REAL_PARAMETERS
    return times.get(rule)


def explain(text, folder, cores, gpus=None):
    """What to print for the text of a dry run.

    gpus: how many jobs with a GPU run at once; as many as there are cores without it
    """
    jobs = planned(text)
    if "Nothing to be done" in text:
        return "Nothing would run: all that is asked for is there and up to date."
    if not jobs:
        return f"What Snakemake says cannot be read; leave out --quiet. It said:\n{text[-1500:]}"
    times, count = known_times(folder)
    real, sizes = real_times(), parameters(text)
    rows, unknown, total, on_gpu, longest = {}, set(), 0.0, 0.0, 0.0
    for rule, values, reason, gpu in jobs:
        seconds = seconds_of(rule, values.get("model"), times, real, sizes)
        if seconds is None:
            unknown.add(rule)
        row = rows.setdefault(rule, [0, 0.0, {}])
        row[0] += 1
        row[1] += seconds or 0
        total, longest = total + (seconds or 0), max(longest, seconds or 0)
        on_gpu += (seconds or 0) if gpu else 0
        for reported in why(reason):
            row[2][reported] = row[2].get(reported, 0) + 1
    width = max(len(rule) for rule in rows)
    lines = ["What would run, and why (nothing is run now):", ""]
    lines.append(f"  {'rule':{width}}  jobs  work     why")
    for rule, (number, seconds, reasons) in rows.items():
        reported = "; ".join(sorted(reasons, key=lambda name: -reasons[name]))
        reported = reported if len(reported) <= WIDEST else f"{reported[: WIDEST - 3]}..."
        amount = "?" if rule in unknown else start_page.duration(seconds)
        lines.append(f"  {rule:{width}}  {number:4d}  {amount:7}  {reported}")
    lasts = max(total / cores, on_gpu / (gpus or cores), longest)
    origin = (
        f"{count} earlier jobs in this folder"
        if count
        else "the default run, and SmolLM2 in proportion to the size; two cores"
    )
    lines += [
        "",
        f"  {len(jobs)} jobs, at least {start_page.duration(lasts)} on {cores} cores{f' and {gpus} GPUs' if gpus else ''} (by {origin}"
        + (f"; not counted, never run: {', '.join(sorted(unknown))})" if unknown else ")"),
    ]
    if "prune_nodes" in rows:
        lines += ["", *(f"  {line}" for line in text.splitlines() if line.startswith("Pruning in "))]
    lines += [f"  {line}" for line in dict.fromkeys(text.splitlines()) if line.startswith("note: ")]
    if "missing provenance" in text:
        lines.append("  Some results have no record of how they were made: see the warning of make run.")
    return "\n".join(lines)


def record(folder, model=None):
    """Keep the median seconds of every rule's jobs, or of those of one model, for those who have run nothing yet."""
    times, _ = known_times(folder)
    if model:
        rules = {key[0]: value for key, value in times.items() if isinstance(key, tuple) and key[1] == model}
    else:
        rules = {key: value for key, value in times.items() if isinstance(key, str)}
    rules = {key: round(value, 2) for key, value in sorted(rules.items())}
    (REAL if model else SHIPPED).write_text(json.dumps(rules, indent=1) + "\n")


def main(arguments):
    """Explain a run with Snakemake's arguments, in this folder."""
    if arguments[:1] == ["--record"]:
        return record(Path.cwd(), *arguments[1:2])
    words = " ".join(arguments)
    asked = re.search(r"(?<!\S)(?:--cores|-c|--jobs|-j)[ =]?(\d+)(?!\S)", words)
    cores = int(asked[1] if asked else os.environ.get("CORES") or os.cpu_count() or 1)
    gpus = re.search(r"--resources\b.*?\bgpu=(\d+)", words)
    gpus = int(gpus[1]) if gpus else 1 if "profiles/gpu" in words else None
    command = [sys.executable, "-m", "snakemake", "--dry-run", *([] if asked else ["--cores", str(cores)]), *arguments]
    # What only an explanation needs is worked out when asked for (rules/sequences.smk).
    asking = os.environ | {"CIRCUIT_REUSE_EXPLAIN": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=asking)
    text = done.stdout + done.stderr
    if done.returncode:
        sys.exit(text[-3000:])
    print(explain(text, Path.cwd(), cores, gpus))
    return None


if __name__ == "__main__":
    main(sys.argv[1:])
