"""What a notebook or the command is given wrongly is refused in one sentence, before anything is computed."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import yaml
from circuit_reuse import api
from circuit_reuse.api import boundary, notebook_examples
from circuit_reuse.command import arguments
from circuit_reuse.engine import models
from circuit_reuse.studies.weights import nodes
from support import MODELS, PROJECT

pytestmark = pytest.mark.usefixtures("one_thread")
FOLDER = MODELS / "tiny-gpt2-small"
NAMES = ["Mary", "John", "David", "Anna", "James", "Sarah"]
TEXT = "When {} and {} went to the store, {} gave a drink to"
PAIRS = [
    {"clean": TEXT.format(a, b, a), "corrupt": TEXT.format(a, b, b), "answer": f" {b}", "distractor": f" {a}"}
    for a, b in zip(NAMES, NAMES[1:] + NAMES[:1], strict=True)
]
FRAME = pd.DataFrame(PAIRS)


@pytest.fixture(scope="module")
def ready():
    model = api.load(FOLDER, device="cpu", threads=1)
    examples = api.examples(model, FOLDER, "ioi", count=24)
    return model, examples, api.score(model, examples, "atp")


def refused(call, *parts):
    """A call ends with a ValueError of one line that says all of this."""
    with pytest.raises(ValueError) as caught:
        call()
    text = str(caught.value)
    assert len(text.splitlines()) == 1 and all(part in text for part in parts), text


def mine(file, **options):
    """Examples of prompts of one's own."""
    return lambda model, *_: api.examples(model, FOLDER, "mine", file=file, **options)


def builtin(**options):
    """Examples of a built-in task."""
    return lambda model, *_: api.examples(model, FOLDER, options.pop("task", "ioi"), **options)


def sweep(active, **options):
    """A sweep of a mask, which may be a function of the number of nodes."""
    return lambda m, e, s: api.weight_sweep(m, e, active(nodes.total(m)), **options)


def twice(name):
    """Two components of which one is listed twice."""
    return [name, "m1", name]


