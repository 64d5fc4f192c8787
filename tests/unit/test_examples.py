import json

import pytest
from circuit_reuse.data import examples
from circuit_reuse.data.examples import enough, tokenise
from circuit_reuse.prompts import rows as sources
from circuit_reuse.prompts import tasks
from circuit_reuse.prompts.generate import generate
from support import MODELS, SHARED

PAIR = {
    "example": 0,
    "id": "a",
    "split": "train",
    "clean": "When Mary and John",
    "corrupt": "When John and Mary",
    "answer": " went",
    "distractors": [" met"],
    "corrupt_answer": None,
    "variant": "",
    "template": "",
    "cluster": "",
    "roles": [{"role": "first", "start": 4, "end": 9}],
}


def pair(**changes):
    return tokenise(examples.reader(MODELS / "tiny-gpt2-medium"), PAIR | changes)


def test_a_good_pair_is_valid_and_knows_where_it_differs():
    row = pair()
    assert row["valid"] and row["positions"] == [2, 4]
    assert row["roles"] == [{"role": "first", "position": 2}]
    assert len(row["clean_tokens"]) == row["length"] == 5


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        # The reference study read the answer one position late for such prompts.
        ({"clean": "When Mary and John ", "corrupt": "When John and Mary ", "answer": "went"}, "joins with the end"),
        ({"corrupt": "When John and Mary met"}, "has 5 tokens, the corrupt one 6"),
        ({"corrupt": "When Mary and John"}, "are the same"),
        ({"distractors": [" went"]}, "same token"),
        ({"corrupt_answer": " went"}, "does not change the answer"),
    ],
)
def test_a_bad_pair_is_kept_with_the_reason(changes, reason):
    row = pair(**changes)
    assert not row["valid"] and reason in row["reason"]


def test_too_few_valid_pairs_is_an_error_that_names_the_commonest_reason():
    rows = [pair(), pair(distractors=[" went"]), pair(distractors=[" went"])]
    with pytest.raises(ValueError, match=r"'mine' has 1 valid train pairs and needs 2.*same token"):
        enough(rows, "train", 2, "mine")


def test_a_model_that_answers_wrongly_is_the_reason_also_when_read_from_a_table():
    """A column of reasons without any reads back as nan, which is no reason."""
    rows = [{"split": "train", "valid": True, "used": False, "reason": float("nan")}] * 3
    with pytest.raises(ValueError, match=r"most often: the model answers wrongly.*correct_only: false"):
        enough(rows, "train", 2, "mine")


