"""What a run found and how it was made: for the report's first page, and the end of a run.

Plumbing only: nothing here shapes a number, so no stage depends on this file.
"""

import base64
import contextlib
import json
import platform
import re
from datetime import datetime
from importlib import metadata
from pathlib import Path

from circuit_reuse.origins import sources
from circuit_reuse.studies.registry import STUDIES

VERSIONS = ("snakemake", "torch", "transformers", "transformer-lens", "numpy", "scipy", "pandas", "matplotlib")


def overviews(folder):
    """{study: what write_findings wrote} of the studies that have been run."""
    found = {}
    for study in STUDIES:
        path = Path(folder) / "results" / "tables" / study / "overview.json"
        if path.is_file():
            found[study] = json.loads(path.read_text(encoding="utf-8"))
    return found


def records(folder):
    """Every job that made a result which is there, from Snakemake's records: rule, model, start, seconds."""
    jobs, place = {}, Path(folder) / ".snakemake" / "metadata"
    for path in place.rglob("*"):
        if path.is_file() and (Path(folder) / output_of(path.relative_to(place))).exists():
            try:
                entry = json.loads(path.read_text())
                log = entry["log"][0].split("/") if entry["log"] else []
                start, end = entry["starttime"], entry["endtime"]
                # A job has a record for each of its outputs, with the same log.
                jobs[entry["rule"], *log] = {
                    "rule": entry["rule"],
                    "model": log[2].removesuffix(".log") if len(log) > 2 else None,
                    "start": start,
                    "seconds": end - start,
                }
            except (ValueError, KeyError, TypeError):
                continue  # half-written when a run was killed
    return list(jobs.values())


def output_of(record):
    """The result that a record of Snakemake is about: its name is the path in base 64, cut into folders where it is long."""
    with contextlib.suppress(ValueError):
        return base64.b64decode("".join(part.lstrip("@") for part in record.parts), altchars=b"-_").decode()
    return "no path"


def escape(text):
    """Text of the user's in reStructuredText: no sign of it is markup."""
    return re.sub(r"([\\*`_|<>:\[\]{}])", r"\\\1", str(text)).replace("\n", " ")


def duration(seconds):
    """Seconds as a person says them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def versions():
    """Name and version of the packages that shape the numbers, as far as they are in this environment."""
    for name in VERSIONS:
        with contextlib.suppress(metadata.PackageNotFoundError):
            yield f"{name} {metadata.version(name)}"


def moment(seconds):
    """A time as a person writes it."""
    return f"{datetime.fromtimestamp(seconds):%Y-%m-%d %H:%M}"


def content(config, folder):
    """What workflow/report/workflow.rst shows."""
    studies, models = [], {}
    for study, about in overviews(folder).items():
        models |= about["models"]
        studies.append(
            {
                "title": STUDIES[study].title,
                "sentences": [escape(text) for text in about["sentences"]],
                "models": sorted(about["models"]),
                "figures": [f"figures/{study}/{name}." for name in STUDIES[study].first],
            }
        )
    jobs = records(folder)
    begun = min((job["start"] for job in jobs), default=0)
    ended = max((job["start"] + job["seconds"] for job in jobs), default=0)
    return {
        "studies": studies,
        "models": [
            {
                "key": name,
                "name": escape(name),
                "source": escape(source(config["model_sources"].get(name, {}))),
                **{key: escape(value) for key, value in about.items()},
            }
            for name, about in sorted(models.items())
        ],
        "versions": ", ".join([f"Python {platform.python_version()}", *versions()]),
        "time": (
            f"{len(jobs)} jobs, {duration(sum(job['seconds'] for job in jobs))} of work in all, "
            f"between {moment(begun)} and {moment(ended)}"
            if jobs
            else "not on record"
        ),
    }


def source(about):
    """Where a model's weights come from."""
    return sources.label(about) if about else "-"


def summary(folder, since):
    """What the studies that this run brought up to date found, for the end of the run.

    since: time at which the run began
    """
    lines = []
    for study, about in overviews(folder).items():
        path = Path(folder) / "results" / "tables" / study
        if (path / "overview.json").stat().st_mtime < since:
            continue
        lines += [f"{study}:", *(f"  {text}" for text in about["sentences"])]
        page = path / "findings.md"
        lines += [
            f"  Figures: results/figures/{study}/ ({', '.join(STUDIES[study].first[:2])} first), tables: results/tables/{study}/"
            + (", all findings: findings.md there" if page.is_file() else "")
        ]
    return "\n".join(["", "What was found:", *lines, ""]) if lines else ""


def nothing_left(folder, studies):
    """The message of a run in which no model can do any task of the studies asked for; None otherwise."""
    found = [about for study, about in overviews(folder).items() if study in studies]
    if not found or any(about["results"] > about["left_out"] for about in found):
        return None
    return (
        "nothing is left to study: every task was left out for every model, for the reasons above and in "
        "results/tables/*/skipped.csv.  Choose other tasks or models, give solved examples (task_options.<task>.shots), "
        "or set a lower examples.min_valid or a higher examples.draws"
    )
