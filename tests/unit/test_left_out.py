"""What a model cannot do is a result: drawing until there are enough pairs, and leaving tasks out."""

import logging
from pathlib import Path
from types import SimpleNamespace

import job
import numpy as np
import pandas as pd
import pytest
from circuit_reuse import api
from circuit_reuse.data import examples, left_out, tables
from circuit_reuse.engine import models
from circuit_reuse.prompts import rows as sources
from circuit_reuse.studies.common import stage_examples
from support import MODELS

LOG = logging.getLogger(__name__)
FOLDER = MODELS / "tiny-gpt2-medium"
CFG = {"metric": "logit_difference", "accuracy": "top1", "correct_only": True, "count": "used"}


@pytest.fixture(scope="module")
def model():
    return models.load(FOLDER, "cpu", threads=1)


@pytest.fixture(scope="module")
def rows():
    cfg = {"seed": 0, "held_out_share": 0.5, "examples": [0, 96], "task": {"family": "ioi", "options": {}}}
    return pd.DataFrame(sources.rows("ioi", cfg))


def draw(model, rows, quota, **changes):
    reader = examples.reader(FOLDER)
    return stage_examples.draw(model, reader, rows, CFG | {"quota": quota} | changes, 512, LOG)


def test_pairs_are_tried_in_order_until_each_split_has_its_share(model, rows):
    """The slow way: all prompts run, then the first usable ones of each split."""
    whole = draw(model, rows, None)
    found = draw(model, rows, {"train": 9, "held_out": 4})
    for split, wanted in (("train", 9), ("held_out", 4)):
        mine = whole[whole["split"] == split]
        first = mine[mine["used"]]["example"].head(wanted)
        assert list(found[found["used"] & (found["split"] == split)]["example"]) == list(first)
        tried = found[found["split"] == split]["example"]
        assert list(tried) == list(mine[mine["example"] <= first.iloc[-1]]["example"])
    same = whole.set_index("example").loc[found["example"], "clean_metric"].astype(float)
    assert np.allclose(same, found["clean_metric"].astype(float), atol=1e-5)


def test_what_is_wrong_is_drawn_again_but_not_for_ever(model, rows):
    """A model that is asked backwards answers almost nothing, and every prompt is tried."""
    answers = [each[0] for each in rows["distractors"]]
    wrong = rows.assign(answer=answers, distractors=[[text] for text in rows["answer"]], corrupt_answer=None)
    found = draw(model, wrong, {"train": 9, "held_out": 9})
    assert len(found) == len(wrong) and found["used"].sum() < 9
    problem = stage_examples.shortage(found, CFG | {"needed": 5}, "ioi")
    assert problem.needed == 5 and problem.usable < 5
    assert "prompts usable, 5 needed; the model answers" in str(problem)
    assert stage_examples.shortage(draw(model, rows, None), CFG | {"needed": 5}, "ioi") is None


def test_a_scan_counts_valid_pairs_whatever_the_model_answers(model, rows):
    found = draw(model, rows, {"train": 6, "held_out": 6}, count="valid")
    assert len(found) == 12 and found["valid"].all()


def test_an_answer_of_several_tokens_is_right_if_greedy_decoding_gives_all_of_it(model):
    """Against decoding one token after the other by the model itself."""
    tokenizer = examples.load_tokenizer(FOLDER)[0]
    clean = "Van done in 1. Hat done in 2. Ring done in 3. Desk done in 4. Sun done in"
    tokens = [0, *tokenizer.encode(clean).ids]
    decoded = []
    for _ in range(3):
        last = models.logits(model, models.torch.tensor([tokens + decoded]))
        decoded.append(int(last.argmax()))
    right = tokenizer.decode(decoded)
    corrupt = clean.replace(" 4.", " 8.").replace(" 3.", " 1.")
    about = {"split": "train", "corrupt_answer": None, "variant": "", "template": "", "cluster": "", "roles": []}
    texts = [(right, " 9"), (f"{tokenizer.decode(decoded[:2])} Mary", " 9"), (" 9", right)]
    frame = pd.DataFrame(
        {
            "example": n,
            "id": str(n),
            "clean": clean,
            "corrupt": corrupt,
            "answer": answer,
            "distractors": [wrong],
            **about,
        }
        for n, (answer, wrong) in enumerate(texts)
    )
    found = draw(model, frame, None, correct_only=False)
    assert found["valid"].all(), list(found["reason"])
    assert list(found["correct"]) == [True, False, False]
    # The probability of the whole answer, token by token.
    total, longer = 0.0, list(tokens)
    for token in decoded:
        last = models.logits(model, models.torch.tensor([longer]))
        total += float(last.log_softmax(-1)[0, token])
        longer.append(token)
    assert found["answer_log_probability"][0] == pytest.approx(total, abs=1e-4)


def test_several_distractors_count_by_their_mean():
    last = models.torch.tensor([[1.0, 2.0, 4.0, 9.0], [1.0, 2.0, 4.0, 9.0]])
    answer = models.torch.tensor([3, 2])
    distractor = models.torch.tensor([[0, 1], [1, -1]])
    found = models.metric_values(last, answer, distractor, None, "logit_difference")
    assert found.tolist() == [9.0 - 1.5, 4.0 - 2.0]


