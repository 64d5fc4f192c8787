"""Every mistake gets one clear message before any job: key, value, allowed, nearest name."""

import copy
import json
import os
import re
import shutil
import sys

import pytest
import yaml
from circuit_reuse.config import errors, schema
from circuit_reuse.data import fingerprint
from circuit_reuse.studies import check as configs
from circuit_reuse.studies.reuse import checks as reuse_checks
from support import MODELS, PROJECT, after_checks


@pytest.fixture
def config(monkeypatch):
    monkeypatch.chdir(PROJECT)
    return yaml.safe_load((PROJECT / "config" / "config.yaml").read_text())


def change(config, path, value):
    *parents, last = path.split(".")
    for key in parents:
        config = config.setdefault(key, {})
    config[last] = value


def message(config, folder=PROJECT):
    with pytest.raises(errors.ConfigError) as problem:
        after_checks(config, reuse_checks.check, folder)
    text = str(problem.value)
    assert "\n" not in text
    return text


def test_the_shipped_config_is_valid_and_defaults_are_filled_in(config):
    after_checks(config, reuse_checks.check)
    short = {key: config[key] for key in ("models", "tasks", "model_sources")}
    after_checks(short, reuse_checks.check)
    assert short["circuits"]["controls"]["count"] == 100 and short["custom_tasks"] == {}


@pytest.mark.parametrize(
    ("path", "value", "parts"),
    [
        ("tasks", ["iio"], ["tasks", "'iio'", "ioi", "Did you mean ioi?"]),
        ("models", ["tiny-gpt2-mediun"], ["model_sources", "Did you mean tiny-gpt2-medium?"]),
        ("circuts", {}, ["unknown key circuts", "Did you mean circuits?"]),
        ("circuits.tresholds", [0.5], ["circuits.tresholds", "thresholds"]),
        ("circuits.thresholds", [0.5, 75], ["circuits.thresholds.1", "75", "at most 1"]),
        ("circuits.thresholds", [0], ["circuits.thresholds.0", "more than 0"]),
        ("circuits.top_k", [99], ["99", "more than the 24 heads of tiny-gpt2-medium"]),
        ("circuits.top_k", [2.5], ["2.5", "neither a count nor a share"]),
        ("circuits.top_k", [20], ["20 of the 24 heads", "matched control", "at most 12"]),
        ("methods", ["eap_ig"], ["methods.0", "'eap_ig'", "Did you mean eap-ig?"]),
        ("attribution.metric", "loss", ["attribution.metric", "logit_difference"]),
        ("examples.count", 12, ["examples.count", "12", "min_valid (10)"]),
        ("examples.count", "many", ["examples.count", "'many'", "integer"]),
        ("cross_task.top_k", 5, ["cross_task.top_k is 5", "4, 8"]),
        ("cross_task.controls", 1000, ["cross_task.controls", "100"]),
        ("ablation.replacement", "median", ["'median'", "mean"]),
        ("ablation.directions", ["keep"], ["ablation.directions", "remove"]),
        ("task_options", {"digits": {"stride": 2}}, ["task_options.digits.stride", "step"]),
        (
            "model_sources.tiny-gpt2-medium",
            {"path": "../../nowhere"},
            ["model_sources.tiny-gpt2-medium.path", "there is no model folder ../../nowhere"],
        ),
        ("model_sources.tiny-gpt2-medium", {"path": "~/model"}, ["~/model", "full path"]),
        ("model_sources.tiny-gpt2-medium", {"hub": "gpt2"}, ["path, or hub and revision"]),
        (
            "model_sources.tiny-gpt2-medium",
            {"path": "a", "revision": "b"},
            [".revision has no meaning beside path of a folder"],
        ),
        ("model_sources.tiny-gpt2-medium", {"package": "a", "sha256": "0" * 64, "file": "b.gguf"}, ["has no version"]),
        ("model_sources.tiny-gpt2-medium", {"package": "a", "version": "1", "file": "b.gguf"}, ["package and sha256"]),
        (
            "model_sources.tiny-gpt2-medium",
            {"package": "--pre", "version": "1", "file": "b", "sha256": "0" * 64},
            ["'--pre'", "name of a package"],
        ),
        ("model_sources.tiny-gpt2-medium", {"package": [{"name": "a"}], "sha256": "0" * 64}, ["{name, version, file}"]),
        (
            "model_sources.tiny-gpt2-medium",
            {"package": "a", "version": "1", "file": "b", "sha256": "abc"},
            ["sha256 is 'abc'"],
        ),
        ("custom_tasks", {"ioi": {"file": "a.csv"}}, ["custom_tasks.ioi", "built-in"]),
        ("custom_tasks", {"mine": {"file": "a.xlsx"}}, ["custom_tasks.mine.file", "csv|jsonl|parquet"]),
    ],
)
def test_a_mistake_in_the_config(config, path, value, parts):
    change(config, path, value)
    text = message(config)
    for part in parts:
        assert part in text


@pytest.fixture
def folder(tmp_path):
    shutil.copytree(MODELS / "tiny-gpt2-medium", tmp_path / "m")
    return tmp_path / "m"


