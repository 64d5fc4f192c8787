"""Comparing circuits, their tables, the published numbers, diagrams and the page."""

import itertools
import json
import re
import shutil
import time
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from circuit_reuse.data import tables
from circuit_reuse.data.components import Space
from circuit_reuse.papers import claims
from circuit_reuse.report import circuit_pages
from circuit_reuse.stats import similarity, testing
from circuit_reuse.studies.sequences import (
    circuit_page,
    diagrams,
    findings,
    given_circuits,
    measures,
    published_check,
    schemas_heads,
    shares,
    stage_cross_tasks,
    stage_names,
)
from support import PROJECT

PUBLISHED = PROJECT / "resources" / "published" / "sequence-circuits"
SPACE = Space(2, 3, 8, 4)


def test_overlap_is_tested_against_all_ways_to_draw_the_sets():
    names = SPACE.of_kinds()
    first, second = ["a0.h0", "a0.h1", "m0"], ["a0.h1", "m0", "m1", "a1.h2"]
    found = similarity.overlap(first, second, names)
    draws = [set(draw) for draw in itertools.combinations(names, 4)]
    counts = [len(set(first) & draw) for draw in draws]
    assert found["p_value"] == pytest.approx(np.mean([n >= 2 for n in counts]))
    assert found["jaccard"] == 2 / 5 and found["n_shared"] == 2 and found["components"] == ["a0.h1", "m0"]
    assert found["n_shared_null"] == pytest.approx(np.mean(counts))
    # Within layers and kinds: one head of layer 0, one of layer 1, and both MLPs.
    alike = [
        n
        for n, draw in zip(counts, draws, strict=True)
        if {"m0", "m1"} <= draw and sum(name.startswith("a0") for name in draw) == 1
    ]
    assert found["p_layers"] == pytest.approx(np.mean([n >= 2 for n in alike]))
    assert found["n_shared_null_layers"] == pytest.approx(np.mean(alike))
    assert similarity.overlap([], second, names)["p_value"] == 1


def test_circuits_that_share_no_more_than_their_layers_are_not_called_alike():
    """Sets that fill the first layer, drawn again within layers: the plain test is fooled, the other not."""
    space = Space(4, 6, 8, 4)
    names = space.of_kinds()
    rng = np.random.default_rng(0)
    plain, within = [], []
    for _ in range(200):
        first, second = (
            [f"a0.h{n}" for n in rng.choice(6, 4, replace=False)] + [f"a3.h{rng.integers(6)}", "m0", "m1", "m2", "m3"]
            for _ in range(2)
        )
        found = similarity.overlap(first, second, names)
        plain.append(found["p_value"] <= 0.05)
        within.append(found["p_layers"] <= 0.05)
    assert np.mean(plain) > 0.9 and np.mean(within) <= 0.08


def pruned(circuits):
    rows = []
    for strategy, names in circuits.items():
        rows.append({"strategy": strategy, "threshold": 0.2, "order": None, "draw": None, "components": names})
    return pd.DataFrame(rows)


def test_circuits_are_named_joined_and_get_random_ones_of_their_make():
    cfg = {"threshold": 0.2, "strategy": "backward_first"}
    rows = []
    for task, names in (("x", ["a0.h0", "m0"]), ("y", ["a0.h0", "a1.h1", "m1"]), ("z", ["a0.h0"])):
        rows += stage_names.of_task(pruned({"backward_first": names, "frequent": names[:1]}), task, cfg)
    rows += stage_names.combined({row["task"]: row["components"] for row in rows if row["kind"] == "task"})
    by_name = {row["circuit"]: row["components"] for row in rows}
    assert by_name["x | y"] == ["a0.h0", "m0", "a1.h1", "m1"]
    assert by_name["x & y & z"] == ["a0.h0"] and by_name["x | y | z"] == ["a0.h0", "m0", "a1.h1", "m1"]
    random = stage_names.random_rows(rows, SPACE, 5, (0, "m"))
    makes = {row["composition"] for row in random}
    assert makes == {"1 head, 1 MLP", "2 heads, 1 MLP", "1 head"}
    assert all(shares.composition(row["components"]) == row["composition"] for row in random)
    pairs = {(row["first"], row["second"]) for row in stage_names.overlaps(rows, SPACE)}
    assert ("x", "y") in pairs and ("x", "x & y") not in pairs


