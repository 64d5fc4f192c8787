"""Interactive pages of circuits: what they hold is what the tables hold, and a browser shows it."""

import itertools
import json
import re
import shutil
import subprocess

import browser
import pandas as pd
import pytest
from circuit_reuse.report import circuit_pages
from circuit_reuse.studies.contrast import budget_pages
from circuit_reuse.studies.reuse import component_pages

CFG = {"titles": {"ioi": "IOI <b>", "digits": "Digits"}, "chosen": {"top_k": 2, "threshold": 0.75}, "unit": "logits"}


def reuse_data():
    """Two tasks that share a head, and one edge that enough examples share."""
    found = pd.DataFrame({"task": ["ioi", "digits"], "components": [["a0.h1", "m1"], ["a0.h1"]]})
    inclusion = pd.DataFrame(
        {
            "task": ["ioi", "ioi", "ioi", "digits"],
            "component": ["a0.h1", "m1", "a2.h0", "a0.h1"],
            "frequency": [1.0, 0.8, 0.1, 0.9],
            "mean_score": [-2.0, -1.0, 0.2, -0.5],
        }
    )
    shared = pd.DataFrame(
        {
            "task": ["ioi", "ioi", "ioi"],
            "level": ["edge", "edge", "position"],
            "component": ["a0.h1", "input", "a0.h1"],
            "place": ["a1.h3-4.v", "m1", "end"],
            "frequency": [0.8, 0.5, 1.0],
            "mean_score": [-0.7, 0.1, -2.0],
        }
    )
    return component_pages.content("m", found, inclusion, shared, CFG)


def test_nodes_are_those_of_circuits_and_of_edges_that_enough_examples_share():
    data = reuse_data()
    nodes = {node["id"]: node for node in data["nodes"]}
    # A key that heads 3 and 4 share has an edge into both; the edge of half of the examples has none.
    assert list(nodes) == ["a0.h1", "a1.h3", "a1.h4", "m1"]
    assert nodes["a0.h1"]["tasks"] == ["ioi", "digits"] and nodes["a1.h3"]["tasks"] == []
    assert [(line["from"], line["to"], line["part"]) for line in data["edges"]["ioi"]] == [
        ("a0.h1", "a1.h3", "v"),
        ("a0.h1", "a1.h4", "v"),
    ]
    assert data["edges"]["digits"] == []
    assert nodes["a0.h1"]["facts"][0][1] == {"ioi": "100 %", "digits": "90 %"}
    assert nodes["m1"]["facts"][1][1] == {"ioi": "-1.000"}


def test_a_budget_page_has_the_main_circuits_of_real_texts():
    circuits = pd.DataFrame(
        {
            "set": ["s", "s", "s"],
            "scored_by": ["aligned", "aligned", "aligned"],
            "rule": ["ratio", "ratio", "ratio"],
            "condition": ["real", "real", "shuffled"],
            "main": [True, False, True],
            "components": ["input a1.h0 m0", "input m1", "input a0.h0"],
        }
    )
    components = pd.DataFrame(
        {
            "set": ["s"],
            "scoring": ["aligned"],
            "component": ["a1.h0"],
            "score": [2.0],
            "score_low": [1.0],
            "score_high": [3.0],
        }
    ).assign(q_value=0.02, effect_share=0.5)
    inclusion = pd.DataFrame(
        {
            "set": ["s"],
            "scored_by": ["aligned"],
            "rule": ["ratio"],
            "condition": ["real"],
            "component": ["a1.h0"],
            "frequency": [0.9],
        }
    )
    data = budget_pages.content(
        "m", {"circuits": circuits, "components": components, "inclusion": inclusion}, {"s": "Set"}
    )
    assert [node["id"] for node in data["nodes"]] == ["m0", "a1.h0"]
    assert [task["title"] for task in data["tasks"]] == ["Set: aligned, ratio"]
    facts = dict(data["nodes"][1]["facts"])
    assert facts["difference"] == {"s.aligned.ratio": "2 [1, 3]"} and facts["chosen by draws"] == {
        "s.aligned.ratio": "90 %"
    }


