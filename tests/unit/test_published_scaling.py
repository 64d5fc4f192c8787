"""The published tables: what comes out of them, what does not, and what is wrong with them."""

import re

import numpy as np
import pandas as pd
import pytest
from circuit_reuse.studies.scaling import columns, published_check, validator
from support import PROJECT

FOLDER = PROJECT / "resources" / "published" / "circuit-scaling"


@pytest.fixture(scope="module")
def shapes():
    return pd.read_csv(FOLDER / "shapes.csv").set_index("model").to_dict("index")


@pytest.fixture(scope="module")
def joint():
    return pd.read_csv(FOLDER / "joint_ioi_anti_repeat_all.csv")


@pytest.fixture(scope="module")
def check(shapes):
    tables = {path.stem: pd.read_csv(path) for path in FOLDER.glob("*.csv")}
    return published_check.check(tables, shapes, 499, 0)


def of(check, start):
    return check[check["item"].str.startswith(start)]


def test_category_counts_correlations_and_heroes_are_given_back(check):
    counts, correlations = of(check, "category counts"), of(check, "correlation of the deltas")
    assert len(counts) == len(correlations) == 9
    assert (counts["agrees"] == True).all() and (correlations["agrees"] == True).all()  # noqa: E712
    gap = correlations["published"].astype(float) - correlations["recomputed"].astype(float)
    assert gap.abs().max() < 1e-12
    heroes = of(check, "hero heads").iloc[0]
    assert (heroes["published"], heroes["recomputed"], heroes["agrees"]) == (30, 30, True)
    assert (of(check, "per-head")["agrees"] == True).all()  # noqa: E712


def test_ranks_and_labels_agree_and_mean_ranks_lie_open(check):
    ranks = of(check, "ranks of heads")
    assert (ranks["agrees"] == True).all() and ranks["published"].sum() == 25  # noqa: E712
    assert (of(check, "heads missing")["agrees"] == True).all()  # noqa: E712
    assert list(of(check, "heads missing")["published"]) == [8, 13, 13, 12, 17, 15]
    assert of(check, "divergence")["recomputed"].iloc[0] == 40
    means = of(check, "mean fractional")
    bounds = means["why"].str.extract(r"from ([\d.]+) to ([\d.]+)").astype(float)
    known = [(0.416, 0.605), (0.435, 0.547), (0.681, 0.860), (0.538, 0.549), (0.632, 0.724), (0.470, 0.590)]
    np.testing.assert_allclose(bounds.to_numpy(), known, atol=6e-4)
    values = means["published"].astype(float).to_numpy()
    assert ((bounds[0].to_numpy() - 1e-3 <= values) & (values <= bounds[1].to_numpy() + 1e-3)).all()


def test_every_disagreement_is_explained(check):
    assert (check[check["agrees"] == False]["why"].str.len() > 20).all()  # noqa: E712
    assert set(check.columns) == {"item", "published", "recomputed", "agrees", "why"}


def test_correlations_on_measured_heads_are_those_of_the_reference(check):
    found = of(check, "correlation on heads")["recomputed"].astype(float).round(3)
    known = {0.276, 0.092, 0.855, 0.921, -0.020, -0.154, 0.455, -0.023, 0.471}
    assert set(found) == known


@pytest.mark.parametrize(
    ("model", "tau", "counts"),
    [
        ("gpt2", 0.03, (7, 19, 9, 27)),
        ("gpt2", 0.07, (2, 3, 1, 56)),
        ("gpt2", 0.10, (2, 4, 0, 56)),
        ("gpt2-large", 0.03, (1, 1, 5, 49)),
        ("gpt2-large", 0.10, (0, 1, 0, 55)),
    ],
)
def test_the_sweep_of_tau(joint, model, tau, counts):
    found = published_check.category_of(joint[joint["model"] == model], tau).value_counts()
    order = ("ioi_only", "anti_only", "shared", "weak")
    assert tuple(int(found.get(name, 0)) for name in order) == counts


