import pytest
from circuit_reuse.examples import enough, load_tokenizer, tokenise
from support import MODELS


def pair(**changes):
    row = {
        "example": 0, "id": "a", "split": "train", "clean": "When Mary and John", "corrupt": "When John and Mary",
        "answer": " went", "distractor": " met", "corrupt_answer": None, "variant": "", "template": "",
        "roles": [{"role": "first", "start": 4, "end": 9}],
    }  # fmt: skip
    tokenizer, bos = load_tokenizer(MODELS / "tiny-gpt2-medium")
    return tokenise(tokenizer, bos, row | changes)


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
        ({"answer": " went to"}, "is 2 tokens"),
        ({"corrupt": "When John and Mary met"}, "has 5 tokens, the corrupt one 6"),
        ({"corrupt": "When Mary and John"}, "are the same"),
        ({"distractor": " went"}, "same token"),
        ({"corrupt_answer": " went"}, "does not change the answer"),
    ],
)  # fmt: skip
def test_a_bad_pair_is_kept_with_the_reason(changes, reason):
    row = pair(**changes)
    assert not row["valid"] and reason in row["reason"]


def test_too_few_valid_pairs_is_an_error_that_names_the_commonest_reason():
    rows = [pair(), pair(distractor=" went"), pair(distractor=" went")]
    with pytest.raises(ValueError, match=r"'mine' has 1 valid train pairs and needs 2.*same token"):
        enough(rows, "train", 2, "mine")


def test_a_model_that_answers_wrongly_is_the_reason_also_when_read_from_a_table():
    """A column of reasons without any reads back as nan, which is no reason."""
    rows = [{"split": "train", "valid": True, "used": False, "reason": float("nan")}] * 3
    with pytest.raises(
        ValueError, match=r"most often: the model answers wrongly.*correct_only: false"
    ):
        enough(rows, "train", 2, "mine")
