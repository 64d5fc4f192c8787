"""The command: its help, what it prints and writes, and the errors of one line."""

import json
import sys

import pandas as pd
import pytest
from circuit_reuse import api
from circuit_reuse.command import arguments, runs
from circuit_reuse.data import circuit_files
from support import MODELS, PROJECT

MODEL = str(MODELS / "tiny-gpt2-small")
PARTS = ("run", "explain", "score", "circuit", "ablate", "compare", "convert")


def called(capsys, *given):
    """(exit status, what was printed, what was printed as errors) of the command."""
    status = arguments.main([str(each) for each in given])
    return status, *capsys.readouterr()


@pytest.mark.parametrize("part", [None, *PARTS])
def test_help_says_what_each_part_does(capsys, part):
    with pytest.raises(SystemExit) as ended:
        arguments.main([*([part] if part else []), "--help"])
    text = capsys.readouterr().out
    assert ended.value.code == 0
    assert all(f"  {name} " in text for name in PARTS) if part is None else "usage: circuit-reuse " + part in text


def test_a_circuit_is_found_written_removed_and_compared(capsys, tmp_path):
    """The same as in a notebook, on the same prompts."""
    path = tmp_path / "made" / "ioi.json"
    status, out, _ = called(capsys, "circuit", MODEL, "ioi", "--count", 24, "--top-k", 3, "--output", path)
    assert status == 0 and f"written: {path}" in out
    model = api.load(MODEL)
    examples = api.examples(model, MODEL, "ioi", 24)
    names, _ = api.circuit(api.score(model, examples, "eap-ig"), examples, 3)
    assert set(circuit_files.read(path).nodes) == set(names) and names
    table, figure = tmp_path / "effect.csv", tmp_path / "effect.pdf"
    more = ("--circuit", path, "--controls", 19, "--output", table, "--figure", figure)
    status, out, _ = called(capsys, "ablate", MODEL, "ioi", "--count", 24, *more)
    found = pd.read_csv(table, index_col=0)["result"]
    assert status == 0 and "p_value" in out and figure.stat().st_size > 1000
    assert found["effect"] == pytest.approx(api.ablate(model, examples, names, 19)["effect"], rel=1e-4)
    status, out, _ = called(capsys, "compare", path, path)
    first, second = out.splitlines()[:2]
    count, _, listed = first.partition(": ")
    assert status == 0 and count == f"{len(names)} and {len(names)} components, {len(names)} in both"
    assert sorted(listed.split(", ")) == sorted(names)
    assert second.startswith("Jaccard index 1.00; of random circuits") and "nan" not in out
    assert " 1\n" in out[out.index("jaccard") :]


def test_scores_are_those_of_the_library(capsys, tmp_path):
    path = tmp_path / "scores.csv"
    assert called(capsys, "score", MODEL, "digits", "--count", 8, "--method", "atp", "--output", path)[0] == 0
    model = api.load(MODEL)
    scores = api.score(model, api.examples(model, MODEL, "digits", 8), "atp")
    pd.testing.assert_frame_equal(pd.read_csv(path, index_col=0), scores, check_dtype=False, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("score", "nowhere", "ioi"), ["model not found: nowhere", "tiny-gpt2-small"]),
        (("score", MODEL, "oi"), ["oi", "Did you mean ioi"]),
        (("circuit", MODEL, "ioi", "--threshold", "7"), ["threshold", "7"]),
        (("ablate", MODEL, "ioi", "--circuit", "none.json"), ["none.json"]),
        (("compare", "a.json", "b.json"), ["a.json"]),
    ],
)
def test_a_mistake_is_one_line(capsys, given, words):
    status, _, err = called(capsys, *given)
    assert status == 1 and len(err.strip().splitlines()) == 1 and "Traceback" not in err
    assert all(word in err for word in words), err


OWN = {"format": "circuit-reuse", "version": 1, "nodes": [{"name": "m0"}]}


def written(tmp_path, content, name):
    """A file with JSON."""
    (tmp_path / name).write_text(json.dumps(content))
    return tmp_path / name


def test_what_is_there_is_not_written_over(tmp_path, capsys):
    """Unless --output names it; a name with a point in it stays whole."""
    source = written(tmp_path, ["A0.0->MLP 1"], "ioi.edges.json")
    older = written(tmp_path, OWN, "ioi.json")
    before = older.read_text()
    status, _, text = called(capsys, "convert", source, "--shape", "2,2,8,4")
    assert status == 1 and "ioi.json is there already; name it with --output" in text and older.read_text() == before
    assert (
        called(capsys, "convert", source, "--shape", "2,2,8,4", "--output", older)[0] == 0
        and older.read_text() != before
    )
    for name in ("x.v2.json", "y.v2.graph.json"):
        written(tmp_path, OWN, name)
        assert called(capsys, "convert", tmp_path / name, "--shape", "2,2,8,4", "--to", "budget")[0] == 0
        assert (tmp_path / f"{name[0]}.v2.budget.json").is_file()


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ("4,4,16,²", "--shape is '4,4,16,²'; it must be four or five numbers above 0"),
        ("4,4,16,4,3", "--shape.kv_heads is 3; it must divide the 4 heads"),
        ("4000,4,16,4", "--shape.layers is 4000; it must be a whole number from 1 to 1000"),
    ],
)
def test_a_shape_that_is_none_is_one_line(tmp_path, capsys, shape, words):
    status, _, text = called(capsys, "convert", written(tmp_path, OWN, "own.json"), "--shape", shape)
    assert status == 1 and words in text and len(text.splitlines()) == 1


def test_edges_that_a_model_of_parallel_mlps_lacks_are_not_dropped(tmp_path, capsys):
    source = written(tmp_path, ["A0.0->MLP 0"], "e.json")
    assert called(capsys, "convert", source, "--shape", "2,2,8,4", "--to", "graph")[0] == 0
    more = ("--to", "graph", "--parallel", "--output", tmp_path / "p")
    status, _, text = called(capsys, "convert", source, "--shape", "2,2,8,4", *more)
    assert status == 1 and "there is no edge a0.h0->m0 in a model" in text


def test_a_run_is_snakemake_with_its_own_options(monkeypatch):
    seen = []
    monkeypatch.setattr(runs.subprocess, "run", lambda command, **more: seen.append((command, more)) or Done)
    given = ["run", "reuse", "--config", "config/smollm2.yaml", "mine.yaml", "--cores", "2", "-n"]
    assert arguments.main(given) == 3
    command, more = seen[0]
    assert command[:3] == [sys.executable, "-m", "snakemake"] and more["cwd"] == PROJECT
    assert command[-2:] == ["--cores", "2"] and command.index("reuse") < command.index("-n") < command.index(
        "--configfile"
    )
    assert [path.rpartition("/")[2] for path in command[command.index("--configfile") + 1 : -2]] == [
        "smollm2.yaml",
        "mine.yaml",
    ]
    with pytest.raises(SystemExit):
        arguments.main(["score", MODEL, "ioi", "--nonsense"])


def test_without_a_clone_there_is_nothing_to_run(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(runs, "__file__", str(tmp_path / "a" / "b" / "c" / "d" / "runs.py"))
    monkeypatch.chdir(tmp_path)
    status, _, err = called(capsys, "run")
    assert status == 1 and "need a clone of the project" in err


class Done:
    """What a process that ended with 3 says."""

    returncode = 3