def test_choices_are_decided_by_the_best_variant_of_each_label():
    from circuit_reuse.engine import effects

    last = models.torch.tensor([[0.0, 5.0, 3.0, 9.0], [0.0, 5.0, 3.0, 4.0]])
    answer, distractor = models.torch.tensor([0, 0]), models.torch.tensor([[2], [2]])
    # The right label is written 0 or 1, the wrong one 2 or 3.
    choices = models.torch.tensor([[[0, 1], [2, 3]]] * 2)
    right, _ = effects.answered(last, answer, distractor, choices, "choice")
    assert right.tolist() == [False, True]


def test_shots_are_the_same_before_all_prompts_and_never_a_prompt(model):
    found = api.examples(model, FOLDER, "ioi", 24, shots=2)
    tokenizer = examples.load_tokenizer(FOLDER)[0]
    texts = [tokenizer.decode(list(tokens)) for tokens in found["clean_tokens"]]
    lines = texts[0].split("\n")[:2]
    assert len(lines) == 2 and all(text.split("\n")[:2] == lines for text in texts)
    solved = {text.split("\n")[2] for text in texts}
    assert not any(line.startswith(text) for line in lines for text in solved)


def test_a_job_is_left_out_with_its_input_and_a_gathering_job_goes_on(tmp_path):
    out, good = tmp_path / "out.parquet", tmp_path / "good.parquet"
    left_out.write(out, left_out.LeftOut("months: 3 of 64 prompts usable, 10 needed", 3, 10))
    pd.DataFrame({"a": [1]}).to_parquet(good)
    kept, reason = left_out.sift({"tables": [str(out), str(good)], "all_tables": [str(out)]})
    assert kept == {"tables": [str(good)], "all_tables": [str(out)]}
    assert reason.record() == {"reason": "months: 3 of 64 prompts usable, 10 needed", "usable": 3, "needed": 10}
    for inputs in ({"table": str(out)}, {"tables": [str(out), str(out)]}):
        with pytest.raises(left_out.LeftOut, match="3 of 64"):
            left_out.sift(inputs)


def leaves_out(job):
    raise left_out.LeftOut("too few")


def test_optional_inputs_that_are_all_left_out_are_an_empty_list(tmp_path):
    """Of the edges of the only task that has any, say: the study's other tables are made."""
    out, there = tmp_path / "out.parquet", tmp_path / "there.parquet"
    left_out.write(out, left_out.LeftOut("too few"))
    pd.DataFrame({"a": [1]}).to_parquet(there)
    kept, reason = left_out.sift({"some_edges": [str(out)], "pruned": [str(there)]})
    assert kept == {"edges": [], "pruned": [str(there)]} and str(reason) == "too few"
    with pytest.raises(left_out.LeftOut, match="too few"):
        left_out.sift({"edges": [str(out)], "pruned": [str(there)]})


def test_outputs_of_a_job_that_is_left_out_say_why(tmp_path):
    outputs = [
        str(tmp_path / f"a.{kind}") for kind in ("parquet", "csv", "svg", "png", "pdf", "json", "html", "md", "tex")
    ]
    request = {
        "function": f"{__name__}.leaves_out",
        "rule": "stage",
        "input": {},
        "output": {"files": outputs},
        "params": {},
        "wildcards": {},
        "threads": 1,
        "log": str(tmp_path / "log"),
    }
    assert job.perform(request) == 0
    for path in outputs[:2]:
        assert str(left_out.record_of(path)) == "too few"
    for path in outputs:
        text = Path(path).read_bytes()
        assert text.startswith((b"\x89PNG", b"%PDF", b"PAR1")) or b"oo few" in text, path


def test_a_table_of_what_was_tried_can_be_left_out_and_still_be_read(tmp_path, model, rows):
    found = draw(model, rows, {"train": 3, "held_out": 3})
    path = tmp_path / "examples.parquet"
    tables.write(path, tables.EXAMPLES, stage_examples.as_rows(found), left_out=left_out.LeftOut("why"))
    assert str(left_out.record_of(path)) == "why"
    assert len(tables.read(path, tables.EXAMPLES)) == len(found)
    assert SimpleNamespace(**tables.provenance(path)).versions


def test_a_shard_without_prompts_is_left_out(model, rows):
    with pytest.raises(left_out.LeftOut, match="no different prompt left"):
        draw(model, rows.head(0), {"train": 3, "held_out": 3})


def test_an_optional_input_that_was_left_out_is_none_and_any_other_stops_the_job(tmp_path):
    there, out = tmp_path / "there.parquet", tmp_path / "out.parquet"
    pd.DataFrame({"x": [1]}).to_parquet(there)
    left_out.write(out, left_out.LeftOut("too hard"))
    kept, reason = left_out.sift({"a": str(there), "some_b": str(out), "some_c": [str(out), str(there)]})
    assert kept == {"a": str(there), "b": [], "c": [str(there)]} and str(reason) == "too hard"
    # Two models may be one folder.
    assert left_out.sift({"a": [str(there)] * 2})[0] == {"a": [str(there)] * 2}
    with pytest.raises(left_out.LeftOut, match="too hard"):
        left_out.sift({"b": str(out)})


def test_a_reason_that_was_cut_off_is_still_a_table_that_was_left_out(tmp_path):
    path = tmp_path / "claims.csv"
    path.write_text(left_out.HEADER + '"too few"\n')
    assert str(left_out.record_of(path)) == "too few"
    path.write_text(left_out.HEADER)
    assert isinstance(left_out.record_of(path), left_out.LeftOut)
    path.write_text("claim,ours\n")
    assert left_out.record_of(path) is None
