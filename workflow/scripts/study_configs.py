"""With which config each study was made: a run of some studies leaves the results of the others, which the page shows with theirs."""

import json
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from circuit_reuse.studies.registry import STUDIES

FOLDER = Path(".snakemake", "circuit-reuse")


@dataclass(frozen=True)
class Made:
    """What the results of a study were made with.

    left: names of figures and tables that the config does not ask for, which may lie there from before
    note: a sentence where that was another run than the one that has just ended; empty for that one
    """

    config: dict
    left: frozenset = frozenset()
    note: str = ""


PART = (
    "Some of its figures are of the last run, which was not asked for its tables and sentences: these may be of another config. "
    "<code>make run ARGS={study}</code>, with the configfile of that run, makes all of one."
)
EARLIER = "Of an earlier run, with its config: the last run was not asked for this study."
UNKNOWN = "Of an earlier run whose config is not on record: the numbers in the captions are those of the last run."


def made_by(outputs):
    """The studies that tables or figures of a run are of.  outputs: paths of its jobs"""
    pairs = (pair for path in outputs for pair in pairwise(Path(path).parts))
    return {study for where, study in pairs if where in ("tables", "figures") and study in STUDIES}


def keep(folder, studies, config, left):
    """Write what a run made its studies with."""
    place = Path(folder) / FOLDER
    place.mkdir(parents=True, exist_ok=True)
    plain = {key: value for key, value in config.items() if key != "start_page"}
    text = json.dumps({"config": plain, "left": sorted(left)}, default=str)
    for study in studies:
        (place / f"{study}.json").write_text(text, encoding="utf-8")


def read(folder, studies, asked, config, left, part=()):
    """{study: Made}: this run's of those that it was asked for, what was kept of the others; this run's where nothing was.

    asked: studies of the run that has just ended; the others are shown as the run that made them left them
    left:  names of figures and tables that the config does not ask for, which may lie there from an earlier run
    part:  studies of which the run was asked for some files, and not for the tables
    """
    found = {}
    for study in studies:
        path = Path(folder) / FOLDER / f"{study}.json"
        if study in asked:
            found[study] = Made(config, frozenset(left), PART.format(study=study) if study in part else "")
        elif not path.is_file():
            found[study] = Made(config, frozenset(left), UNKNOWN)
        else:
            kept = json.loads(path.read_text(encoding="utf-8"))
            found[study] = Made(kept["config"], frozenset(kept["left"]), EARLIER)
    return found
