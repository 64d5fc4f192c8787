"""A first config for a model of one's own is one that passes the checks and runs that model."""

import new_config
import pytest
import yaml
from circuit_reuse.studies.check import check
from snakemake.utils import update_config
from support import MODELS, PROJECT


def merged(path):
    """The config as `make mine` gives it to the workflow."""
    found = {}
    for each in (PROJECT / "config" / "config.yaml", PROJECT / "config" / "smollm2.yaml", path):
        update_config(found, yaml.safe_load(each.read_text()))
    return found


def test_a_folder_is_a_model_whatever_it_is_called(tmp_path, monkeypatch):
    folder = tmp_path / "My Model's 2 (new)"
    folder.symlink_to(MODELS / "tiny-gpt2-medium")
    path = new_config.write(str(folder), ["ioi", "months"], tmp_path)
    config = merged(path)
    name = path.stem.removeprefix("my-")
    assert config["models"] == [name] and config["model_sources"][name] == {"path": str(folder)}
    monkeypatch.chdir(PROJECT)
    check(config, PROJECT, PROJECT, ("reuse",))
    assert config["tasks"] == ["ioi", "months"]


def test_a_name_of_the_hub_has_a_revision(tmp_path):
    for model, revision in (("me/Some-Model_7B", "main"), ("me/Some-Model_7B@no", "no")):
        path = new_config.write(model, [], tmp_path)
        found = yaml.safe_load(path.read_text())
        assert found["model_sources"] == {"some-model_7b": {"hub": "me/Some-Model_7B", "revision": revision}}
        path.unlink()


@pytest.mark.parametrize(
    "model", ["HuggingFaceTB/SmolLM2-135M", "me/tiny-gpt2-medium", "tiny-gpt2-medium", "smollm2-135m"]
)
def test_a_model_may_be_called_as_one_of_the_configs_below(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if "/" not in model:
        (tmp_path / model).symlink_to(MODELS / "tiny-gpt2-medium")
    path = new_config.write(model, ["ioi"], tmp_path)
    config = merged(path)
    monkeypatch.chdir(PROJECT)
    source = config["model_sources"][config["models"][0]]
    assert set(source) == ({"hub", "revision"} if "/" in model else {"path"})


def test_what_was_edited_is_left_as_it_is(tmp_path):
    path = new_config.write("me/model", ["ioi"], tmp_path)
    text = path.read_text() + "seed: 3\n"
    path.write_text(text)
    # The same command goes on from there, and so does one without tasks.
    for again in (["ioi"], []):
        assert new_config.write("me/model", again, tmp_path).read_text() == text
    with pytest.raises(ValueError, match="is there already, with other tasks than TASKS: edit its line `tasks:`"):
        new_config.write("me/model", ["digits"], tmp_path)
    path.write_text("edited")
    assert new_config.write("me/model", [], tmp_path).read_text() == "edited"


def test_two_models_of_one_name_are_not_taken_for_each_other(tmp_path):
    folders = [tmp_path / place / "checkpoint-500" for place in ("a", "b")]
    for folder in folders:
        folder.mkdir(parents=True)
    path = new_config.write(str(folders[0]), [], tmp_path)
    assert new_config.write(str(folders[0]), [], tmp_path) == path
    with pytest.raises(ValueError, match=r"is of another model, .*a/checkpoint-500.* and MODEL is .*b/checkpoint-500"):
        new_config.write(str(folders[1]), [], tmp_path)
    new_config.write("me/model@step1000", [], tmp_path)
    new_config.write("me/model", [], tmp_path)
    with pytest.raises(ValueError, match="is of another model"):
        new_config.write("me/model@step3000", [], tmp_path)


def test_a_folder_with_a_number_for_its_name_has_a_name_that_is_text(tmp_path):
    for number in ("2000", "1.5", "null"):
        (tmp_path / number).mkdir()
        found = yaml.safe_load(new_config.write(str(tmp_path / number), [], tmp_path).read_text())
        assert found["models"] == [f"model-{number}"] == list(found["model_sources"])


@pytest.mark.parametrize(
    ("model", "tasks", "words"),
    [
        ("/nowhere/model", [], "there is no such folder or file"),
        ("model", [], "no name on the hub"),
        ("me/model", ["iou"], "Did you mean ioi"),
    ],
)
def test_a_model_or_task_that_there_is_not_is_one_line(tmp_path, model, tasks, words):
    with pytest.raises(ValueError, match=words):
        new_config.write(model, tasks, tmp_path)
    assert not list(tmp_path.iterdir())
