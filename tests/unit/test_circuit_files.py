"""Circuit files: every format in and out, and mistakes told with their names and numbers."""

import json
import os
import subprocess
import sys

import pytest
from circuit_reuse.data import circuit_exports, circuit_files, circuit_formats, components, fingerprint
from circuit_reuse.data.circuit_files import Circuit, CircuitFileError
from circuit_reuse.data.components import Space
from circuit_reuse.engine import edge_circuits, models
from support import MODELS, PROJECT

GPT2, TINY = Space(12, 12, 768, 64), Space(2, 2, 8, 4)
PUBLISHED = PROJECT / "resources" / "published" / "sarcasm-circuits"
NODES = Circuit(
    nodes={"input": None, "m1": 2.5, "a0.h1": 1.0},
    outside={"m0": 0.5},
    shape=TINY,
    stated={"budget": 24},
    about={"model": "tiny", "task": "ioi", "method": "aligned, knapsack"},
)
EDGES = Circuit(
    nodes={"input": None, "a0.h1": None},
    edges={("input", "a0.h1.v"): 0.5, ("input", "logits"): -0.25, ("a0.h1", "m1"): 1.5},
    shape=TINY,
    ranked=False,
)


def written(tmp_path, content, name="circuit.json"):
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_the_published_circuits_are_read_and_cost_what_they_state():
    sizes = {"original": (54, 10, 43), "replication_54": (54, 10, 43), "replication_43": (43, 11, 31)}
    for name, (nodes, mlps, heads) in sizes.items():
        circuit = circuit_files.read(PUBLISHED / f"{name}.json", GPT2)
        names = list(circuit.nodes)
        assert (len(names), sum(n[0] == "m" for n in names), sum(n[0] == "a" for n in names)) == (nodes, mlps, heads)
        assert components.cost(names, GPT2) == 11_200 and names[:2] == ["input", "m2"]
    assert components.total_cost(GPT2) == 19_200
    again = circuit_files.read(PUBLISHED / "replication_54.json", GPT2)
    assert not again.ranked and again.scores["m2"] == 31.51 and again.outside["a3.h6"] == 0.8009


@pytest.mark.parametrize("form", circuit_files.FORMATS)
def test_a_circuit_of_nodes_comes_back(tmp_path, form):
    path = tmp_path / f"circuit{circuit_files.ENDINGS[form]}"
    circuit_files.write(path, NODES, form)
    read = circuit_files.read(path, TINY)
    assert set(read.nodes) == set(NODES.nodes)
    if form in ("circuit", "budget"):
        assert list(read.nodes.items()) == list(NODES.nodes.items()) and read.outside == {"m0": 0.5}
        assert read.about["task"] == "ioi"
    if form == "graph":
        assert list(read.nodes)[:2] == ["input", "m1"] and read.scores == {"m1": 2.5, "a0.h1": 1, "m0": 0.5}
    if form in ("graph", "edges"):
        # All edges between its nodes, from the input to the logits.
        assert ("a0.h1", "m1") in read.edges and ("m1", "logits") in read.edges
        assert not any("m0" in edge for edge in read.edges)


@pytest.mark.parametrize("form", ["circuit", "graph", "edges"])
def test_a_circuit_of_edges_comes_back(tmp_path, form):
    path = tmp_path / "edges.json"
    circuit_files.write(path, EDGES, form)
    read = circuit_files.read(path, TINY)
    assert read.edges == EDGES.edges and set(read.nodes) == set(EDGES.nodes)


def test_no_order_is_made_up_where_scores_are_missing(tmp_path):
    """A graph has no order but that of its scores; the published list has scores of 13 of 54."""
    source = circuit_files.read(PUBLISHED / "original.json", GPT2)
    for form in ("graph", "edges"):
        path = tmp_path / f"c{circuit_files.ENDINGS[form]}"
        circuit_files.write(path, source, form)
        read = circuit_files.read(path, GPT2)
        assert not read.ranked and next(iter(read.nodes)) == "input"
        circuit_files.write(tmp_path / "again.json", read, "budget")
        assert not circuit_files.read(tmp_path / "again.json", GPT2).ranked


def test_weights_come_back(tmp_path):
    weights = [("0.mlp_in.3", "0.mlp_neuron.7", 0.25), ("0.mlp_neuron.7", "0.mlp_out.1", None)]
    circuit_files.write(tmp_path / "w.json", Circuit(nodes={}, weights=weights, shape=TINY), "circuit")
    assert circuit_files.read(tmp_path / "w.json").weights == weights


