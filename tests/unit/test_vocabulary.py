"""The same quantity has the same column in every table, and every column is described."""

import re

import pandas as pd
import pytest
from circuit_reuse.data import csv_tables, tables
from circuit_reuse.studies.registry import STUDIES
from circuit_reuse.studies.reuse.schemas import FAITHFULNESS_CSVS
from circuit_reuse.validate import schemas as validate
from support import PROJECT

# What a column was called somewhere, or what says too little, and what it is called now.
OLD = {
    "n": "n_examples, n_runs, ...",
    "num_examples": "n_examples",
    "examples": "n_examples",
    "pairs": "n_pairs",
    "clusters": "n_clusters",
    "count": "n_<things>",
    "total": "n_total",
    "size": "n_components, n_heads, ...",
    "circuit_size": "n_components",
    "model_name": "model",
    "base_model": "source_model",
    "low": "<value>_low",
    "high": "<value>_high",
    "se": "<value>_standard_error",
    "standard_error": "<value>_standard_error",
    "null": "<value>_null",
    "chance": "<value>_null",
    "expected": "<value>_null",
    "random_mean": "<value>_random",
    "control_effect": "<value>_control",
    "percent": "score",
    "p_rank": "p_value where it is the table's only or main test",
    "data": "target",
}
# Files in the columns of published studies; transfer's p_rank is that of a rank, power's size that of an effect.
PUBLISHED = {"aggregated", "joint", "categories", "causal", "ablation", "correlations", "validation"}
MEANT = {("transfer", "p_rank"), ("power", "size")}


def every_table():
    """(name, its columns) of every Parquet and CSV table."""
    for name, study in STUDIES.items():
        schemas = study.module("schemas")
        yield from ((f"{name}: {table}", set(schema.names)) for table, schema in schemas.SCHEMAS.items())
        yield from ((table, set(columns)) for table, columns in schemas.CSVS.items() if table not in PUBLISHED)
    yield from ((name, set(schema.names)) for name, schema in tables.SCHEMAS.items())
    yield from ((name, set(columns)) for name, columns in (validate.CSVS | FAITHFULNESS_CSVS).items())


@pytest.mark.parametrize(("table", "columns"), every_table(), ids=lambda value: value if isinstance(value, str) else "")
def test_columns_have_the_names_of_the_vocabulary(table, columns):
    wrong = {name: OLD[name] for name in columns & set(OLD) if (table, name) not in MEANT}
    assert not wrong, f"{table} calls {wrong}"
    for name in columns:
        if end := re.fullmatch(r"(.+)_(low|high)", name):
            # An end without its value, or without the other end, says nothing; of a null its upper end may do.
            assert end[1] in columns and (f"{end[1]}_low" in columns or end[1].endswith("_null")), (table, name)
        if name.startswith("q_") and name != "q_family":
            assert f"p_{name[2:]}" in columns, (table, name)


def test_every_output_for_people_declares_its_columns():
    for study in STUDIES.values():
        assert set(study.tables) <= set(study.module("schemas").CSVS), study.name


def test_a_column_without_a_description_is_not_written(tmp_path):
    own = {"hits_<task>": "hits"}
    declared = csv_tables.columns("model", own, ends="score", q="p_value", score="score of a circuit", p_value="p")
    fine = {"model": "m", "score": [0.123456789], "score_low": [0.1], "q_value": [0.5], "hits_ioi": [3]}
    csv_tables.write(tmp_path / "t.csv", pd.DataFrame(fine), declared)
    assert (tmp_path / "t.csv").read_text() == "model,score,score_low,q_value,hits_ioi\nm,0.123457,0.1,0.5,3\n"
    for name in ("reuse", "other_low", "q_other", "hits_"):
        with pytest.raises(ValueError, match=f"columns without a description: {name}"):
            csv_tables.write(tmp_path / "t.csv", pd.DataFrame({"model": ["m"], name: [1]}), declared)


def test_columns_of_two_tasks_are_described_by_task():
    found = csv_tables.by_task(STUDIES["scaling"].module("schemas").HEADS)
    assert "delta_<task>_low" in found and not any("first" in name or "second" in name for name in found)
    assert csv_tables.description("delta_ioi_low", found) == "lower end of its 95 per cent t interval"


@pytest.mark.parametrize("study", STUDIES.values(), ids=STUDIES)
def test_every_figure_has_a_caption(study):
    captions = PROJECT / "workflow" / "report"
    missing = [name for name in study.figures if not (captions / f"{study.name}_{name}.rst").is_file()]
    assert missing == []