EDGE = pd.DataFrame({"writer": ["a0.h0"] * 2, "reader": ["logits"] * 2})
REPEATS = {
    "circuit": (lambda m, e, s: api.ablate(m, e, twice("a0.h0")), ["circuit has 'a0.h0' twice"]),
    "among": (lambda m, e, s: api.edges(m, e, among=twice("a0.h0")), ["circuit has 'a0.h0' twice"]),
    "compared": (lambda m, e, s: api.compare(m, ["a0.h0"], twice("input")), ["circuit has 'input' twice"]),
    "edges": (lambda m, e, s: api.edge_circuit(m, e, EDGE), ["the edge from a0.h0 to logits twice"]),
    "kinds": (lambda m, e, s: api.circuit(s, e, kinds=["head", "head"]), ["kinds has 'head' twice"]),
    "controls": (sweep(lambda n: np.ones(n, bool), controls=["matrix"] * 2), ["controls has 'matrix' twice"]),
    "examples": (lambda m, e, s: api.positions(m, pd.concat([e, e])), ["two rows of the number 0"]),
    "columns": (mine(pd.concat([FRAME, FRAME[["answer"]]], axis=1)), ["the column 'answer' twice"]),
}
SCORES = {
    "none": (lambda m, e, s: api.circuit(s.set_axis(s.index + 1000), e), ["scores has 0 of the 12 used train"]),
    "some": (lambda m, e, s: api.circuit(s.drop(index=first_of(e)), e), ["scores has 11 of the 12 used train"]),
    "two methods": (lambda m, e, s: api.circuit(pd.concat([s, s]), e), ["24 rows of 12 used train examples"]),
    "a column twice": (lambda m, e, s: api.circuit(pd.concat([s, s], axis=1), e), ["scores has the column", "2 times"]),
    "positions": (lambda m, e, s: api.circuit(api.positions(m, e, steps=1), e), ["scores has the column ('input'"]),
    "no table": (lambda m, e, s: api.circuit(s.to_numpy(), e), ["scores is of type ndarray", "DataFrame"]),
}
MASKS = {
    "tau": (sweep(lambda n: np.linspace(-1, 1, n)), ["active is of type float64", "bool", "tau >= 0"]),
    "ones": (sweep(lambda n: np.ones(n, int)), ["active is of type int64", "bool"]),
    "places": (sweep(lambda n: list(range(n))), ["active is of type int64", "bool"]),
    "short": (sweep(lambda n: np.ones(n - 1, bool)), ["active has the shape", "an entry for each node"]),
    "one": (sweep(lambda n: True), ["active has the shape []"]),
    "an array": (lambda m, e, s: api.node_mask(m, np.ones(nodes.total(m), bool)), ["mask is of type ndarray"]),
    "of another model": (
        lambda m, e, s: api.node_mask(m, "masks.parquet", MODELS / "tiny-gpt2-medium"),
        ["tiny-gpt2-medium, but the model was loaded from", "tiny-gpt2-small: give that folder"],
    ),
    "numbered": (lambda m, e, s: api.node_mask(m, {0: np.ones(96, bool)}), ["mask has the key 0"]),
}
TYPES = {
    "no header": (mine(FRAME.set_axis(range(4), axis=1)), ["no column clean", "found: 0, 1, 2, 3"]),
    "tuples": (mine([tuple(row.values()) for row in PAIRS]), ["file is a list whose row 1", "dicts"]),
    "a series": (mine(FRAME["clean"]), ["file is of type Series"]),
    "a task": (lambda m, e, s: api.examples(m, FOLDER, ["mine"], file=PAIRS), ["task is ['mine']"]),
    "a folder": (lambda m, e, s: api.examples(m, None, "ioi"), ["folder is of type NoneType"]),
    "longest of text": (mine(PAIRS, longest="100"), ["longest is '100'", "an integer at least 1"]),
    "longest below 1": (mine(PAIRS, longest=-1), ["longest is -1", "at least 1"]),
    "format": (mine(PAIRS, format="MIB"), ["format is 'MIB'", "known: pairs, mib, questions"]),
    "counterfactual": (
        mine(PAIRS, counterfactual="corrupt"),
        ["counterfactual is 'corrupt'", "only with format='mib'"],
    ),
    "count": (builtin(count=64.0), ["count is 64.0", "an integer from 2"]),
    "seed": (builtin(seed=1.5), ["seed is 1.5", "an integer at least 0"]),
    "steps": (lambda m, e, s: api.score(m, e, "ig", steps=2.5), ["steps is 2.5", "an integer from 1"]),
    "steps of edges": (lambda m, e, s: api.edges(m, e, steps=2.0), ["steps is 2.0", "an integer from 0"]),
    "steps of positions": (lambda m, e, s: api.positions(m, e, steps=True), ["steps is True"]),
    "controls": (lambda m, e, s: api.ablate(m, e, "a0.h0", controls=2.5), ["controls is 2.5", "an integer from 1"]),
    "points": (sweep(lambda n: np.ones(n, bool), points=3.0), ["points is 3.0", "an integer from 2"]),
    "trials": (sweep(lambda n: np.ones(n, bool), trials=2.5), ["trials is 2.5", "an integer from 1"]),
    "threads": (lambda m, e, s: api.load(FOLDER, threads="1"), ["threads is '1'", "an integer at least 1"]),
    "threshold": (lambda m, e, s: api.circuit(s, e, threshold=np.nan), ["threshold is nan", "from 0 to 1"]),
    "top_k": (lambda m, e, s: api.circuit(s, e, top_k=-1), ["top_k is -1; it must be a whole number from 1 to 12"]),
    "kinds": (lambda m, e, s: api.circuit(s, e, kinds=()), ["kinds is empty", "head, mlp"]),
    "method": (lambda m, e, s: api.score(m, e, ["atp"]), ["method is ['atp']"]),
    "a circuit": (lambda m, e, s: api.ablate(m, e, 5), ["circuit is 5", "list of names"]),
    "edges": (lambda m, e, s: api.edge_circuit(m, e, EDGE[["reader"]]), ["kept has no column 'writer'", "reader"]),
    "edges as a list": (lambda m, e, s: api.edge_circuit(m, e, [("a0.h0", "logits")]), ["kept is of type list"]),
    "examples": (lambda m, e, s: api.score(m, e.to_dict("records")), ["examples is of type list"]),
    "no tokens": (lambda m, e, s: api.score(m, e.drop(columns="clean_tokens")), ["no column 'clean_tokens'"]),
}


def first_of(examples):
    """The number of the first train example."""
    return examples["example"][examples["split"] == "train"].iloc[0]


KINDS = {"repeats": REPEATS, "scores": SCORES, "masks": MASKS, "types": TYPES}
CASES = {f"{kind}, {name}": case for kind, cases in KINDS.items() for name, case in cases.items()}


@pytest.mark.parametrize(("call", "parts"), CASES.values(), ids=CASES)
def test_what_would_be_computed_wrongly_or_not_at_all_is_refused(ready, call, parts):
    refused(lambda: call(*ready), *parts)


