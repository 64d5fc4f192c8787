"""What users have: labels of several words, files cut into shards, chat templates, checkpoints, circuits of edges."""

import json
import logging
import shutil
import warnings

import pandas as pd
import pytest
from circuit_reuse.command import arguments, runs
from circuit_reuse.config import checks, custom_files, errors, series
from circuit_reuse.data import circuit_exports, circuit_files, examples, fingerprint, jobs, user_tables
from circuit_reuse.data.circuit_files import Circuit
from circuit_reuse.data.components import Space
from circuit_reuse.engine import batching
from circuit_reuse.origins import fetching, sources
from circuit_reuse.prompts import rows
from circuit_reuse.studies.common import stage_description, stage_examples
from support import MODELS

LOG = logging.getLogger(__name__)
SMALL = MODELS / "tiny-gpt2-small"
ROW = {
    "example": 0,
    "id": "0",
    "split": "train",
    "roles": [],
    "variant": "all",
    "template": "0",
    "cluster": "0",
    "clean": "When Mary and John went to the store, John gave a drink to",
    "corrupt": "When Mary and John went to the store, Mary gave a drink to",
    "corrupt_answer": None,
}


def test_every_label_of_several_tokens_can_be_right():
    """Accuracy `choice`: a label that is no single token is judged by the token in which it differs from the others."""
    reader = examples.reader(SMALL)
    long = {**ROW, "answer": " unthinkable", "distractors": [" Mary", " indestructible"]}
    short = {**ROW, "example": 1, "answer": " John", "distractors": [" Mary", " drink"]}
    found = [examples.tokenise(reader, row, labels=True) for row in (long, short)]
    assert all(row["valid"] for row in found) and len(found[0]["answer_tokens"]) > 1
    for row in found:
        first = [row["answer"], *row["distractors"]]
        assert all(token in label for token, label in zip(first, row["choices"], strict=True))
    # One of several tokens beside others takes no batch's labels away, and none is empty.
    batch = next(batching.batches(pd.DataFrame(found), 10**6))
    assert batch.choices is not None and (batch.choices[..., 0] >= 0).all()


def test_labels_that_begin_alike_are_judged_where_they_differ():
    reader = examples.reader(SMALL)
    row = examples.tokenise(reader, {**ROW, "answer": " unthinkable", "distractors": [" unthinking"]}, labels=True)
    if row["shared"]:
        assert row["choices"] == [[row["answer"]], row["distractors"]]


def frame(splits, used):
    """Rows of an examples table."""
    return pd.DataFrame({"split": splits, "used": used, "valid": used, "correct": used, "reason": None})


def test_a_shard_of_a_file_may_hold_rows_of_one_split_but_not_nothing():
    cfg = {"needed": 0, "count": "used", "accuracy": "top1"}
    assert stage_examples.shortage(frame(["held_out"] * 4, [True] * 4), cfg, "mine") is None
    problem = stage_examples.shortage(frame(["train", "held_out"], [False] * 2), cfg, "mine")
    assert "none of 2 prompts usable" in str(problem) and "wrongly" in str(problem)


def test_a_prompt_that_is_shown_solved_is_not_asked_again():
    def row(number, clean, corrupt, answer):
        return ROW | {"example": number, "clean": clean, "corrupt": corrupt, "answer": answer}

    mirrored = [row(0, "P one", "P two", " a"), row(1, "P two", "P one", " b"), row(2, "P one", "P six", " a")]
    other = [row(n, f"Q {n}", f"R {n}", " c") for n in range(3, 6)]
    found = rows.with_shots([*mirrored, *other], 1)
    assert [each["example"] for each in found] == [3, 4, 5]
    assert all(each[side].startswith("P one a\n") for each in found for side in ("clean", "corrupt"))
    assert rows.with_shots([*mirrored, *other], 0) == [*mirrored, *other]


def test_a_revision_without_a_step_among_others_is_refused_and_names_alone_go_by_their_order():
    def expanded(*revisions):
        config = {"model_sources": {"p": {"hub": "me/p", "revisions": list(revisions)}}, "models": ["p"]}
        series.expand(config)
        return [source["step"] for source in config["model_sources"].values()]

    assert expanded("step1000", "step3") == [1000, 3] and expanded("early", "late", "main") == [0, 1, 2]
    with pytest.raises(errors.ConfigError, match=r"model_sources.p.revisions: 'main' has no number"):
        expanded("step1000", "step143000", "main")


def test_the_score_of_an_edge_into_a_whole_head_is_kept_in_a_graph():
    space = Space(2, 2, 8, 4)
    edges = {("a0.h1", "a1.h0"): 0.5, ("a0.h1", "m1"): 0.25, ("a0.h0", "a1.h1.q"): 0.125}
    graph = circuit_exports.as_graph(Circuit({"a0.h0": None, "a0.h1": None}, edges=edges, shape=space))
    score = {name: edge["score"] for name, edge in graph["edges"].items() if edge["in_graph"]}
    assert sum(score[f"a0.h1->a1.h0<{part}>"] for part in "qkv") == pytest.approx(0.5)
    assert score["a0.h1->m1"] == 0.25 and score["a0.h0->a1.h1<q>"] == 0.125


