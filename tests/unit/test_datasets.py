"""Rows of public datasets as prompt pairs: the answer is the dataset's, and the corrupt prompt has another one."""

import pandas as pd
import pytest
from circuit_reuse.config.checks import check_file_keys
from circuit_reuse.config.errors import ConfigError
from circuit_reuse.prompts import custom

LABELS = ["A", "B", "C", "D"]


def ioi(number):
    """A row as mib-bench/ioi has them."""
    first, second = (f"Name{number}", f"Other{number}") if number % 2 else (f"Other{number}", f"Name{number}")
    text = f"When {first} and {second} went out, {first} gave a drink to "
    flipped = f"When {first} and {second} went out, {second} gave a drink to "
    choices = [second, first]
    return {
        "prompt": text,
        "template": f"template {number % 3}",
        "choices": choices,
        "answerKey": 0,
        "metadata": {"subject": first, "indirect_object": second},
        "random_names_counterfactual": {"prompt": "elsewhere", "choices": ["x", "y"], "answerKey": 0},
        "s2_io_flip_counterfactual": {"prompt": flipped, "choices": choices, "answerKey": 1},
    }


def colours(number):
    """A row as mib-bench/copycolors_mcqa has them."""
    prompt = f"A thing {number} is red. What colour is it?\nA. blue\nB. red\nC. grey\nD. pink\nAnswer:"
    other = prompt.replace("blue", "?").replace("red\n", "blue\n").replace("?", "red")
    return {
        "prompt": prompt,
        "choices": {"label": LABELS, "text": ["blue", "red", "grey", "pink"]},
        "answerKey": 1,
        "randomLetter_counterfactual": {
            "prompt": "elsewhere",
            "choices": {"label": list("WXYZ"), "text": ["blue", "red", "grey", "pink"]},
            "answerKey": 1,
        },
        "answerPosition_counterfactual": {
            "prompt": other,
            "choices": {"label": LABELS, "text": ["red", "blue", "grey", "pink"]},
            "answerKey": 0,
        },
    }


def mmlu(number):
    """A row as cais/mmlu has them."""
    return {
        "question": f"How many are {number} and 1?",
        "choices": [str(number + step) for step in range(4)],
        "answer": 1,
    }


def arc(number):
    """A row as allenai/ai2_arc has them, some with numbers for labels."""
    labels = LABELS if number % 2 else ["1", "2", "3", "4"]
    return {
        "id": f"Q{number}",
        "question": f"What follows {number}?",
        "choices": {"label": labels, "text": [f"a{number}", f"b{number}", f"c{number}", f"d{number}"]},
        "answerKey": labels[2],
    }


def read(tmp_path, rows, kind="parquet", **options):
    frame = pd.DataFrame(rows)
    path = tmp_path / f"data.{kind}"
    frame.to_parquet(path) if kind == "parquet" else frame.to_json(path, orient="records", lines=True)
    return custom.rows(path, 0.5, **options)[0]


@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
def test_ioi_of_the_benchmark_is_the_second_name_against_the_first(tmp_path, kind):
    rows = read(tmp_path, [ioi(number) for number in range(8)], kind, format="mib")
    assert len(rows) == 8
    for number, row in enumerate(rows):
        about = ioi(number)["metadata"]
        assert row["answer"] == f" {about['indirect_object']}" and row["distractors"] == [f" {about['subject']}"]
        # The same names with the other one twice: the other answer.
        assert row["corrupt_answer"] == f" {about['subject']}" and row["corrupt"] != row["clean"]
        assert row["clean"].endswith(" gave a drink to") and row["corrupt"].endswith(" gave a drink to")
        assert row["cluster"] == row["template"] == f"template {number % 3}"


def test_multiple_choice_of_the_benchmark_is_a_label_against_the_others(tmp_path):
    rows = read(tmp_path, [colours(number) for number in range(6)], format="mib")
    assert all(row["answer"] == " B" and row["distractors"] == [" A", " C", " D"] for row in rows)
    assert all(row["corrupt_answer"] == " A" and "A. red\nB. blue" in row["corrupt"] for row in rows)
    rows = read(
        tmp_path,
        [colours(number) | {"id": str(number), "prompt": f"{number}: choose"} for number in range(2)],
        format="mib",
        counterfactual="answerPosition_counterfactual",
    )
    assert [row["clean"] for row in rows] == ["0: choose", "1: choose"]


