import json
import random

import pandas as pd
import pytest
from circuit_reuse.data import gather, tables
from circuit_reuse.report import latex
from circuit_reuse.studies.reuse import published_tables, schemas, summary


def row(**changes):
    return {"example": 0, "component": "a0.h1", "score": 0.5} | changes


def test_equal_rows_give_equal_bytes_and_carry_their_provenance(tmp_path):
    for name in ("a", "b"):
        tables.write(tmp_path / f"{name}.parquet", tables.SCORES, [row()], cfg={"x": 1}, model="f")
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    about = tables.provenance(tmp_path / "a.parquet")
    assert about["cfg"] == {"x": 1} and about["model"] == "f" and "torch" in about["versions"]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("score", [None, float("nan")])
def test_a_missing_value_where_none_may_be_is_an_error_and_leaves_no_file(tmp_path, score):
    with pytest.raises(ValueError, match="score holds a null"):
        tables.write(tmp_path / "a.parquet", tables.SCORES, [row(score=score)])
    assert list(tmp_path.iterdir()) == []


def test_another_table_is_not_read_by_mistake(tmp_path):
    tables.write(tmp_path / "a.parquet", tables.SCORES, [row()])
    with pytest.raises(ValueError, match="columns missing: accuracy"):
        tables.read(tmp_path / "a.parquet", schemas.TESTS)


def test_json_has_null_and_never_nan(tmp_path):
    value = published_tables.finite({"a": float("nan"), "b": [pd.NA, 1.5], "c": {"d": float("inf")}})
    published_tables.write_json(tmp_path / "x.json", value)
    assert json.loads((tmp_path / "x.json").read_text()) == {"a": None, "b": [None, 1.5], "c": {"d": None}}


def test_one_circuit_at_two_thresholds_is_one_hypothesis():
    base = {
        "model": "m",
        "task": "t",
        "method": "x",
        "top_k": 4.0,
        "n_components": 1,
        "effect": -1.0,
        "effect_low": -2.0,
        "effect_high": 0.0,
        "effect_control": 0.0,
        "lift": 0.0,
        "n_examples": 9,
        "split": "held_out",
        "p_mcnemar": 0.04,
        "p_permutation": 0.04,
    }
    tests = pd.DataFrame(
        [
            base | {"threshold": 0.5, "circuit": "a", "p_value": 0.01},
            base | {"threshold": 0.75, "circuit": "a", "p_value": 0.01},
            base | {"threshold": 1, "circuit": "b", "p_value": 0.03},
            base | {"threshold": 0.99, "circuit": "empty", "p_value": None},
        ]
    )
    reuse = tests[["model", "task", "method", "top_k", "threshold"]].assign(
        reuse=1.0, reuse_null=0.0, p_reuse=0.01, p_reuse_other=None
    )
    table = summary.summary(tests, reuse)
    assert list(table.columns[:19]) == summary.FIRST
    q = table.set_index("threshold")["q_value"]
    assert q[0.5] == q[0.75] == pytest.approx(0.02) and q[1.0] == pytest.approx(0.03)
    assert pd.isna(q[0.99])


def test_a_study_without_ordinary_text_has_an_empty_table_of_it():
    nothing = gather.rows([], schemas.GENERIC, empty=("model", "method"))
    found = summary.generic(nothing)
    assert found.empty and {"model", "task", "method", "q_value", "q_left"} <= set(found.columns)


def test_latex_escapes_what_names_may_hold():
    assert latex.escape("a_b & 50% #1 {x}~") == r"a\_b \& 50\% \#1 \{x\}\textasciitilde{}"
    assert [latex.p_cell(p) for p in (None, 0.5, 0.0123, 0.0001)] == ["--", "0.5", "0.012", r"$<$ 0.001"]


def test_a_flipped_bit_or_a_cut_is_never_read_as_data(tmp_path):
    """Whatever byte of a table changes: it is told, or what is read is what was written."""
    rows = [row(example=n, component=f"a{n % 3}.h{n % 5}", score=n / 7) for n in range(200)]
    path, changed = tmp_path / "a.parquet", tmp_path / "b.parquet"
    tables.write(path, tables.SCORES, rows, cfg={"x": 1}, model="f")
    good, content = tables.read(path, tables.SCORES), path.read_bytes()
    rng, told = random.Random(0), 0
    for _ in range(400):
        place, bit = rng.randrange(len(content)), 1 << rng.randrange(8)
        changed.write_bytes(content[:place] + bytes([content[place] ^ bit]) + content[place + 1 :])
        try:
            read = tables.read(changed, tables.SCORES)
        except ValueError:
            told += 1
            continue
        pd.testing.assert_frame_equal(read.astype({"component": str}), good.astype({"component": str}))
    assert told > 200
    for length in (0, 4, len(content) // 2, len(content) - 1):
        changed.write_bytes(content[:length])
        with pytest.raises(tables.DamagedTable, match=r"b\.parquet is damaged"):
            tables.read(changed, tables.SCORES)
