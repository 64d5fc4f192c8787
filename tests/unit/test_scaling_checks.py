"""Mistakes in the block `scaling`, each told in one line before any job."""

import pandas as pd
import pytest
import yaml
from circuit_reuse.config import errors
from circuit_reuse.studies.scaling import checks as scaling_checks
from support import PROJECT, after_checks
from test_checks import change


@pytest.fixture
def config(monkeypatch):
    monkeypatch.chdir(PROJECT)
    return yaml.safe_load((PROJECT / "config" / "config.yaml").read_text())


@pytest.mark.parametrize(
    ("path", "value", "parts"),
    [
        ("scaling.models", ["tiny-gpt2-smal"], ["scaling.models", "Did you mean tiny-gpt2-small?"]),
        ("scaling.tasks", ["ioi", "anti_repet"], ["scaling.tasks", "Did you mean anti_repeat?"]),
        ("scaling.tasks", ["ioi"], ["scaling.tasks", "at least this length: 2"]),
        ("scaling.examples", 12, ["scaling.examples", "min_valid (10)"]),
        ("scaling.replacement", "resample", ["scaling.replacement", "zero, mean, corrupt"]),
        ("scaling.classes.unit", "nats", ["scaling.classes.unit", "standard_errors"]),
        ("scaling.classes", {"tau": 1, "unit": "standard_errors"}, ["at least 2.5"]),
        ("scaling.classes.tau", 0, ["scaling.classes.tau", "more than 0"]),
        ("scaling.heroes.matchings", ["layer"], ["scaling.heroes.matchings", "plain"]),
        ("scaling.tracing.by_position", ["z", "mlp"], ["by_position.1", "'mlp'"]),
        ("scaling.tracing.examples", 36, ["scaling.tracing.examples is 36", "36 held-out"]),
        ("scaling.transfer.pairs", [["tiny-gpt2-small", "gpt9"]], ["transfer.pairs", "'gpt9'"]),
        ("scaling.transfer.pairs", [["tiny-gpt2-small"] * 2], ["paired with itself"]),
        ("scaling.tables", {"mine": {"file": "config/no.csv"}}, ["scaling.tables.mine.file", "no file"]),
        ("scaling.tables", {"mine": {"file": "../../etc/passwd.csv"}}, ["scaling.tables.mine.file: there is no file"]),
        ("scaling.tresholds", [1], ["scaling.tresholds", "unknown key"]),
    ],
)
def test_a_mistake_is_reported(config, path, value, parts):
    change(config, path, value)
    with pytest.raises(errors.ConfigError) as problem:
        after_checks(config, scaling_checks.check)
    text = str(problem.value)
    assert "\n" not in text and all(part in text for part in parts), text


def test_parts_by_position_must_be_traced_at_all(config):
    config["scaling"]["tracing"] = {"parts": ["v"], "by_position": ["z"], "examples": 4}
    with pytest.raises(errors.ConfigError, match=r"by_position: 'z' is not in .*parts \(v\)"):
        after_checks(config, scaling_checks.check)


def test_a_table_with_wrong_columns_names_them(config, tmp_path):
    pd.DataFrame({"model": ["m"], "layer": [0], "delta_x": [1]}).to_csv(tmp_path / "t.csv")
    config["scaling"]["tables"] = {"mine": {"file": str(tmp_path / "t.csv")}}
    with pytest.raises(errors.ConfigError) as problem:
        after_checks(config, scaling_checks.check, tmp_path)
    assert all(part in str(problem.value) for part in ("family", "head", "delta_<task>"))


def test_the_models_of_the_study_default_to_those_of_the_run(config):
    config.pop("scaling")
    after_checks(config, scaling_checks.check)
    assert config["scaling"]["models"] == config["models"]
    # Thresholds of the sweep go by tau, whatever its unit.
    assert config["scaling"]["classes"]["taus"] == [0.02, 0.03, 0.05, 0.07, 0.1, 0.2, 0.4]