def test_a_browser_shows_the_node_that_a_link_names(tmp_path):
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if not browser:
        pytest.skip("no Chromium to open the page in")
    path = tmp_path / "made" / "circuits.html"
    circuit_pages.write(path, reuse_data())
    assert "<b>" not in re.search(r'id="data">(.*?)</script>', path.read_text())[1]
    assert json.loads(re.search(r'id="data">(.*?)</script>', path.read_text())[1])["unit"] == "logits"
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=3000", "--dump-dom"]
    page = subprocess.run(
        [browser, *options, f"{path.as_uri()}#a0.h1"], capture_output=True, text=True, timeout=120
    ).stdout
    assert "a0.h1 (head)" in page and "in the circuits of train examples" in page and "IOI &lt;b&gt;" in page
    assert "a0.h1 → a1.h3.v: -0.7 logits" in page


@pytest.mark.skipif(not browser.installed(), reason="no Chromium to open the page in")
def test_the_slider_reaches_every_edge_in_any_unit(tmp_path):
    """Effects in probability may all be below a thousandth; of many edges 120 are shown at first."""
    names = ["input", *(f"a{n // 12}.h{n % 12}" for n in range(150)), "logits"]
    nodes = [circuit_pages.node(name, ["t"], [["fact", {"": "1"}]]) for name in names[1:-1]]
    effects = [round(1e-6 * (n + 1), 9) for n in range(150)]
    edges = [
        *itertools.chain(*map(circuit_pages.edges, itertools.repeat("input"), [f"{n}.q" for n in names[1:-1]], effects))
    ]
    data = {"model": "m", "about": "", "unit": "probability", "tasks": circuit_pages.coloured({"t": "T"})}
    circuit_pages.write(tmp_path / "c.html", data | {"nodes": nodes, "edges": {"t": edges}, "read": [], "labels": {}})
    page = browser.Page(tmp_path / "profile")
    try:
        page.open((tmp_path / "c.html").as_uri())

        def shown(value=None):
            slider = "const s = document.querySelector('input[type=range]');"
            move = "" if value is None else f"s.value = {value}; s.oninput();"
            return page.run(
                f"(() => {{ {slider} {move} return document.querySelectorAll('#diagram path').length; }})()"
            )

        assert [shown(), shown(0), shown(effects[-1]), shown(effects[75])] == [120, 150, 1, 75]
        assert "7.6e-5 probability" in page.run("document.querySelector('label').textContent").replace(
            "0.000076", "7.6e-5"
        )
        assert not page.errors
    finally:
        page.close()


def test_without_edges_every_layer_is_one_line_with_its_components_in_order(tmp_path):
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if not browser:
        pytest.skip("no Chromium to open the page in")
    names = ["a1.h10", "a1.h2", "m1", "input", "a7.h0"]
    made = [circuit_pages.node(name, ["t"], [["fact", {"": "1"}]]) for name in names]
    data = {"model": "m", "about": "", "unit": "logits", "tasks": circuit_pages.coloured({"t": "T"})}
    circuit_pages.write(tmp_path / "c.html", data | {"nodes": made, "edges": {"t": []}, "read": [], "labels": {}})
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=3000", "--dump-dom"]
    page = subprocess.run(
        [browser, *options, (tmp_path / "c.html").as_uri()], capture_output=True, text=True, timeout=120
    ).stdout
    svg = re.search(r"<svg.*?</svg>", page, re.DOTALL)[0]
    shown = re.findall(r'<text x="(.*?)" y="(.*?)".*?>(.*?)</text>', svg)
    at = {text: (float(x), float(y)) for x, y, text in shown}
    assert set(at) == {"embedding", "layer 1", "layer 7", *names}
    assert at["embedding"][1] < at["layer 1"][1] == at["m1"][1] == at["a1.h2"][1] == at["a1.h10"][1] < at["a7.h0"][1]
    assert at["a1.h2"][0] < at["a1.h10"][0] < at["m1"][0]


def test_up_to_fourteen_circuits_have_colours_of_their_own():
    colours = [each["colour"] for each in circuit_pages.coloured({str(n): "" for n in range(16)})]
    assert len(set(colours[:14])) == 14 and set(colours[14:]).isdisjoint(colours[:14])
    assert circuit_pages.darker("#E69F00") == "#734f00"