def test_a_circuit_of_edges_is_not_removed_by_its_nodes(tmp_path, capsys):
    edges = {("a0.h1", "a1.h0"): 0.5}
    whole = Circuit({"a0.h1": None}, edges=edges, shape=fingerprint.shape(SMALL))
    circuit_files.write(tmp_path / "edges.json", whole, "circuit")
    status = arguments.main(["ablate", str(SMALL), "ioi", "--circuit", str(tmp_path / "edges.json")])
    assert status == 1 and "is a circuit of edges" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (["--profile", "profiles/gpu"], ["--profile", "profiles/gpu", "--cores", "all"]),
        (["reuse", "-c", "2", "-n"], ["reuse", "-n", "--cores", "2"]),
        (["--config", "a.yaml", "reuse"], ["reuse", "--configfile", "a.yaml", "--cores", "all"]),
        (
            ["--config", "a.yaml", "--keep-going", "--cores", "4"],
            ["--keep-going", "--configfile", "a.yaml", "--cores", "4"],
        ),
    ],
)
def test_options_are_handed_on_in_their_order(monkeypatch, given, wanted):
    seen = []

    class Done:
        returncode = 0

    monkeypatch.setattr(runs.subprocess, "run", lambda command, **_: seen.append(command) or Done)
    assert arguments.main(["run", *given]) == 0
    handed = seen[0][seen[0].index("circuit-reuse") + 1 :]
    assert [part.rpartition("/")[2] if part.endswith(".yaml") else part for part in handed] == wanted


def test_an_edited_chat_template_is_another_model(tmp_path):
    shutil.copytree(SMALL, tmp_path / "model")
    before = fingerprint.fingerprint(tmp_path / "model")
    path = tmp_path / "model" / "chat_template.jinja"
    found = [before]
    for text in ("{{ messages[0].content }}", "A: {{ messages[0].content }}"):
        path.write_text(text)
        found.append(fingerprint.fingerprint(tmp_path / "model"))
        assert path in fingerprint.files(tmp_path / "model")
    assert len(set(found)) == 3
    assert path.name in fetching.WANTED


def test_a_template_that_changes_one_prompt_leaves_out_that_row(tmp_path):
    shutil.copytree(SMALL, tmp_path / "model")
    (tmp_path / "model" / "chat_template.jinja").write_text(
        "{% for m in messages %}U: {{ m.content | trim }}|A:{% endfor %}"
    )
    reader = examples.reader(tmp_path / "model", "auto", True)
    sound = {**ROW, "answer": "John", "distractors": ["Mary"]}
    found = [examples.tokenise(reader, row) for row in (sound, sound | {"clean": ROW["clean"] + " "})]
    assert found[0]["valid"] and not found[1]["valid"] and "changes the prompt" in found[1]["reason"]
    assert list(found[0]) == sorted(found[1], key=list(found[0]).index)


def test_a_chat_that_a_model_has_no_template_for_is_known_before_a_run():
    with pytest.raises(errors.ConfigError, match=r"task_options.ioi.chat is true for tiny: .*no chat template"):
        checks.check_chats("tiny", SMALL, {"task_options": {"digits": {}, "ioi": {"chat": True}}})
    checks.check_chats("tiny", SMALL, {"task_options": {"ioi": {"chat": False}}})


def test_more_shots_than_a_task_has_prompts_are_known_before_a_run():
    with pytest.raises(
        errors.ConfigError, match=r"task_options.days: task 'days' has only \d different prompts for 16 shots"
    ):
        checks.try_out("days", {"frame": "bare"}, None, "task_options.days", 16)
    checks.try_out("days", {}, None, "task_options.days", 2)


def test_two_spaces_before_an_answer_are_noted():
    row = {**ROW, "clean": ROW["clean"] + " ", "answer": " John", "valid": True}
    with warnings.catch_warnings(record=True) as noted:
        warnings.simplefilter("always")
        custom_files.note_pairs("custom_tasks.m.file", "m.csv", "tiny", [row], [row])
    assert "two spaces stand before the answer" in str(noted[0].message)


def test_a_file_of_another_encoding_is_named(tmp_path):
    (tmp_path / "mine.csv").write_bytes("clean,corrupt\nit’s,its\n".encode("cp1252"))
    with pytest.raises(ValueError, match=r"mine.csv is not text in UTF-8; save it so"):
        user_tables.rows(tmp_path / "mine.csv")
    (tmp_path / "mine.jsonl").write_bytes(json.dumps({"clean": "’"}, ensure_ascii=False).encode("cp1252"))
    with pytest.raises(ValueError, match=r"mine.jsonl is not text"):
        user_tables.rows(tmp_path / "mine.jsonl")


def test_a_model_of_another_fingerprint_is_refused_wherever_it_comes_from(tmp_path):
    own = fingerprint.fingerprint(SMALL)

    def described(**cfg):
        params = {"cfg": {"dtype": "float32"} | cfg, "compute": {"device": "cpu", "dtype": "float32"}}
        job = jobs.Job(
            {"model": str(SMALL)}, {"about": str(tmp_path / "model.json")}, params, {"model": "mine"}, 1, LOG
        )
        stage_description.describe(job)
        return (tmp_path / "model.json").read_text()

    assert described() == described(fingerprint=own)
    with pytest.raises(
        fingerprint.ModelError, match=f"has the fingerprint {own}, and model_sources.mine.fingerprint is abc"
    ):
        described(fingerprint="abc")


@pytest.mark.parametrize("source", [{"hub": "me/m", "revision": "main"}, {"path": "m.gguf"}])
def test_naming_the_fingerprint_of_what_was_run_makes_nothing_again(source):
    assert sources.settings(source | {"fingerprint": "abc"}) == sources.settings(source)