@pytest.mark.parametrize("make", [mmlu, arc])
@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
def test_a_question_s_corrupt_prompt_has_the_same_choices_and_another_right_label(tmp_path, make, kind):
    rows = read(tmp_path, [make(number) for number in range(12)], kind, format="questions")
    steps = set()
    for number, row in enumerate(rows):
        source = make(number)
        texts = source["choices"]["text"] if make is arc else source["choices"]
        right = texts[2] if make is arc else texts[1]
        clean, corrupt = (
            dict(line.split(". ", 1) for line in row[name].split("\n")[1:5]) for name in ("clean", "corrupt")
        )
        assert clean[row["answer"].strip()] == right == corrupt[row["corrupt_answer"].strip()]
        assert sorted(clean.values()) == sorted(corrupt.values()) == sorted(texts)
        assert row["answer"] != row["corrupt_answer"] and row["answer"] not in row["distractors"]
        assert len(row["distractors"]) == 3 and row["clean"].endswith("Answer:")
        steps.add((LABELS.index(row["corrupt_answer"].strip()) - LABELS.index(row["answer"].strip())) % 4)
    assert len(steps) > 1
    assert rows == read(tmp_path, [make(number) for number in range(12)], kind, format="questions")


def test_long_prompts_are_left_out(tmp_path):
    data = [mmlu(number) | {"question": "x" * (40 * number + 1)} for number in range(10)]
    rows = read(tmp_path, data, format="questions", longest=200)
    assert 0 < len(rows) < 10 and all(len(row["clean"]) <= 200 for row in rows)


@pytest.mark.parametrize(
    ("make", "change", "options", "words"),
    [
        (ioi, {"answerKey": 2}, {"format": "mib"}, "row 1: answerKey is 2, which is none of its 2 choices"),
        (ioi, {"prompt": " "}, {"format": "mib"}, "row 1: a prompt or a choice is empty"),
        (ioi, {"s2_io_flip_counterfactual": "text"}, {"format": "mib"}, "is not a prompt with choices"),
        (ioi, {}, {"format": "mib", "counterfactual": "abc_counterfactual"}, "no column abc_counterfactual"),
        (mmlu, {}, {"format": "mib"}, "no column prompt"),
        (mmlu, {"choices": ["one"]}, {"format": "questions"}, "none of its 1 choices"),
        (mmlu, {"answer": -1}, {"format": "questions"}, "answer is -1"),
        (
            mmlu,
            {"choices": [f"c{n}" for n in range(30)]},
            {"format": "questions"},
            "30 choices; there are letters for 26",
        ),
        (ioi, {}, {"format": "questions"}, "no column question"),
        (ioi, {}, {}, "no column clean"),
    ],
)
def test_a_row_that_is_not_of_the_format_is_named(tmp_path, make, change, options, words):
    with pytest.raises(ValueError, match=words):
        read(tmp_path, [make(number) | change for number in range(4)], **options)


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ({"sequence": {}, "format": "mib"}, "format has no meaning beside sequence"),
        ({"file": "a.parquet", "hub": "x/y"}, "has no revision, which is needed beside hub"),
        ({"file": "a.parquet", "revision": "main"}, "has no hub, which is needed beside revision"),
        ({"file": "a.csv", "counterfactual": "abc"}, "only with format: mib"),
        ({"file": "a.csv", "hub": "x/y", "revision": "main"}, "must be a Parquet file of that dataset"),
        ({"file": "../a.parquet", "hub": "x/y", "revision": "main"}, "must be a path within that dataset"),
    ],
)
def test_keys_of_a_file_that_do_not_fit_together_are_refused(task, words):
    with pytest.raises(ConfigError, match=words):
        check_file_keys("custom_tasks.mine", task)