@pytest.mark.parametrize(
    ("remove", "add", "parts"),
    [
        ("tokenizer.json", None, ["no tokenizer.json"]),
        ("model.safetensors", None, ["no weights", "model.safetensors is needed"]),
        ("model.safetensors", "pytorch_model.bin", ["only pickled weights (pytorch_model.bin)"]),
        ("config.json", None, ["no config.json"]),
    ],
)
def test_a_model_folder_that_cannot_be_used(config, folder, remove, add, parts):
    (folder / remove).unlink()
    if add:
        (folder / add).write_bytes(b"x")
    change(config, "model_sources.tiny-gpt2-medium", {"path": str(folder)})
    text = message(config, folder.parent)
    for part in ["model_sources.tiny-gpt2-medium.path", *parts]:
        assert part in text


def test_the_shape_is_read_without_loading_the_model(folder):
    about = fingerprint.describe(folder)
    assert (about["layers"], about["heads"]) == (3, 8)
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(settings | {"x": 1}))
    assert fingerprint.fingerprint(folder) != about["fingerprint"]


GOOD = {"clean": "When Mary and John", "corrupt": "When John and Mary", "answer": " went", "distractor": " met"}


@pytest.mark.parametrize(
    ("rows", "parts"),
    [
        ([{"clean": "a"}] * 30, ["no column corrupt", "needed: clean, corrupt, answer, distractor"]),
        ([GOOD | {"corrupt": "When John and Mary met"}] * 70, ["6 tokens, the corrupt one 7", "valid train pairs"]),
        ([GOOD | {"answer": " met"}] * 70, ["answer ' met' is among the distractors"]),
        ([GOOD | {"id": "7"}] * 30, ["the id '7' twice"]),
        ([GOOD] * 8, ["examples.count is 32", "8 rows"]),
        ([GOOD | {"split": "test"}] * 70, ["split is 'test'", "train or held_out"]),
        ([GOOD | {"answer": ""}] * 70, ["answer is empty"]),
        ([GOOD | {"split": "train"}] * 70, ["0 valid held_out pairs and needs 10"]),
    ],
)
def test_a_custom_file_that_cannot_be_used(config, tmp_path, rows, parts):
    import pandas as pd

    # Prompts must differ between the splits, so every row gets a number at its end.
    numbered = [
        {k: f"{v} {n % 90}" if k in ("clean", "corrupt") else v for k, v in row.items()} for n, row in enumerate(rows)
    ]
    pd.DataFrame(numbered).to_csv(tmp_path / "mine.csv", index=False)
    config["custom_tasks"] = {"mine": {"file": str(tmp_path / "mine.csv")}}
    config["tasks"] = ["mine"]
    text = message(config, tmp_path)
    for part in ["custom_tasks.mine.file" if "examples.count" not in parts[0] else "", *parts]:
        assert part in text


def test_a_prompt_in_both_splits_is_refused(config, tmp_path):
    import pandas as pd

    rows = [
        GOOD | {"split": "train"},
        GOOD | {"clean": GOOD["corrupt"], "corrupt": "When Jim and Ann", "split": "held_out"},
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "mine.csv", index=False)
    config["custom_tasks"] = {"mine": {"file": str(tmp_path / "mine.csv")}}
    config["tasks"] = ["mine"]
    assert "id '000001': a prompt of it, clean or corrupt, is also one of id '000000'" in message(config, tmp_path)


def test_repeated_rows_are_said(config, tmp_path):
    import pandas as pd

    rows = [GOOD | {"clean": f"When Mary and John {n}", "corrupt": f"When John and Mary {n}"} for n in range(70)]
    pd.DataFrame(rows * 2).to_csv(tmp_path / "mine.csv", index=False)
    config["custom_tasks"] = {"mine": {"file": str(tmp_path / "mine.csv")}}
    config["tasks"] = ["mine"]
    with pytest.warns(match="70 rows of .* repeat another row and are counted once; 70 are left"):
        after_checks(config, reuse_checks.check, tmp_path)


def test_models_and_custom_files_may_lie_anywhere_on_disk(config, folder, tmp_path):
    import pandas as pd

    rows = [
        {**GOOD, "clean": f"{GOOD['clean']}{' the' * n}", "corrupt": f"{GOOD['corrupt']}{' the' * n}"}
        for n in range(60)
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "mine.csv", index=False)
    change(config, "model_sources.tiny-gpt2-medium", {"path": str(folder)})
    config["custom_tasks"] = {"mine": {"file": str(tmp_path / "mine.csv")}}
    config["tasks"] = ["mine"]
    after_checks(config, reuse_checks.check)
    config["custom_tasks"]["mine"]["file"] = str(tmp_path / "other.csv")
    assert "custom_tasks.mine.file: there is no file" in message(config)