def small_tokenizer(kind, alphabet):
    """A byte-level tokenizer that takes words whole and numbers in its own way.

    kind: digits (one by one), three (up to three digits at once) or space (a token of its own before digits)
    """
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers

    number = {"digits": r"\d", "three": r"\d{1,3}", "space": r"\d"}[kind]
    cut = pre_tokenizers.Split(Regex(rf" ?\p{{L}}+|{number}|\s|[^\s\p{{L}}\d]"), "isolated")
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer = Tokenizer(models.WordLevel({}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([cut, byte_level])
    pieces = {piece for text in alphabet for piece, _ in tokenizer.pre_tokenizer.pre_tokenize_str(text)}
    vocabulary = {piece: n for n, piece in enumerate(["?", *sorted(pieces)])}
    tokenizer.model = models.WordLevel(vocabulary, unk_token="?")
    return tokenizer


@pytest.fixture(scope="module")
def prompts():
    found = {}
    for task, about in tasks.TASKS.items():
        made = generate(task, 120, options=about.options)
        found[task] = [sources.row(*each) for each in made]
    return found


@pytest.mark.parametrize("kind", ["digits", "three", "space"])
def test_tokenizers_that_split_numbers_in_their_own_way_leave_prompts_valid(kind, prompts):
    texts = [
        row[side] + end
        for rows in prompts.values()
        for row in rows
        for side in ("clean", "corrupt")
        for end in (row["answer"], *row["distractors"])
    ]
    of_kind = examples.PromptReader(small_tokenizer(kind, texts), None)
    for task, rows in prompts.items():
        found = [tokenise(of_kind, row) for row in rows]
        assert sum(row["valid"] for row in found) >= 0.95 * len(found), (task, found[0])
        for row, pair in zip(found, rows, strict=True):
            if row["valid"]:
                check_same_meaning(of_kind, row, pair)


def check_same_meaning(of_kind, row, pair):
    """The tokens up to the compared one, and it, are those of the text itself."""
    for text, token in zip((pair["answer"], *pair["distractors"]), (row["answer"], *row["distractors"]), strict=True):
        whole = of_kind.encode(pair["clean"] + text).ids
        lead = [] if of_kind.bos is None else [of_kind.bos]
        assert (lead + whole)[: row["length"] + 1] == [*row["clean_tokens"], token]


REAL = sorted(path for path in (SHARED / "data").glob("*tokenizer*/**/tokenizer.json"))


@pytest.mark.skipif(not REAL, reason="no tokenizers of public models are beside the project")
@pytest.mark.parametrize("path", REAL, ids=lambda path: path.parent.name)
def test_built_in_tasks_are_valid_under_tokenizers_of_public_models(path, prompts):
    of_model = examples.reader(path.parent)
    for task, rows in prompts.items():
        found = [tokenise(of_model, row) for row in rows]
        assert sum(row["valid"] for row in found) >= 0.95 * len(found), (task, found[0]["reason"])
        for row, pair in zip(found, rows, strict=True):
            if row["valid"]:
                check_same_meaning(of_model, row, pair)


def test_what_answer_and_distractor_share_belongs_to_both_prompts():
    row = pair(clean="When Mary", corrupt="When John", answer=" went to", distractors=[" went in"])
    short = pair(clean="When Mary", corrupt="When John", answer=" to", distractors=[" in"])
    assert row["valid"] and row["shared"] == 1 and len(row["answer_tokens"]) == 2
    assert row["clean_tokens"][:-1] == short["clean_tokens"]
    assert row["clean_tokens"][-1] == row["corrupt_tokens"][-1] == row["answer_tokens"][0]
    assert (row["answer"], row["distractors"]) == (short["answer"], short["distractors"])


def test_all_right_and_wrong_answers_are_taken_one_by_one_and_those_of_the_pair_always():
    def found(right, wrong, **changes):
        row = PAIR | {"right": right, "wrong": wrong} | changes
        return tokenise(examples.reader(MODELS / "tiny-gpt2-medium"), row, sums=True)

    # An answer without a token of its own is left out alone; the others stay.
    row, token = found([" went", "", " gave"], [" met", " had"]), pair()
    assert row["valid"] and [len(each) for each in row["choices"]] == [2, 2]
    assert row["answer"] == token["answer"] and row["answer"] in row["choices"][0]
    assert set(row["distractors"]) <= set(row["choices"][1])
    # A token that begins right and wrong answers is in neither; then the pair's own must not be it.
    assert [len(each) for each in found([" went", " gave"], [" met", " gave"])["choices"]] == [1, 1]
    for right, wrong, reason in (
        ([" went"], [" went", " met"], "answer begins wrong"),
        ([" went", " met"], [" met"], "distractor begins right"),
        ([" gave"], [" met"], "answer begins wrong"),
    ):
        row = found(right, wrong)
        assert not row["valid"] and reason in row["reason"] and row["choices"] is None
    # Only a metric over all answers needs them.
    assert pair(right=[" went"], wrong=[" went"])["valid"]


def test_labels_are_read_with_and_without_a_space():
    row = pair(answer=" A", distractors=[" B", " C"])
    of_model = examples.reader(MODELS / "tiny-gpt2-medium")
    found = tokenise(of_model, {**PAIR, "answer": " A", "distractors": [" B", " C"]}, labels=True)
    assert [len(label) for label in found["choices"]] == [2, 2, 2]
    assert found["choices"][0][0] == row["answer"]


def test_a_chat_template_is_used_and_a_missing_one_is_reported(tmp_path):
    folder = MODELS / "tiny-gpt2-medium"
    with pytest.raises(examples.ReaderError, match=r"no chat template.*chat: false"):
        examples.reader(folder, chat=True)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    (tmp_path / "chat_template.jinja").write_text(
        "{{ bos_token }}{% for m in messages %}{{ m.role }}: {{ m.content }} .{% endfor %} A:"
    )
    of_model = examples.reader(tmp_path, chat=True)
    row = tokenise(of_model, PAIR)
    text = of_model.tokenizer.decode(row["clean_tokens"], skip_special_tokens=False)
    assert text == "<|endoftext|>user: When Mary and John . A:"
    # A reply has no space in front; the word keeps its place in the prompt.
    assert of_model.reply(" went") == "went"
    assert of_model.tokenizer.decode([row["clean_tokens"][row["roles"][0]["position"]]]) == " Mary"


@pytest.mark.parametrize(("bos", "first"), [("auto", True), ("always", True), ("never", False)])
def test_bos_is_put_first_as_asked(bos, first):
    of_model = examples.reader(MODELS / "tiny-gpt2-medium", bos)
    tokens = tokenise(of_model, PAIR)["clean_tokens"]
    assert (of_model.tokenizer.id_to_token(tokens[0]) == "<|endoftext|>") is first


def test_a_tokenizer_that_adds_no_bos_gets_none(tmp_path):
    folder = MODELS / "tiny-gpt2-medium"
    (tmp_path / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes())
    for settings, wanted in (
        ({"bos_token": "<|endoftext|>"}, None),
        ({"bos_token": None}, None),
        ({"bos_token": {"content": "<|endoftext|>"}, "add_bos_token": True}, 0),
    ):
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
        (tmp_path / "config.json").write_text('{"bos_token_id": 0}')
        assert examples.reader(tmp_path).bos == wanted