def effects_frame(values):
    """Effects of {(circuit, control, direction): [example]}."""
    parts = []
    for (circuit, control, direction), metric in values.items():
        parts.append(
            pd.DataFrame(
                {
                    "circuit": circuit,
                    "control": control,
                    "direction": direction,
                    "example": range(len(metric)),
                    "cluster": range(len(metric)),
                    "metric": metric,
                    "correct": True,
                    "rank": 1,
                    "kl": 0.0,
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def test_scores_ranks_and_drops_by_hand():
    full = np.array([10.0, 12.0, 8.0])
    rows = [
        stage_names.row("x", "task", ["a0.h0", "m0"], "x"),
        *[
            stage_names.row("random 1 head, 1 MLP", "random", names, number=n)
            for n, names in enumerate((["a0.h1", "m0"], ["m0", "a0.h0"], ["a1.h0", "m1"]))
        ],
    ]
    table = pd.DataFrame(rows)
    values = {
        (None, None, "none"): full,
        ("empty", None, "keep"): [1, 1, 1],
        ("x", None, "keep"): full * 0.9,
        ("x", None, "remove"): full * 0.2,
        ("x without", 0, "keep"): full * 0.4,
        ("x without", 1, "keep"): full * 1.1,
        ("random 1 head, 1 MLP", 0, "keep"): full * 0.95,
        ("random 1 head, 1 MLP", 1, "keep"): full * 0.9,
        ("random 1 head, 1 MLP", 2, "keep"): full * 0.1,
        ("single", 0, "remove"): full - 2,
        ("single", 1, "remove"): full + 1,
    }
    frame = effects_frame(values)
    cfg = {"bootstrap": 200, "permutations": 199, "two_sided": False}
    (row,) = measures.cross_rows(testing.Outcomes(frame), table, "x", cfg, ("t",))
    assert row["score"] == pytest.approx(0.9) and row["score_empty"] == pytest.approx(0.1)
    assert row["score_low"] == pytest.approx(0.9) and row["score_high"] == pytest.approx(0.9)
    # Two-sided, the one that scores 0.95 is nearer to 1 and the one that scores 0.1 is not.
    (both,) = measures.cross_rows(testing.Outcomes(frame), table, "x", cfg | {"two_sided": True}, ("t",))
    assert both["p_value"] == pytest.approx(2 / 3)
    # The circuit itself is among the random ones and is left out: of two others one does better.
    assert row["n_random"] == 2 and row["p_value"] == pytest.approx(2 / 3)
    assert row["score_random"] == pytest.approx(0.525) and row["score_removed"] == pytest.approx(0.2)
    found = {
        r["component"]: r
        for r in measures.importance_rows(testing.Outcomes(frame), table, ["a0.h0", "m0"], "x", cfg, ("t",))
    }
    assert found["a0.h0"]["from_full"] == pytest.approx(-0.2) and found["m0"]["from_full"] == pytest.approx(0.1)
    assert found["a0.h0"]["in_circuit_drop"] == pytest.approx(-0.5)
    assert found["m0"]["in_circuit_drop"] == pytest.approx(0.2)
    assert found["a0.h0"]["p_in_circuit_drop"] == pytest.approx(0.25)
    # Three examples, all of one sign: 1 of 8 flips, on the side that works against the task.
    assert found["m0"]["p_against"] == pytest.approx(0.125) and found["a0.h0"]["p_against"] == pytest.approx(0.875)


def test_every_circuit_is_kept_and_removed_and_its_members_taken_out_on_its_own_task_alone():
    rows = [
        stage_names.row("x", "task", ["a0.h0", "m0"], "x"),
        stage_names.row("y", "task", ["m1"], "y"),
        stage_names.row("x & y", "intersection", []),
    ]
    units = stage_cross_tasks.interventions_of(pd.DataFrame(rows), "x", SPACE.of_kinds())
    found = {(unit.circuit, unit.direction): unit.sets for unit in units}
    assert found["x without", "keep"] == [(0, ["m0"]), (1, ["a0.h0"])]
    assert ("y without", "keep") not in found and ("y", "remove") in found
    assert found["x & y", "keep"] == [(None, [])] and ("x & y", "remove") not in found
    assert len(found["single", "remove"]) == 8


def test_the_published_overlaps_come_out_and_what_needs_weights_is_empty():
    circuits = json.loads((PUBLISHED / "circuits.json").read_text())["circuits"]
    numbers = json.loads((PUBLISHED / "numbers.json").read_text())
    table = published_check.check(circuits, numbers, {}).set_index("item")
    for item, value in (
        ("Jaccard index of heads, digits and number_words", 0.65),
        ("Jaccard index of heads, digits and months", 0.42),
        ("Jaccard index of heads, number_words and months", 0.39),
    ):
        assert table.loc[item, "agrees"] and round(float(table.loc[item, "recomputed"]), 2) == value
    known = table[table["agrees"].notna()]
    assert known["agrees"].all() and len(known) > 20
    needs = table[table["why"].str.contains("needs the weights")]
    assert needs["recomputed"].isna().all() and len(needs) > 100
    assert not table.index.duplicated().any()


def test_a_run_with_the_published_circuits_fills_in_the_rest():
    circuits = json.loads((PUBLISHED / "circuits.json").read_text())["circuits"]
    numbers = json.loads((PUBLISHED / "numbers.json").read_text())
    cross = pd.DataFrame(
        [
            {"model": "gpt2", "circuit": "published: digits", "target": "digits", "score": 0.79},
            {"model": "gpt2", "circuit": "published: digits", "target": "months", "score": 0.6},
        ]
    )
    drops = {name: -0.46 if name == "a0.h1" else 0.0 for name in circuits["digits"]}
    rows = [
        {
            "model": "gpt2",
            "task": "digits",
            "circuit": file,
            "component": name,
            "in_circuit_drop": drop,
            "from_full": None,
        }
        for file in ("published: digits", "other: digits")
        for name, drop in list(drops.items())[file == "other: digits" :]
    ]
    rows.append({"model": "gpt2", "task": "digits", "component": "m9", "from_full": -0.7, "circuit": None})
    # Another model in the same run changes nothing.
    importance = pd.DataFrame([{**rows[0], "model": "another", "in_circuit_drop": -0.9}, *rows])
    ov = pd.DataFrame(
        [
            {
                "model": "gpt2",
                "task": "digits",
                "component": "a9.h1",
                "kind": "next",
                "stream": "published",
                "sign": 1,
                "position": None,
                "share": 0.9,
            }
        ]
    )
    table = published_check.check(circuits, numbers, {"cross": cross, "importance": importance, "ov": ov})
    table = table.set_index("item")
    assert table.loc["score, % of full: circuit digits on digits", "agrees"]
    assert not table.loc["score, % of full: circuit digits on months", "agrees"]
    assert table.loc["drop out of the circuit, points: a0.h1, digits", "agrees"]
    assert table.loc["score without m9, % of full, digits", "recomputed"] == "30"
    assert table.loc["next score, % of tokens: a9.h1, digits", "agrees"]


def test_another_model_answers_by_its_own_circuit_and_the_component_of_the_same_rank():
    """Of GPT-2's heads, 9.1 has the third largest drop: there the third head of the other model's circuit stands in."""
    circuits = json.loads((PUBLISHED / "circuits.json").read_text())["circuits"]
    numbers = json.loads((PUBLISHED / "numbers.json").read_text())
    drops = {"a0.h0": -0.1, "a1.h1": -0.5, "m3": -0.9, "a2.h0": -0.3, "a3.h0": -0.7}
    importance = pd.DataFrame(
        {
            "model": "other",
            "task": "digits",
            "component": [*drops, "a3.h2"],
            "in_circuit": [*[True] * len(drops), False],
            "in_circuit_drop": [*drops.values(), None],
            "from_full": [-0.2, -0.1, -0.4, 0.0, -0.3, -0.6],
        }
    )
    cross = pd.DataFrame([{"model": "other", "circuit": "digits", "target": "months", "score": 0.6}])
    table = published_check.check(circuits, numbers, {"cross": cross, "importance": importance}).set_index("item")
    row = table.loc["drop out of the circuit, points: a9.h1, digits"]
    assert row["recomputed"] == "-30" and row["why"].endswith("here of other, a2.h0")
    assert pd.isna(table.loc["drop out of the circuit, points: a8.h9, digits", "recomputed"])
    strongest = next(iter(numbers["from_full_drop"]["digits"]))
    assert table.loc[f"drop out of the full model, points: {strongest}, digits", "recomputed"] == "-60"
    assert table.loc["score without m3, % of full, digits", "recomputed"] == "60"
    assert table.loc["score, % of full: circuit digits on months", "recomputed"] == "60"
    others = table[table["model"] == "other"]
    assert others["agrees"].isna().all() and len(others) == 1 + 4 + 5 + 1
    verdicts = {row["verdict"] for row in claims.from_check("check", others.reset_index(), "cost")}
    assert verdicts == {"other models"}


def test_a_circuit_file_that_cannot_be_used_says_what_is_wrong(tmp_path):
    path = tmp_path / "c.json"

    def read(content):
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return given_circuits.read(path)

    assert read({"circuits": {"digits": ["a0.h1", "m0"]}}) == {"digits": ["a0.h1", "m0"]}
    for content, message in (
        ("{", "must be JSON"),
        ({"circuit": {}}, "must be JSON with the key circuits"),
        ({"circuits": {"digits": ["4.4", "x3", "input"]}}, "'4.4', 'x3', 'input' name no component"),
        ({"circuits": {"digits": ["m0", "m0"]}}, "m0 is listed twice"),
        ({"circuits": {"digits": []}}, "digits: there is no head and no MLP in this circuit"),
    ):
        with pytest.raises(given_circuits.CircuitFileError, match=re.escape(message)):
            read(content)
    with pytest.raises(given_circuits.CircuitFileError, match=r"2 layers of 3 heads and so no a9\.h1, m4"):
        given_circuits.check_model(path, read({"circuits": {"digits": ["a9.h1", "m0", "m4"]}}), SPACE, "tiny")


EDGES = pd.DataFrame(
    [
        ("input", "a0.h0.q", -3.0),
        ("input", "a0.h0.v", -9.0),
        ("a0.h0", "m1", 4.0),
        ("m1", "logits", -20.0),
        ("a0.h0", "logits", -0.1),
    ],
    columns=["writer", "reader", "score_change"],
).assign(kept=[True, True, True, True, False])


def test_a_diagram_is_made_from_the_tables_alone():
    found = diagrams.strongest(EDGES, 10)
    assert [(e["writer"], e["node"]) for e in found] == [("m1", "logits"), ("input", "a0.h0"), ("a0.h0", "m1")]
    assert sorted(found[1]["parts"]) == ["q", "v"] and found[1]["effect"] == -9.0
    colours = {"x": "#E69F00", "y": "#56B4E9", "z": "#009E73"}
    members = {"a0.h0": ["x", "y"], "m1": ["x", "y", "z"]}
    graph = diagrams.draw("T & <x>", {"x": EDGES}, members, colours, {t: f"<{t}>" for t in colours}, 10)
    text = graph.source
    assert f'fillcolor="{diagrams.fill(["x", "y"], colours)}"' in text and "&lt;x&gt;" in text
    assert "headlabel=qv" in text and f'color="{diagrams.HARMS}"' in text
    assert "a0.h0 -> logits" not in text and '"a0.h0" -> logits' not in text
    both = diagrams.joined({"x": diagrams.strongest(EDGES, 9), "y": diagrams.strongest(EDGES[:2], 9)})
    assert both["input", "a0.h0"][1] == ["x", "y"] and both["m1", "logits"][1] == ["x"]


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
def test_a_diagram_fits_the_width_of_a_page(tmp_path):
    colours = {"x": "#E69F00"}
    rows = [("input", f"a0.h{n}.v", -1.0) for n in range(40)] + [(f"a0.h{n}", "logits", -2.0) for n in range(40)]
    edges = pd.DataFrame(rows, columns=["writer", "reader", "score_change"]).assign(kept=True)
    graph = diagrams.draw("wide", {"x": edges}, {}, colours, {"x": "X"}, 100)
    for kind in ("svg", "pdf"):
        diagrams.render(graph, tmp_path / f"d.{kind}")
    width = float(re.search(r'<svg width="(\d+)pt"', (tmp_path / "d.svg").read_text())[1])
    assert width <= 6.6 * 72 and (tmp_path / "d.pdf").read_bytes()[:4] == b"%PDF"


@pytest.mark.skipif(not shutil.which("dot"), reason="Graphviz's program dot is not installed")
def test_a_diagram_that_is_drawn_again_is_the_same_file(tmp_path):
    """PDFs bear the second at which they were made; ours do not."""
    graph = diagrams.draw("T", {"x": EDGES}, {}, {"x": "#E69F00"}, {"x": "X"}, 10)
    drawn = {kind: graph.pipe(format=kind) for kind in ("svg", "pdf")}
    time.sleep(1.1)
    for kind, before in drawn.items():
        diagrams.render(graph, tmp_path / f"d.{kind}")
        assert (tmp_path / f"d.{kind}").read_bytes() == diagrams.undated(before)
    assert b"CreationDate" not in before or before != diagrams.undated(before)


def test_the_page_leaves_out_the_attention_of_a_task_that_was_left_out(tmp_path):
    """The model cannot do `y`: its table of attention is not among the inputs, and the page is made of the others."""
    path = tmp_path / "attention.parquet"
    rows = [
        {"component": "a0.h0", "query": q, "key": k, "query_label": "ab"[q], "key_label": "ab"[k], "attention": 0.5}
        for q in range(2)
        for k in range(2)
    ]
    tables.write(path, schemas_heads.ATTENTION, rows, cfg={}, of={"model": "tiny", "task": "x"})
    found = {name: tmp_path / f"{name}.csv" for name in ("importance", "head_functions", "spectrum", "neurons")}
    for name, each in found.items():
        more = {"importance": "task", "neurons": "rank,task"}.get(name, "x")
        each.write_text(f"model,component,{more}\n")
    cfg = {"of": ["x"], "read": ["x", "y"], "titles": {"x": "X", "y": "Y"}, "colours": ["#E69F00"]}
    input = SimpleNamespace(tables=found.values(), attention=[path])
    data = circuit_page.content(input, cfg, "tiny", {"x": EDGES}, {"a0.h0": ["x"]})
    assert data["read"] == [{"id": "x", "title": "X"}] and data["labels"] == {"x": ["a", "b"]}
    assert next(node for node in data["nodes"] if node["id"] == "a0.h0")["patterns"] == {"x": [50] * 4}


def test_the_page_needs_no_network_and_nothing_in_its_data_ends_the_script():
    template = (PROJECT / "workflow" / "report" / "circuits.html").read_text()
    text = circuit_pages.page(template, {"model": "</script><b>&", "nodes": []})
    assert text.count("</script>") == template.count("</script>")
    held = text.split('id="data">')[1].split("</script>")[0]
    assert json.loads(held)["model"] == "</script><b>&"
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text)
    assert "innerHTML" not in template and "default-src 'none'" in template
    with pytest.raises(ValueError, match="JSON compliant"):
        circuit_pages.page(template, {"x": float("nan")})


def test_a_share_of_nothing_or_of_harm_is_not_a_number():
    values, full, stream = np.array([1.0, 2.0]), np.array([-1.0, 0.5]), (0, "share")
    assert (
        np.isnan(shares.share(values, full)) and np.isnan(shares.share_interval(values, full, 20, stream, None)).all()
    )
    assert shares.share(values, np.array([1.0, 2.0])) == 1
    with pytest.raises(ValueError, match="does not do t"):
        shares.check_task(full, "t", "m")


@pytest.mark.parametrize("scored_by", ["logit_difference", "kl"])
def test_a_row_of_the_findings_has_scores_of_one_kind(scored_by):
    """By KL divergence the empty circuit is 0; that of the metric, 35 here, is another quantity."""
    row = {"model": "m", "task": "t", "strategy": "s", "threshold": 0.2, "order": None, "draw": None}
    row |= {"n_heads": 3, "n_mlps": 1, "n_new": 4, "score_empty_train": 0.0, "scored_by": scored_by}
    row |= dict.fromkeys(("score", "score_low", "score_high", "score_train", "score_new"), 0.9)
    cross = {"model": "m", "circuit": "t", "target": "t", "score_empty": 0.35, "accuracy_kept": 0.5}
    cfg = {"strategy": "s", "threshold": 0.2, "two_sided": True, "titles": {}}
    text = findings.circuits(pd.DataFrame([row]), pd.DataFrame([cross]), cfg)
    assert ("35" in text) == (scored_by != "kl") and ("KL divergence" in text) == (scored_by == "kl")
    # The limit was one of the pruning's own score.
    cut = {"model": "m", "task": "t", "rule": "all", "chosen": True, "n_edges": 5}
    cut |= dict.fromkeys(("score", "score_low", "score_high"), 0.5)
    none = pd.DataFrame(columns=["model", "task", "attribution", "score_change"])
    text = findings.edges(none, pd.DataFrame([cut]), pd.DataFrame([row]), cfg)
    assert ("outside the limit" in text) == (scored_by != "kl")