def test_numbers_of_numpy_and_names_in_any_list_are_taken(ready):
    """They give what Python's own give."""
    model, examples, scores = ready
    expected = api.circuit(scores, examples, 4, 0.5, "head")
    assert api.circuit(scores, examples, np.int64(4), np.float32(0.5), np.array(["head"])) == expected
    assert api.circuit(scores, examples, 4.0, 0.5, ["head"]) == expected
    assert isinstance(boundary.between("steps", np.int32(5), 1, 10, whole=True), int)
    again = api.examples(model, FOLDER, "ioi", count=np.int64(24), seed=np.int64(0), shots=np.int64(0))
    pd.testing.assert_frame_equal(again, examples)
    active = np.zeros(nodes.total(model), bool)
    active[:200] = True
    found = [api.weight_sweep(model, examples, each, "matrix", 2, 1) for each in (active, active.tolist())]
    pd.testing.assert_frame_equal(*found)


def test_an_index_with_a_name_is_a_column(ready):
    """As in a Parquet file, where pandas stores it: `set_index` loses no cluster, split or id."""
    model, *_ = ready
    told = FRAME.assign(id=list("abcdef"), split=["train", "held_out"] * 3, cluster=list("uvuvxy"))
    expected = mine(told)(model)
    assert expected["id"].tolist() == list("abcdef") and set(expected["cluster"]) == set("uvxy")
    for names in ("cluster", ["id"], ["split", "cluster", "id"]):
        pd.testing.assert_frame_equal(mine(told.set_index(names))(model), expected)
    pd.testing.assert_frame_equal(mine(told.set_index("id", drop=False))(model), expected)


def test_formats_are_those_of_the_config(ready):
    schema = yaml.safe_load((PROJECT / "workflow/schemas/config.schema.yaml").read_text())
    task = schema["properties"]["custom_tasks"]["additionalProperties"]["properties"]
    assert list(notebook_examples.COLUMNS_OF) == task["format"]["enum"] and task["longest"]["minimum"] == 1
    lengths = FRAME[["clean", "corrupt"]].map(len).max(axis=1)
    found = mine(PAIRS, format="pairs", longest=np.int64(lengths.median()), counterfactual=None)(ready[0])
    assert len(found) == (lengths <= lengths.median()).sum() < len(PAIRS)


def changed(folder, change):
    """A copy of the model's folder with another tokenizer.json."""
    shutil.copytree(FOLDER, folder)
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text())
    change(content)
    path.unlink()
    path.write_text(json.dumps(content, indent=1))
    return folder


def swap(content):
    """Two words have each other's number."""
    vocabulary = content["model"]["vocab"]
    first, second = list(vocabulary)[-2:]
    vocabulary[first], vocabulary[second] = vocabulary[second], vocabulary[first]


def test_tokens_of_another_tokenizer_are_refused_wherever_they_are_read(ready, tmp_path):
    """Ids that fit, but stand for other words."""
    model, examples, _ = ready
    folder = changed(tmp_path / "other", swap)
    refused(lambda: api.examples(model, folder, "ioi"), f"folder is {folder}", "that it was loaded from")
    other = models.load(folder, "cpu", threads=1)
    active = np.ones(nodes.total(model), bool)
    for call in (
        lambda e: api.score(other, e, "atp"),
        lambda e: api.positions(other, e, steps=1),
        lambda e: api.edges(other, e, steps=0),
        lambda e: api.edge_circuit(other, e, EDGE.head(1)),
        lambda e: api.ablate(other, e, "a0.h0"),
        lambda e: api.prune(other, e),
        lambda e: api.weight_sweep(other, e, active, points=2, trials=1),
    ):
        refused(lambda call=call: call(examples[examples["used"]]), "tokens of another tokenizer")
    unknown = examples.copy()
    unknown.attrs.clear()
    assert len(api.score(other, unknown, "atp")) and len(api.score(other, api.examples(other, folder, "ioi", 8), "atp"))