def test_the_validator_finds_what_is_known_of_the_published_table(joint, shapes):
    found = validator.validate(joint, shapes)
    counts = found.groupby("kind")["count"].sum()
    assert counts["outside"] == 24 and counts["imputed"] == 352
    assert (found["kind"] == "identical").sum() == 6
    assert counts["missing"] == 2240 - (496 - 24)
    text = validator.text("published", found)
    assert "L10H5" in text or "pythia-70m" in text
    # 108 of 112 IOI-only and 107 of 124 anti-only labels rest on an imputed zero.
    parts = found[found["kind"] == "imputed"]["what"].str.extract(r"; (\d+) of (\d+) heads that are (\w+)")
    sums = parts.astype({0: int, 1: int}).groupby(2).sum()
    assert tuple(sums.loc["ioi"]) == (108, 112) and tuple(sums.loc["anti"]) == (107, 124)
    assert found["touches"].str.len().min() > 20


def sound(layers=3, heads=4, seed=0, model="m"):
    rng = np.random.default_rng(seed)
    rows = [
        {"family": "f", "model": model, "layer": a, "head": h, "delta_x": rng.normal(), "delta_y": rng.normal()}
        for a in range(layers)
        for h in range(heads)
    ]
    return pd.DataFrame(rows)


def test_a_sound_table_has_no_findings():
    table = pd.concat([sound(), sound(seed=1, model="n")])
    shapes = {name: {"layers": 3, "heads": 4} for name in "mn"}
    found = validator.validate(table, shapes)
    assert found.empty and "Nothing was found" in validator.text("mine", found)


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda t: t.assign(layer=t["layer"] + 1), "outside"),
        (lambda t: t.iloc[1:], "missing"),
        (lambda t: pd.concat([t, t.iloc[:1]]), "repeated"),
        (lambda t: t.assign(delta_x=t["delta_x"].where(t["head"] > 0)), "not finite"),
        (lambda t: t.assign(delta_x=-t["delta_x"].abs()), "one-sided"),
        (lambda t: t.assign(delta_y=t["delta_y"].where(t["head"] > 0, 0.0)), "imputed"),
        (lambda t: t.assign(model="unheard of"), "unknown shape"),
        (lambda t: pd.concat([t, t.assign(model="n")]), "identical"),
    ],
)
def test_each_defect_is_named(change, kind):
    shapes = {name: {"layers": 3, "heads": 4} for name in "mn"}
    assert kind in set(validator.validate(change(sound()), shapes)["kind"])


def test_other_columns_are_refused_by_name():
    with pytest.raises(columns.TableError, match="no head, among: family"):
        validator.validate(sound().drop(columns="head"), {})
    with pytest.raises(columns.TableError, match="1 columns delta_<task>"):
        validator.validate(sound().drop(columns="delta_y"), {})


def test_a_table_without_rows_or_with_words_for_numbers_is_refused(tmp_path):
    with pytest.raises(columns.TableError, match="no rows"):
        validator.validate(sound().iloc[:0], {})
    with pytest.raises(columns.TableError, match="column layer, row 1: 'L0' is not a number"):
        columns.rows_of(written(tmp_path, sound().assign(layer="L0")))


def written(tmp_path, table):
    """A table as a user's file, with the byte-order mark that spreadsheets write."""
    table.to_csv(tmp_path / "heads.csv", index=False, encoding="utf-8-sig")
    return tmp_path / "heads.csv"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda t: t.assign(layer=t["layer"].where(t.index > 0)),
            "column layer, row 1 is ''; it must be a whole number",
        ),
        (lambda t: t.assign(head=t["head"] + 0.5), "column head, row 1 is '0.5'; it must be a whole number"),
        (lambda t: t.assign(model=""), "column model, row 1 is empty"),
        (lambda t: t.assign(delta_x="strong"), "column delta_x, row 1: 'strong' is not a number"),
    ],
)
def test_a_row_that_would_be_dropped_is_refused(tmp_path, change, words):
    with pytest.raises(columns.TableError, match=re.escape(words)):
        columns.rows_of(written(tmp_path, change(sound())))


def test_a_model_called_na_is_a_model_and_a_missing_number_is_reported(tmp_path):
    table = sound(model="NA").assign(delta_x=lambda t: t["delta_x"].where(t["head"] > 0))
    found = validator.validate(
        pd.DataFrame(columns.rows_of(written(tmp_path, table))), {"NA": {"layers": 3, "heads": 4}}
    )
    assert found[["kind", "model", "count"]].values.tolist() == [["not finite", "NA", 3]]
