"""Every config that is shipped: it passes its check, and there are prompts for all that it asks for."""

import copy

import pytest
import yaml
from circuit_reuse.prompts import rows as sources
from circuit_reuse.prompts import tasks
from circuit_reuse.studies import check as configs
from support import PROJECT

OVERLAYS = sorted(
    path
    for path in (PROJECT / "config").rglob("*.yaml")
    if path.name != "config.yaml" and not path.name.startswith("my-")
)
ON_TOP_OF = {
    "gemma3.yaml": "smollm2.yaml",
    "rehearsal.yaml": "smollm2.yaml",
    "scaling-published.yaml": "papers/scaling.yaml",
}


def merged(base, overlay):
    """An overlay on top of a config, as Snakemake lays it."""
    for key, value in overlay.items():
        if isinstance(value, dict) and isinstance(base.get(key), dict):
            merged(base[key], value)
        else:
            base[key] = copy.deepcopy(value)
    return base


@pytest.fixture(params=[None, *OVERLAYS], ids=lambda path: path.name if path else "config.yaml")
def config(request, monkeypatch):
    """A shipped config after its check."""
    monkeypatch.chdir(PROJECT)
    found = yaml.safe_load((PROJECT / "config" / "config.yaml").read_text())
    if request.param:
        below = ON_TOP_OF.get(request.param.name)
        for path in [*([PROJECT / "config" / below] if below else []), request.param]:
            merged(found, yaml.safe_load(path.read_text()))
    configs.check(found, PROJECT, PROJECT)
    return found


def wanted(config):
    """{task: most examples that a study asks for}."""
    found = {}
    for study, block in [("reuse", config), *((s, config[s]) for s in ("scaling", "sequences", "weights"))]:
        kinds = ("tasks", "variants", "control_tasks", "probes") if study == "sequences" else ("tasks",)
        count = config["examples"]["count"] if study == "reuse" else block["examples"]
        for task in (task for kind in kinds for task in block[kind]):
            found[task] = max(count, found.get(task, 0))
    for each in config["contrast"]["sets"].values():
        for task in filter(None, (each.get("task"), each.get("behaviour"))):
            found[task] = max(config["contrast"]["examples"], found.get(task, 0))
    # Files of the hub are not here before they are fetched.
    return {task: count for task, count in found.items() if "hub" not in config["custom_tasks"].get(task, {})}


def test_prompts_of_every_shipped_config_can_be_made(config):
    """As many as a shard tries; a task may have fewer different ones, but enough for both splits."""
    share, needed = config["examples"]["held_out_share"], config["examples"]["min_valid"]
    for task, count in wanted(config).items():
        spec = tasks.settings(task, config)
        cfg = {"seed": config["seed"], "held_out_share": share, "examples": [0, count * 2], "task": spec}
        rows = sources.rows(task, cfg)
        assert len({row["clean"] for row in rows}) == len(rows)
        for split in ("train", "held_out"):
            mine = [row for row in rows if row["split"] == split]
            assert len(mine) >= needed, f"{task}: {len(mine)} {split} prompts, {needed} needed"