@pytest.mark.parametrize("parallel", [False, True])
def test_a_graph_holds_the_edges_that_eap_ig_has(parallel):
    """Names and numbers as EAP-IG makes them from a config: it fails on any other name."""
    graph = circuit_exports.as_graph(Circuit(NODES.nodes, shape=TINY, about={"parallel": parallel}))
    cfg = graph["cfg"]
    assert cfg == {"n_layers": 2, "n_heads": 2, "parallel_attn_mlp": parallel, "d_model": 8}
    expected, stream = [], ["input"]
    for layer in range(2):
        heads = [f"a{layer}.h{head}" for head in range(2)]
        expected += [f"{w}->{head}<{part}>" for w in stream for head in heads for part in "qkv"]
        expected += [f"{w}->m{layer}" for w in (stream if parallel else stream + heads)]
        stream += [*heads, f"m{layer}"]
    expected += [f"{w}->logits" for w in stream]
    assert sorted(graph["edges"]) == sorted(expected)
    assert list(graph["nodes"]) == [*TINY.names, "logits"]
    assert all(isinstance(e["score"], float) and isinstance(e["in_graph"], bool) for e in graph["edges"].values())


@pytest.mark.parametrize("name", ["tiny-gpt2-small", "tiny-neox-small"])
def test_the_order_of_attention_and_mlp_is_read_from_the_config(name):
    described = fingerprint.describe(MODELS / name)
    assert described["parallel"] == models.load(MODELS / name, "cpu").parallel == ("neox" in name)


def test_gpt2_has_32491_edges_and_they_are_those_of_the_engine(model):
    assert len(circuit_exports.every_edge(GPT2)) == circuit_formats.number_of_edges(GPT2, False) == 32_491
    assert len(circuit_exports.every_edge(GPT2, True)) == circuit_formats.number_of_edges(GPT2, True)
    assert len(circuit_exports.every_edge(model.space, model.parallel)) == edge_circuits.exist(model).sum()


def test_older_graphs_and_graphs_of_scores(tmp_path):
    """Nodes as booleans; and importances, from which a share makes the circuit."""
    cfg = {"n_layers": 2, "n_heads": 2, "parallel_attn_mlp": False}
    edges = {"input->a0.h0<q>": {"score": 0.5, "in_graph": True}, "a0.h0->m1": {"score": -2, "in_graph": False}}
    old = written(tmp_path, {"cfg": cfg, "nodes": {"input": True, "a0.h0": False, "logits": True}, "edges": edges})
    assert circuit_files.read(old, TINY).edges == {("input", "a0.h0.q"): 0.5}
    for edge in edges.values():
        edge["in_graph"] = False
    scores = written(tmp_path, {"cfg": cfg, "nodes": {"input": False}, "edges": edges})
    with pytest.raises(CircuitFileError, match=r"scores but no circuit.*set `keep`"):
        circuit_files.read(scores, TINY)
    assert circuit_files.read(scores, TINY, keep=0.5).edges == {("a0.h0", "m1"): -2}


def test_edge_lists_of_autocircuit(tmp_path):
    names = ["Resid Start->A0.1.Q", "A0.1->MLP 1", "MLP 1->Resid End"]
    listed = circuit_files.read(written(tmp_path, names), TINY)
    scored = circuit_files.read(written(tmp_path, {"edges": dict.fromkeys(names, 2)}), TINY)
    table = circuit_files.read(written(tmp_path, "edge,score\n" + "".join(f"{n},2\n" for n in names), "e.csv"), TINY)
    expected = {("input", "a0.h1.q"), ("a0.h1", "m1"), ("m1", "logits")}
    assert set(listed.edges) == set(scored.edges) == set(table.edges) == expected
    assert set(scored.edges.values()) == set(table.edges.values()) == {2.0}
    assert list(listed.nodes) == ["input", "a0.h1", "m1"]
    strongest = circuit_files.read(written(tmp_path, {n: k for k, n in enumerate(names)}), TINY, keep=0.34)
    assert set(strongest.edges) == {("m1", "logits")}