def test_a_file_that_may_not_be_read_is_named(config, tmp_path, monkeypatch):
    (tmp_path / "mine.csv").write_text("clean")
    # Root, who runs the tests in containers, may read everything.
    real = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: "mine.csv" not in str(path) and real(path, mode))
    config["custom_tasks"] = {"mine": {"file": str(tmp_path / "mine.csv")}}
    config["tasks"] = ["mine"]
    assert "cannot be read: no permission" in message(config)


def test_a_loop_of_links_is_named(config, tmp_path):
    (tmp_path / "a.csv").symlink_to(tmp_path / "b.csv")
    (tmp_path / "b.csv").symlink_to(tmp_path / "a.csv")
    config["custom_tasks"] = {"mine": {"file": str(tmp_path / "a.csv")}}
    config["tasks"] = ["mine"]
    assert "custom_tasks.mine.file" in message(config)


def test_a_link_whose_target_is_gone_is_named_with_what_to_do(config, folder):
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to(folder / "gone")
    change(config, "model_sources.tiny-gpt2-medium", {"path": str(folder)})
    text = message(config)
    assert "model.safetensors is a link to" in text and "gone" in text and "put the file back" in text


def test_every_key_of_the_schema_is_described_and_unknown_ones_are_refused():
    whole = schema.read_schema()

    def visit(part, name):
        if part.get("type") == "object" and "properties" in part:
            assert part.get("additionalProperties") is False, name
            for key, inner in part["properties"].items():
                visit(inner, f"{name}.{key}".strip("."))
        else:
            assert part.get("description"), name

    visit(whole, "")


def test_documents_made_from_the_schemas_are_up_to_date():
    import document

    for path, text in document.DOCUMENTS.items():
        assert (PROJECT / path).read_text() == text(), f"run make docs: {path} is old"


def test_environments_and_lock_have_the_same_pins():
    from lock import pins_of

    pins = pins_of(PROJECT / "requirements.lock") | {"torch": "2.13.0"}
    assert '"torch==2.13.0"' in (PROJECT / "Makefile").read_text()
    for path in (PROJECT / "envs").glob("*.yaml"):
        listed = yaml.safe_load(path.read_text())["dependencies"][-1]["pip"]
        assert all(pins[name] == version for name, version in (pin.split("==") for pin in listed))


def test_everything_but_torch_is_pinned_by_hash_and_has_its_licence_listed():
    import lock

    listed = (PROJECT / "docs" / "licences.md").read_text()
    for name in lock.LOCKS:
        blocks = re.split(r"\n(?=[a-z])", (PROJECT / name).read_text().split("\n", 1)[1])
        assert len(blocks) > 1 and all("--hash=sha256:" in block for block in blocks)
    pins = lock.pins_of(PROJECT / "requirements.lock")
    assert "torch" not in pins and not any(name.startswith("nvidia") for name in pins)
    if sys.platform == "linux":
        assert listed == lock.licences(), "run make lock: docs/licences.md is old"


def test_all_mistakes_of_types_and_names_are_told_at_once():
    config = yaml.safe_load((PROJECT / "config" / "config.yaml").read_text())
    config["examples"] |= {"cont": 3}
    config |= {"seed": "x", "tests": {"alpha": 2}}
    with pytest.raises(ValueError) as caught:
        configs.check(config, PROJECT, PROJECT)
    lines = str(caught.value).splitlines()
    assert len(lines) == 3 and all(
        part in "".join(lines) for part in ("Did you mean count?", "seed is 'x'", "tests.alpha is 2")
    )


def test_numbers_of_the_command_line_are_numbers():
    """Snakemake gives what stands in a mapping or a list of --config as text."""
    config = yaml.safe_load((PROJECT / "config" / "config.yaml").read_text())
    config["circuits"] |= {"top_k": ["5", "8", "0.25"], "thresholds": ["0.75", "1"]}
    config["examples"] |= {"count": "50", "correct_only": "false"}
    config["figures"] |= {"formats": ["png"]}
    configs.check(config, PROJECT, PROJECT)
    assert config["circuits"]["top_k"] == [5, 8, 0.25] and config["examples"]["count"] == 50
    assert config["examples"]["correct_only"] is False and config["figures"]["formats"] == ["png"]


def test_a_mistake_in_a_study_that_is_not_asked_for_is_only_noted():
    config = yaml.safe_load((PROJECT / "config" / "config.yaml").read_text())
    config["sequences"]["examples"] = 4
    with pytest.warns(errors.ConfigNote, match="sequences is not asked for"):
        configs.check(
            copy.deepcopy(config), PROJECT, PROJECT, configs.asked_for(["reuse", "results/tables/scaling/heads.csv"])
        )
    config["scaling"]["examples"] = 4
    with pytest.raises(ValueError) as caught:
        configs.check(config, PROJECT, PROJECT)
    assert len(str(caught.value).splitlines()) == 2


def test_targets_say_what_is_asked_for():
    assert configs.asked_for(["paper_scaling", "results/figures/weights/a.svg"]) == configs.asked_for(
        ["weights", "scaling"]
    )
    assert (
        len(configs.asked_for([])) == len(configs.asked_for(["all"])) == len(configs.asked_for(["reuse", "all"])) == 5
    )