def test_tokens_of_one_meaning_are_taken_from_another_folder(ready, tmp_path, monkeypatch):
    """Of a model of the family, of a file that is written otherwise, and by a model whose folder is not known."""
    model, examples, scores = ready
    folder = changed(tmp_path / "same", lambda content: content.update(truncation=None))
    assert (folder / "tokenizer.json").read_bytes() != (FOLDER / "tokenizer.json").read_bytes()
    for each in (folder, MODELS / "tiny-gpt2-medium"):
        pd.testing.assert_frame_equal(api.examples(model, each, "ioi", count=24), examples)
    bare = models.Model(model.bridge, model.space, model.parallel)
    assert bare.vocabulary is None
    pd.testing.assert_frame_equal(api.score(bare, examples, "atp"), scores)
    # A model knows its folder wherever the notebook goes, and is no worse for a folder that is gone.
    monkeypatch.chdir(folder.parent)
    moved = models.load("same", "cpu", threads=1)
    monkeypatch.chdir(tmp_path.parent)
    assert moved.vocabulary == model.vocabulary == examples.attrs["vocabulary"]
    gone = models.load(folder, "cpu", threads=1)
    shutil.rmtree(folder)
    assert gone.vocabulary is None


def test_scores_of_other_prompts_with_the_same_numbers_are_refused(ready):
    """Examples are numbered from 0 in every table; rows left out, or in another order, are the same prompts."""
    model, examples, scores = ready
    other = api.examples(model, FOLDER, "ioi", count=24, seed=1)
    refused(lambda: api.circuit(api.score(model, other, "atp"), examples), "scores are of other prompts than examples")
    assert api.circuit(scores.sort_index(ascending=False), examples) == api.circuit(scores, examples)
    fewer = examples.drop(index=examples.index[:4])
    assert api.circuit(scores, fewer) == api.circuit(scores.loc[scores.index.isin(fewer["example"])], fewer)


def test_a_vocabulary_is_what_its_ids_stand_for(tmp_path):
    """As a dict or as a list of tokens with scores; another token that was added is another vocabulary."""
    added = [{"id": 2, "content": "</s>"}]
    found = []
    for number, (vocabulary, more) in enumerate(
        [
            ({"a": 0, "b": 1}, added),
            ([["a", -1.5], ["b", -2]], added),
            ([["b", -1.5], ["a", -2]], added),
            ({"a": 0, "b": 1}, []),
        ]
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "tokenizer.json").write_text(json.dumps({"model": {"vocab": vocabulary}, "added_tokens": more}))
        found.append(models.vocabulary(folder))
    assert found[0] == found[1] and len(set(found)) == 3


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("ablate", "ioi", "--controls", 0), ["--controls is 0", "from 1"]),
        (("score", "ioi", "--count", 1), ["--count is 1", "from 2"]),
        (("score", "ioi", "--seed", -1), ["--seed is -1", "at least 0"]),
        (("circuit", "ioi", "--device", "gpu"), ["--device is 'gpu'", "auto, cpu, cuda"]),
        (("circuit", "ioi", "--kinds", "head", "head"), ["--kinds has 'head' twice"]),
        (("circuit", "ioi", "--top-k", 0), ["--top-k is 0.0", "from 1 to 12"]),
        (("score", "ioi", "--prompts", "mine.csv"), ["task is 'ioi', a built-in task", "another name"]),
        (("score", "mine", "--prompts", ""), ["must end in .csv"]),
        (("ablate", "ioi", "--circuit", "input.json"), ["--circuit input.json has no heads and no MLPs"]),
    ],
)
def test_the_command_refuses_before_a_model_is_loaded(given, words, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    FRAME.to_csv("mine.csv", index=False)
    (tmp_path / "input.json").write_text(json.dumps({"nodes": ["input"], "metadata": {"write_budget_used": 64}}))
    monkeypatch.setattr(api, "load", lambda *_: pytest.fail("a model was loaded"))
    part, *more = map(str, given)
    assert arguments.main([part, str(FOLDER), *more]) == 1
    err = capsys.readouterr().err
    assert len(err.strip().splitlines()) == 1 and all(word in err for word in words), err


def test_a_task_that_the_model_does_not_do_is_said_at_once(ready):
    """Answers and distractors exchanged: what was right is wrong."""
    model, *_ = ready
    exchanged = FRAME.rename(columns={"answer": "distractor", "distractor": "answer"})
    right = api.examples(model, FOLDER, "mine", file=FRAME)["correct"].mean()
    file = exchanged if right >= 0.5 else FRAME
    with pytest.warns(UserWarning, match=rf"answers \d of {len(FRAME)} usable prompts right"):
        api.examples(model, FOLDER, "mine", file=file)


def test_what_is_no_result_of_ablate_is_not_drawn(ready):
    model, *_ = ready
    refused(lambda: api.plot(api.compare(model, ["a0.h0"], ["a0.h1"])), "result has no effect", "`ablate`")
