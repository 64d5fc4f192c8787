"""Sequences as prompts: every property that the published data broke, for any specification."""

import itertools
import random

import pytest
from circuit_reuse.prompts import sequence, words
from circuit_reuse.prompts.generate import generate
from hypothesis import assume, given, settings
from hypothesis import strategies as st

SPECS = st.fixed_dictionaries(
    {
        "members": st.sampled_from([*sequence.MEMBERS, ["un", "dos", "tres", "quatre", "cinc", "sis"]]),
        "step": st.sampled_from([1, -1, 2, -2, 0]),
        "length": st.integers(1, 10),
        "frame": st.sampled_from(["sentence", "bare", "among", "{word} is {item}.", "Then {item},"]),
        "corruption": st.sampled_from(sequence.CORRUPTIONS),
        "fillers": st.sampled_from(["objects", "names", "digits"]),
    }
)


@settings(max_examples=150, deadline=None)
@given(SPECS, st.integers(0, 10**6), st.sampled_from(["train", "held_out"]))
def test_any_sequence_steps_evenly_and_its_corruption_does_not_continue(spec, seed, split):
    listed = sequence.MEMBERS[spec["members"]] if isinstance(spec["members"], str) else spec["members"]
    assume(abs(spec["step"]) * spec["length"] < len(listed))
    assume(spec["step"] or spec["corruption"] not in ("repeat_last", "shuffled"))
    prompt = sequence.example(random.Random(seed), split, **spec)
    step, length = spec["step"], spec["length"]
    shown = [prompt.clean[start:end].strip() for _, start, end in prompt.roles]
    assert [name for name, _, _ in prompt.roles] == [f"item_{n + 1}" for n in range(length)]
    clean = [listed.index(word) for word in shown]
    answer = listed.index(prompt.answer.strip())
    assert [*clean, answer] == [clean[0] + step * place for place in range(length + 1)]
    assert prompt.answer.startswith(" ") and prompt.distractor != prompt.answer
    assert prompt.distractor.strip() == shown[-1] or step == 0
    # What stands between the elements is the same, to the letter: nothing was replaced in a text.
    pieces, place = [], 0
    for _, start, end in prompt.roles:
        pieces.append(prompt.clean[place:start])
        place = end
    rest, corrupt = prompt.corrupt, []
    for number, piece in enumerate(pieces):
        assert rest.startswith(piece)
        rest = rest[len(piece) :]
        following = [*pieces[1:], prompt.clean[place:]][number]
        word = next(
            w for w in sorted(listed, key=len, reverse=True) if rest.startswith((f" {w}{following}", f"{w}{following}"))
        )
        corrupt.append(listed.index(word))
        rest = rest[len(word) + rest.startswith(" ") :]
    assert rest == prompt.clean[place:]
    assert corrupt[-1] + step != answer
    if spec["corruption"] in ("random", "within_decade"):
        assert answer not in corrupt
        assert all(b - a != step for a, b in itertools.pairwise(corrupt))
    if spec["corruption"] == "repeat_new":
        assert len(set(corrupt[-2:])) == 1 and answer not in corrupt and corrupt[-1] != clean[-1]
    if spec["corruption"] == "repeat_all":
        assert len(set(corrupt)) == 1
    if spec["corruption"] == "repeat_last" and length > 1:
        assert corrupt == [*clean[:-1], clean[-2]]
    if spec["corruption"] == "shuffled" and length > 2:
        assert sorted(corrupt) == sorted(clean) and corrupt[-1] - corrupt[-2] != step


@pytest.mark.parametrize(
    "options, message",
    [
        ({"members": "weeks"}, "'weeks' are unknown; known: digits"),
        ({"members": ["a", "b", "a", "c", "d", "e"]}, "a twice"),
        ({"step": 0, "corruption": "shuffled"}, "step is 0, and one element repeated is the same"),
        ({"step": 0, "members": ["a", "b"]}, "step is 0 and there are 2 members; it takes 3 or more"),
        ({"length": 11}, "1 to 10"),
        ({"members": "days", "step": 2}, r"4 steps of 2 do not fit into 7 days: .* wrap"),
        ({"frame": "nothing here"}, "has the slots none; it needs {item}"),
        ({"frame": "{item} and {item}"}, "slots item, item"),
        ({"frame": "{thing} in {item}"}, "slots thing, item"),
        ({"frame": "{item"}, "cannot be read"),
        ({"corruption": "noise"}, "'noise' is unknown"),
        ({"fillers": "cars"}, "'cars' are unknown"),
        ({"fillers": "days", "filler_step": 3}, "do not fit into the days between"),
    ],
)
def test_a_specification_that_makes_no_sense_says_why(options, message):
    with pytest.raises(ValueError, match=message):
        sequence.example(random.Random(0), "train", **options)


def test_probes_mix_sequences_and_put_words_between():
    for _, _, prompt in generate("months_and_digits", 40):
        parts = prompt.clean.split()
        digits = [int(word) for word in parts[::2]]
        assert digits == list(range(digits[0], digits[0] + 5))
        assert prompt.answer.strip() in words.MONTHS
    seen = {tuple(p.clean.split()[::2]) for _, _, p in generate("months_among_digits", 40)}
    assert len(seen) > 30
    assert all(p.clean.split()[0] in words.FILLERS for _, _, p in generate("digits_among_words", 40))


def test_within_a_decade_all_elements_lie_in_the_same_ten_numbers():
    """Where the clean prompt itself does; one of the length of its numbers stands for each of them."""
    for _, _, prompt in generate("digits", 60, options={"corruption": "within_decade", "largest": 40}):
        clean, corrupt = (
            [int(word.strip(".")) for word in text.split() if word.strip(".").isdigit()]
            for text in (prompt.clean, prompt.corrupt)
        )
        if len({len(str(number)) for number in clean}) == 1:
            assert len({number // 10 for number in corrupt}) == 1
            assert {len(str(number)) for number in corrupt} == {len(str(number)) for number in clean}


def test_repeat_new_ends_two_steps_beyond_the_sequence():
    prompt = sequence.example(random.Random(1), "train", members="letters", corruption="repeat_new", frame="bare")
    clean, corrupt = prompt.clean.split(), prompt.corrupt.split()
    assert corrupt[-2:] == [chr((ord(clean[-1]) - ord("A") + 2) % 26 + ord("A"))] * 2


def test_one_element_repeated_is_answered_by_itself():
    for _, _, prompt in generate("digits", 30, options={"step": 0, "frame": "bare"}):
        shown = prompt.clean.split()
        assert set(shown) == {prompt.answer.strip()} and len(set(prompt.corrupt.split())) > 1
        assert abs(int(prompt.distractor) - int(prompt.answer)) == 1
