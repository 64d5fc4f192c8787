import pytest
from circuit_reuse.data.examples import PromptReader, load_tokenizer, reader, tokenise
from circuit_reuse.prompts import custom, sequence, words
from circuit_reuse.prompts.generate import generate
from circuit_reuse.prompts.rows import row
from circuit_reuse.prompts.tasks import TASKS
from support import MODELS, SHARED

COUNT = 120


@pytest.fixture(scope="module")
def made():
    return {task: generate(task, COUNT) for task in TASKS}


@pytest.mark.parametrize("task", TASKS)
def test_example_i_does_not_depend_on_how_many_there_are(task, made):
    assert generate(task, 30) == made[task][:30]


@pytest.mark.parametrize("task", TASKS)
def test_a_pair_is_usable_under_the_embedded_tokenizer(task, made):
    if task in ("capitals", "addition_of_3"):
        pytest.skip("the embedded tokenizer has never seen its words")
    of_model = reader(MODELS / "tiny-gpt2-medium")
    examples = made[task]
    if task.startswith("sarcasm"):
        examples = generate(task, COUNT, options={"events": "learned"})
    rows = [tokenise(of_model, row(*example)) for example in examples]
    assert [each["reason"] for each in rows if not each["valid"]] == []


@pytest.mark.parametrize("task", TASKS)
def test_every_prompt_is_its_own_and_the_corruption_changes_the_answer(task, made):
    prompts = [prompt for _, _, prompt in made[task]]
    assert len({prompt.clean for prompt in prompts}) == len(prompts) >= 80
    for prompt in prompts:
        assert prompt.clean != prompt.corrupt
        assert prompt.answer not in prompt.distractors
        assert prompt.answer != prompt.corrupt_answer


@pytest.mark.parametrize("task", TASKS)
def test_roles_mark_the_words_they_name(task, made):
    for _, _, prompt in made[task]:
        for _, start, end in prompt.roles:
            assert prompt.clean[start:end].strip() and end <= len(prompt.clean)


def test_names_of_the_held_out_split_are_not_in_the_train_split(made):
    for task in ("ioi", "pronouns"):
        seen = {"train": set(), "held_out": set()}
        for _, split, prompt in made[task]:
            seen[split] |= set(prompt.clean.replace(",", " ").replace(".", " ").split())
        names = set(words.NAMES)
        assert not seen["train"] & seen["held_out"] & names
        assert seen["held_out"] & names


def test_ioi_has_both_orders_and_at_least_six_templates(made):
    prompts = [prompt for _, _, prompt in made["ioi"]]
    assert {prompt.variant for prompt in prompts} == {"ABBA", "BABA"}
    assert len({prompt.template for prompt in prompts}) >= 6
    for prompt in prompts:
        first = min((s, r) for r, s, _ in prompt.roles if r in ("IO", "S1"))[1]
        assert (first == "IO") == (prompt.variant == "ABBA")


def test_anti_repeat_names_every_item_twice_but_the_answer(made):
    for _, _, prompt in made["anti_repeat"]:
        text = prompt.clean.replace(",", " ").replace(".", " ").split()
        assert text.count(prompt.answer.strip()) == 1
        assert text.count(prompt.distractor.strip()) == 2
        assert not any(name in text for name in words.NAMES)


def test_greater_than_years_are_in_order(made):
    for _, _, prompt in made["greater_than"]:
        year = next(prompt.clean[s:e] for role, s, e in prompt.roles if role == "year")
        start, later = 1700 + int(year), 1700 + int(prompt.corrupt.split("17")[1][:2])
        assert int(prompt.distractor) < start < int(prompt.answer) < later
    for _, _, prompt in generate("greater_than", 40, options={"form": "published"}):
        year = next(prompt.clean[s:e] for role, s, e in prompt.roles if role == "year")
        assert prompt.clean.endswith(" 17") and int(prompt.distractor) < int(year) < int(prompt.answer)


@pytest.mark.parametrize("corruption", ["random", "repeat_last", "repeat_all", "shuffled"])
@pytest.mark.parametrize("task", ["digits", "digits_down", "digits_by_two", "months", "days"])
def test_sequences_step_evenly_and_the_corrupt_one_does_not_continue(task, corruption):
    options = TASKS[task].options
    members = sequence.MEMBERS[options["members"]]
    step = options.get("step", 1)
    for _, _, prompt in generate(task, 60, options={"corruption": corruption}):
        clean = [members.index(w) for w in items_of(prompt.clean)]
        corrupt = [members.index(w) for w in items_of(prompt.corrupt)]
        answer = members.index(prompt.answer.strip())
        assert [*clean, answer] == list(range(clean[0], answer + step, step))
        assert members[clean[-1]] == prompt.distractor.strip()
        assert len(corrupt) == len(clean)
        assert corrupt[-1] + step != answer or corrupt[-1] == corrupt[-2]
        assert corrupt[-1] - corrupt[-2] != step


def items_of(text):
    return [part.split(" in ")[1] for part in text.split(".") if " in " in part and part.split(" in ")[1]]


def test_boolean_answers_are_the_value_of_the_expression(made):
    for _, _, prompt in made["boolean"]:
        for text, answer in ((prompt.clean, prompt.answer), (prompt.corrupt, prompt.corrupt_answer)):
            expression = text.split("of ", 1)[-1].split(": ", 1)[-1].removesuffix(" is")
            assert str(left_to_right(expression)).lower() == answer.strip()


