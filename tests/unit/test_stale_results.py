"""Results of models that left the config: listed at the end of a run, removed on demand, and nothing else is."""

import subprocess
import sys

import pytest
import stale_results
import yaml
from support import PROJECT


def made(folder, name):
    """Results of a model, as the workflow lays them."""
    for path in (
        f"{name}/model.json",
        f"{name}/ioi/scores.parquet",
        f"tables/reuse/{name}/ioi/metrics.json",
        f"figures/reuse/{name}/circuits.html",
    ):
        place = folder / "results" / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("{}")


def test_only_the_models_that_left_are_removed(tmp_path, monkeypatch, capsys):
    for name in ("tiny-gpt2-medium", "gone"):
        made(tmp_path, name)
    (tmp_path / "results" / "prompts" / "ioi").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "resources").symlink_to(PROJECT / "resources")
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"models": ["tiny-gpt2-medium"]}))
    found = stale_results.left({"tiny-gpt2-medium"}, tmp_path)
    assert list(found) == ["gone"] and len(found["gone"]) == 3
    assert "gone" in stale_results.message(found) and "make clean-stale" in stale_results.message(found)
    assert stale_results.message({}) == ""
    # What is listed at the end of a run is what is removed: also of a model with a source that no study uses.
    used = stale_results.models_of(["mine.yaml"])
    assert "tiny-gpt2-medium" in used and not set(found) & used and "smollm2-135m" not in used
    stale_results.main(["--configfile", "mine.yaml"])
    assert "left over: gone" in capsys.readouterr().out and (tmp_path / "results" / "gone").is_dir()
    stale_results.main(["--configfile", "mine.yaml", "--remove"])
    kept = {path.name for path in (tmp_path / "results").rglob("*") if path.is_file()}
    assert not list(tmp_path.rglob("gone")) and kept == {
        "model.json",
        "scores.parquet",
        "metrics.json",
        "circuits.html",
    }
    assert (tmp_path / "results" / "prompts" / "ioi").is_dir()


def test_nothing_is_removed_where_a_config_is_not_read_or_a_run_is_at_work(tmp_path, monkeypatch, capsys):
    """A profile may name models; another run may be writing them."""
    made(tmp_path, "gone")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "resources").symlink_to(PROJECT / "resources")
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"models": ["tiny-gpt2-medium"]}))
    given = ["--configfiles", "mine.yaml", "--remove"]
    for option in (["--profile", "profiles/x"], ["--config", "models=[gone]"], ["--workflow-profile=x"]):
        with pytest.raises(SystemExit):
            stale_results.main([*given, *option])
        assert option[0].split("=")[0] in capsys.readouterr().err
    holder = subprocess.Popen([sys.executable, "-c", HOLDS, str(tmp_path / ".snakemake")], stdout=subprocess.PIPE)
    holder.stdout.readline()
    with pytest.raises(SystemExit):
        stale_results.main(given)
    assert "another run is already using" in capsys.readouterr().err and (tmp_path / "results" / "gone").is_dir()
    holder.kill()
    holder.wait()
    stale_results.main(given)
    assert not (tmp_path / "results" / "gone").exists()


HOLDS = f"""
import sys, time
sys.path.insert(0, {str(PROJECT / "workflow" / "scripts")!r})
import run_folder
run_folder.take(sys.argv[1])
print("held", flush=True)
time.sleep(60)
"""