BUDGET = {"nodes": ["input", "m1"], "metadata": {"write_budget_used": 16}}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"nodes": ["input", "m7", "a0.h9", "a5.h0"]}, ["2 layers of 2 heads", "m7, a0.h9, a5.h0"]),
        ({"nodes": ["input", "mlp1"]}, ["mlp1"]),
        ({"nodes": ["input", "m1", "m1"]}, ["m1 is listed twice"]),
        ({"nodes": ["input", 3]}, ["3 is not a name"]),
        (BUDGET | {"metadata": {"write_budget_used": 15}}, ["states a write cost of 15", "make 16"]),
        (BUDGET | {"metadata": {"total_components": 3}}, ["number of components of 3", "make 2"]),
        (BUDGET | {"metadata": {"num_attention_heads": 1}}, ["number of heads of 1", "make 0"]),
        (BUDGET | {"metadata": {"write_budget_max": 12}}, ["a budget of 12", "cost 16"]),
        (BUDGET | {"scores": {"m1": "high"}}, ["'high' is no score"]),
        ({"circuit": []}, ["no known format", "AutoCircuit"]),
        ("[1, 2", ["not JSON"]),
        ('{"nodes": ["m1"], "nodes": ["m0"]}', ["'nodes' is listed twice"]),
        (["A0.1->MLP 1", "A0.1->MLP 1"], ["listed twice"]),
        (["A0.1->Head 3"], ["'Head 3' names no place", "MLP 3"]),
        (["A0.1->MLP 9"], ["so no m9"]),
        ({"A0.1->MLP 1->MLP 2": 1}, ["names no edge"]),
        ({"cfg": {"n_layers": 3, "n_heads": 2}, "nodes": {"m2": True}, "edges": {}}, ["layers 3", "the model has 2"]),
        ({"cfg": {}, "nodes": {}, "edges": {}}, ["cfg has no n_layers"]),
        ({"format": "circuit-reuse", "version": 1, "nodes": [{"name": "x"}]}, ["nodes.0.name", "'x'"]),
        ({"format": "circuit-reuse", "version": 1, "nodes": [], "more": 1}, ["more"]),
        (
            {"format": "circuit-reuse", "version": 1, "nodes": [{"name": "m0"}], "cost": {"used": 9}},
            ["write cost of 9", "make 8"],
        ),
    ],
)
def test_a_mistake_is_told_with_the_file(tmp_path, content, words):
    path = written(tmp_path, content)
    with pytest.raises(CircuitFileError) as error:
        circuit_files.read(path, TINY)
    assert str(path) in str(error.value)
    for word in words:
        assert word in str(error.value)


OWN = {"format": "circuit-reuse", "version": 1, "nodes": [{"name": "a0.h0"}, {"name": "m0"}]}
CFG = {"n_layers": 2, "n_heads": 2, "d_model": 8}


def graph(edges=(), **cfg):
    """A graph of EAP-IG with edges in it, and other values in its cfg."""
    return {"cfg": CFG | cfg, "nodes": {"a0.h0": True}, "edges": dict.fromkeys(edges, True)}


def share(name, score=1.0):
    """A component outside a circuit."""
    return {"name": name, "score": score}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"A0.0->MLP 1": True}, "True is no score"),
        (BUDGET | {"scores": {"m1": False}}, "False is no score"),
        (graph() | {"nodes": {"a0.h0": {"in_graph": True, "score": True}}}, "True is no score"),
        ({"A0.0->MLP 1": 10**400}, "0000... is no score"),
        (OWN | {"outside": [share("m0")]}, "m0 is in nodes and in outside"),
        (OWN | {"outside": [share("m1"), share("m1", 2.0)]}, "m1 is listed twice"),
        (OWN | {"edges": [{"from": "a0.h1", "to": "m1"}]}, "the edge a0.h1->m1 is from a0.h1, which is not in nodes"),
        (
            OWN | {"edges": [{"from": "m0", "to": "a0.h0.q"}]},
            "there is no edge m0->a0.h0.q in a model: a0.h0.q is computed before",
        ),
        (
            OWN | {"model": {"shape": {"layers": 2, "heads": 2, "d_model": 8, "d_head": 4, "kv_heads": 3}}},
            "model.shape.kv_heads is 3",
        ),
        (["A0.0->A0.1.Q"], "there is no edge a0.h0->a0.h1.q in a model"),
        (["MLP 1->MLP 1"], "there is no edge m1->m1 in a model"),
        (["MLP 1->Resid Start"], "there is no edge m1->input in a model: the input reads nothing"),
        (
            graph(["a0.h0->m0"], parallel_attn_mlp=True),
            "there is no edge a0.h0->m0 in a model: m0 is computed before a0.h0, or beside it",
        ),
        (graph(parallel_attn_mlp="false"), "cfg.parallel_attn_mlp is 'false'; it must be true or false"),
        (BUDGET | {"ranked": "false"}, "ranked is 'false'; it must be true or false"),
        (BUDGET | {"metadata": {"task": ["ioi"]}}, "metadata.task is ['ioi']; it must be text"),
        (graph(n_heads=0), "cfg.n_heads is 0; it must be a whole number from 1 to 1000"),
        (graph(n_layers="4"), "cfg.n_layers is '4'"),
        (graph(n_layers=None), "cfg.n_layers is None"),
        (graph(n_heads=None), "cfg.n_heads is None"),
        (graph(n_layers=4.0), "cfg.n_layers is 4.0"),
        (graph(n_layers=10**12), "cfg.n_layers is 1000000000000"),
        (graph(n_heads=3), "its d_model 8 is not divisible by its n_heads 3"),
        (graph(n_heads=4, n_key_value_heads=3), "cfg.n_key_value_heads is 3; it must divide the 4 heads"),
        ('{"nodes": ' + "[" * 100_000 + "]" * 100_000 + "}", "nested too deeply"),
        ('{"nodes": ["\\ud83d"]}', "half of a character"),
    ],
)
def test_a_file_that_contradicts_itself_is_refused(tmp_path, content, words):
    path = written(tmp_path, content)
    with pytest.raises(CircuitFileError) as error:
        circuit_files.read(path, TINY)
    assert str(path) in str(error.value) and words in str(error.value)