def left_to_right(expression):
    tokens, value, operator, negate = expression.split(), None, None, False
    for token in tokens:
        if token == "not":
            negate = True
        elif token in ("and", "or"):
            operator = token
        else:
            literal = (token == "true") != negate
            negate = False
            if operator == "and":
                value = value and literal
            elif operator == "or":
                value = value or literal
            else:
                value = literal
    return value


def test_addition_adds_up_and_no_pair_is_in_both_splits(made):
    seen = {"train": set(), "held_out": set()}
    for _, split, prompt in made["addition"]:
        a, b = (int(w) for w in prompt.clean.split() if w.isdigit())
        assert a + b == int(prompt.answer) <= 99
        seen[split].add((a, b))
    assert not seen["train"] & seen["held_out"]


def test_word_lists_are_single_tokens_under_gpt2s_tokenizer(made):
    path = SHARED / "data" / "gpt2-tokenizer" / "tokenizer.json"
    if not path.is_file():
        pytest.skip("GPT-2's tokenizer is not beside the project")
    tokenizer, _ = load_tokenizer(path.parent)
    for task, examples in made.items():
        rows = [tokenise(PromptReader(tokenizer, None), row(*example)) for example in examples]
        assert [each["reason"] for each in rows if not each["valid"]] == [], task


def test_a_task_that_runs_out_of_prompts_gives_those_that_there_are():
    made = generate("days", 500, options={"frame": "bare"})
    assert 2 <= len(made) < 20 and len({prompt.clean for _, _, prompt in made}) == len(made)
    assert generate("days", 300, options={"frame": "bare"}) == made


def test_custom_files_of_all_three_kinds_give_the_same_rows(tmp_path):
    import pandas as pd

    frame = pd.DataFrame(
        {"clean": ["a b", "c d"], "corrupt": ["a c", "c e"], "answer": [" x"] * 2, "distractor": [" y"] * 2}
    )
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_json(tmp_path / "t.jsonl", orient="records", lines=True)
    frame.to_parquet(tmp_path / "t.parquet")
    first, *others = [custom.rows(tmp_path / f"t.{kind}", 0.5) for kind in ("csv", "jsonl", "parquet")]
    assert others == [first, first]
    assert [each["split"] for each in first[0]] == ["train", "held_out"] and first[1] == 0


def write_pairs(path, pairs, splits=None):
    import pandas as pd

    frame = pd.DataFrame(pairs, columns=["clean", "corrupt"]).assign(answer=" x", distractor=" y")
    if splits:
        frame["split"] = splits
    frame.to_csv(path, index=False)
    return path


def test_rows_that_share_a_prompt_in_any_role_are_in_one_split(tmp_path):
    """A to B and B to A are the same two prompts; so is a chain of rows, whichever comes first."""
    path = tmp_path / "t.csv"
    rows, _ = custom.rows(
        write_pairs(path, [("a", "b"), ("c", "d"), ("b", "a"), ("e", "f"), ("d", "g"), ("g", "h")]), 0.5
    )
    splits = {row["clean"]: row["split"] for row in rows}
    assert splits["a"] == splits["b"] != splits["c"] == splits["d"] == splits["g"]
    for pairs in ([("a", "b"), ("b", "a")], [("a", "b"), ("c", "b")], [("a", "b"), ("a", "c")]):
        with pytest.raises(ValueError, match=r"also one of id '000000'.*in the other split"):
            custom.rows(write_pairs(path, pairs, ["train", "held_out"]), 0.5)
    with pytest.raises(ValueError, match="cannot be divided into train and held out"):
        custom.rows(write_pairs(path, [(f"clean {n}", "the same") for n in range(8)]), 0.5)


def test_a_row_that_repeats_another_counts_once(tmp_path):
    pairs = [(f"clean {n}", f"corrupt {n}") for n in range(4)]
    rows, repeats = custom.rows(write_pairs(tmp_path / "t.csv", pairs * 8), 0.5)
    assert len(rows) == 4 and repeats == 28 and [row["example"] for row in rows] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "task", ["ioi", "anti_repeat", "greater_than", "pronouns", "digits", "months", "mcqa", "comparison"]
)
def test_frames_and_starts_go_round_in_turn(task):
    """As many examples as there are clusters have each of them once, whatever comes after."""
    held_out = [prompt.cluster for _, split, prompt in generate(task, 200) if split == "held_out"]
    number = len(set(held_out))
    assert number >= 8
    for start in range(0, 3 * number, number):
        assert len(set(held_out[start : start + number])) == number
    assert held_out[:number] != held_out[number : 2 * number]
    assert [p.clean for _, _, p in generate(task, 40)] == [p.clean for _, _, p in generate(task, 200)][:40]


@pytest.mark.parametrize("task", ["ioi", "anti_repeat"])
def test_prompts_of_one_published_sentence_are_clusters_by_their_answer(task):
    """One frame for all would be one cluster, and leave no interval."""
    made = [prompt for _, _, prompt in generate(task, 60, options={"form": "published"})]
    assert len({prompt.template for prompt in made}) == 1 and len({prompt.cluster for prompt in made}) > 6
    assert all(prompt.cluster == prompt.answer.strip() for prompt in made)
