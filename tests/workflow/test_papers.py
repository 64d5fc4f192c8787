"""Targets of papers: each plans without network in few jobs, and the commands of docs/coming-from.md do."""

import re

import explain
import pytest
import yaml
from circuit_reuse.studies.registry import STUDIES
from workflow_config import PROJECT, copy_project

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    """The project's own config in a copy of its folder."""
    run = copy_project(tmp_path_factory.mktemp("papers") / "project")
    (run.folder / "config" / "config.yaml").write_bytes((PROJECT / "config" / "config.yaml").read_bytes())
    for name in ("tiny-gpt2-medium", "tiny-neox-medium", "tiny-gpt2-large", "tiny-neox-large", "tiny-gpt2-sparse"):
        (run.folder / "resources" / "models" / name).symlink_to(PROJECT / "resources" / "models" / name)
    (run.folder / "resources" / "papers").symlink_to(PROJECT / "resources" / "papers")
    return run


@pytest.mark.parametrize("study", STUDIES)
def test_the_target_of_a_paper_plans_its_study_and_its_claims(shipped, study):
    text = shipped.dry_run(f"paper_{study}", "--configfile", f"config/papers/{study}.yaml")
    jobs = explain.planned(text)
    rules = {rule for rule, *_ in jobs}
    assert {f"summarise_{study}", "check_claims"} <= rules and len(jobs) < 3000
    others = {f"summarise_{other}" for other in STUDIES if other != study}
    assert not rules & others


def test_the_rehearsal_plans_every_paper(shipped):
    text = shipped.dry_run("paper", "--configfile", "config/smollm2.yaml", "config/papers/rehearsal.yaml")
    claims = [values["study"] for rule, values, *_ in explain.planned(text) if rule == "check_claims"]
    assert sorted(claims) == sorted(STUDIES)


def test_what_is_shown_to_users_of_other_tools_plans(shipped):
    text = (PROJECT / "docs" / "coming-from.md").read_text()
    blocks = re.findall(r"    # config/mine\.yaml\n((?:    .*\n)+)", text)
    assert len(blocks) == 3
    for block in blocks:
        mine = yaml.safe_load("\n".join(line[4:] for line in block.splitlines()))
        (shipped.folder / "config" / "mine.yaml").write_text(yaml.safe_dump(mine))
        study = next((name for name in STUDIES if name in mine), "reuse")
        (command,) = [each for each in re.findall(r'make run ARGS="(.*?mine\.yaml)"', text) if each.split()[0] == study]
        assert explain.planned(shipped.dry_run(*command.split())), command
    readme = (PROJECT / "README.md").read_text()
    commands = re.findall(r'make run ARGS="(.*?)"', text + readme)
    assert len(commands) > 8
    for command in commands:
        if "mine.yaml" in command or "my.yaml" in command or "<" in command:
            continue
        words = re.findall(r"'[^']*'|\S+", command)
        assert explain.planned(shipped.dry_run(*(word.strip("'") for word in words))), command