def test_a_name_that_no_disk_can_hold_is_one_error():
    with pytest.raises(CircuitFileError, match="cannot be read: File name too long"):
        circuit_files.read("a" * 5000 + ".json", TINY)


def test_a_circuit_without_nodes_is_a_list_of_none(tmp_path):
    circuit_files.write(tmp_path / "w.json", Circuit({}, weights=[], shape=TINY), "budget")
    about = json.loads((tmp_path / "w.json").read_text())
    assert about["nodes"] == [] and about["metadata"]["budget_utilization"] == "0.0%"


def test_the_converter(tmp_path):
    """From the command line, by a shape or a model's folder; what does not fit is one line."""
    script = [sys.executable, "-m", "circuit_reuse.command", "convert"]
    source = written(tmp_path, (PUBLISHED / "original.json").read_text())

    def convert(*more):
        env = os.environ | {"PYTHONPATH": str(PROJECT / "workflow" / "scripts")}
        return subprocess.run([*script, str(source), *more], capture_output=True, text=True, env=env)

    done = convert("--to", "graph", "--shape", "12,12,768,64")
    assert done.returncode == 0 and "54 components, write cost 11200" in done.stdout, done.stderr
    assert set(circuit_files.read(tmp_path / "circuit.graph.json", GPT2).nodes) == set(
        circuit_files.read(source, GPT2).nodes
    )
    refused = convert("--to", "graph", "--model", str(MODELS / "tiny-neox-small"))
    assert refused.returncode == 1 and "m11" in refused.stderr and "Traceback" not in refused.stderr
    none = convert("--to", "graph", "--model", "tiny-gpt2-smal")
    assert (
        none.returncode == 1 and "model not found: tiny-gpt2-smal" in none.stderr and "tiny-gpt2-small" in none.stderr
    )
    unsized = convert("--to", "graph")
    assert unsized.returncode == 1 and "--shape 12,12,768,64" in unsized.stderr
    same = convert("--shape", "12,12,768,64")
    assert same.returncode == 1 and "the file itself" in same.stderr


def test_a_file_that_does_not_say_its_model_needs_a_shape(tmp_path):
    with pytest.raises(CircuitFileError, match=r"give its shape \(layers, heads, d_model, d_head\)"):
        circuit_files.read(written(tmp_path, BUDGET))
    with pytest.raises(CircuitFileError, match="no such file"):
        circuit_files.read(tmp_path / "none.json", TINY)
    with pytest.raises(CircuitFileError, match="edge and, if there are scores, score"):
        circuit_files.read(written(tmp_path, "a,b\n1,2\n", "e.csv"), TINY)
    (tmp_path / "b.json").write_bytes(b"\x80\x81")
    with pytest.raises(CircuitFileError, match="not text"):
        circuit_files.read(tmp_path / "b.json", TINY)


def test_an_edge_into_a_shared_key_is_one_for_each_head_in_files_of_other_tools(tmp_path):
    """Out and in again nothing changes; the file says that heads share it, and disagreement is refused."""
    space = Space(2, 4, 8, 4, 2)
    edges = {("input", "a1.h2-3.k"): 1.0, ("a0.h1", "a1.h0-1.v"): None, ("m0", "a1.h2.q"): 0.5}
    circuit = Circuit({"input": None, "a0.h1": None, "m0": None, "a1.h2": None}, edges=edges, shape=space)
    for form in circuit_files.FORMATS:
        if form == "budget":
            continue
        path = tmp_path / f"c.{form}.json"
        circuit_files.write(path, circuit, form)
        content = json.loads(path.read_text())
        assert form == "circuit" or "several heads share" in content["note"]
        back = circuit_files.read(path, space)
        assert {edge: score or None for edge, score in back.edges.items()} == edges
        assert back.shape.kv_heads == 2
    graph = json.loads((tmp_path / "c.graph.json").read_text())
    assert graph["cfg"]["n_key_value_heads"] == 2
    assert [graph["edges"][f"input->a1.h{head}<k>"] for head in (2, 3)] == [{"score": 0.5, "in_graph": True}] * 2
    graph["edges"]["input->a1.h3<k>"]["in_graph"] = False
    (tmp_path / "c.graph.json").write_text(json.dumps(graph))
    with pytest.raises(CircuitFileError, match=r"a1\.h2, a1\.h3 share it.*for a1\.h2$"):
        circuit_files.read(tmp_path / "c.graph.json")
