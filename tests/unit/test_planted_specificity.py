"""Two tasks written into one model: they share a head, each has one of its own, and a fourth head serves any text.

Task one continues a repeated pair (a b ... a -> b), task two names the symbol in front of the marked one.  Both need the
head that looks one position back.  Ordinary text counts up, which only the fourth head knows.
"""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from circuit_reuse.engine import batching, effects, models, text_loss
from circuit_reuse.stats import circuits, statistics, testing
from circuit_reuse.studies.common import scoring
from circuit_reuse.studies.reuse import shared_circuits
from circuit_reuse.studies.reuse.generic import generic_row
from circuit_reuse.validate import planted_models, planted_tasks
from circuit_reuse.validate.planted_plan import POSITIONS, Head
from circuit_reuse.validate.planted_tasks import QUERY, SYMBOLS
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

pytestmark = pytest.mark.usefixtures("one_thread")

SHARED, OWN, GENERIC = "a0.h1", {"one": "a1.h2", "two": "a2.h0"}, "a3.h3"
CFG = {"bootstrap": 500, "permutations": 999}
COUNT = 24


def front_prompts(rng):
    """Symbols of which one is marked, behind another one than in the corrupt prompt."""
    tokens = [int(n) for n in rng.integers(SYMBOLS, size=POSITIONS - 1)] + [QUERY]
    place = int(rng.integers(1, POSITIONS - 1))
    right, wrong = (int(n) for n in rng.choice(SYMBOLS, 2, replace=False))
    tokens[place] = SYMBOLS + tokens[place]
    clean, corrupt = list(tokens), list(tokens)
    clean[place - 1], corrupt[place - 1] = right, wrong
    return clean, corrupt, right, wrong


PROMPTS = {"one": planted_tasks.pair_prompts, "two": front_prompts}


@pytest.fixture(scope="module", params=planted_models.ARCHITECTURES)
def planted(request):
    rng, plan = np.random.default_rng(0), planted_tasks.empty()
    copying, place = planted_tasks.copying, {name: tuple(map(int, (name[1], name[4]))) for name in [SHARED, GENERIC]}
    plan.heads[place[SHARED]] = Head(copying("symbol", "before"), offset=1)
    match = {
        "query": [(n, {planted_tasks.plain(n): 8.0}) for n in range(SYMBOLS)],
        "key": [(n, {f"before {n}": 1.0}) for n in range(SYMBOLS)],
    }
    plan.heads[1, 2] = Head(copying("symbol", "found"), **match)
    plan.heads[2, 0] = Head(copying("before", "found"), **planted_tasks.looking_for("mark 1"))
    count_up = [(f"symbol {n}", f"found {(n + 1) % SYMBOLS}", 1.0) for n in range(SYMBOLS)]
    plan.heads[place[GENERIC]] = Head(count_up, offset=0)
    planted_tasks.answer_by(plan, "found")
    planted_tasks.add_decoys(plan, rng)
    model = planted_models.build(plan, request.param, torch.Generator().manual_seed(0))
    words = {f"t{n}": n for n in range(len(plan.embedding))}
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        Tokenizer(WordLevel(words, unk_token="t0")).save(str(Path(folder) / "tokenizer.json"))
        return models.load(folder, "cpu", threads=torch.get_num_threads())


def examples_of(task, seed):
    rng, rows = np.random.default_rng([seed, len(task), ord(task[0])]), []
    for n in range(COUNT):
        clean, corrupt, answer, distractor = PROMPTS[task](rng)
        positions = [place for place, pair in enumerate(zip(clean, corrupt, strict=True)) if len(set(pair)) > 1]
        tokens = {"clean_tokens": clean, "corrupt_tokens": corrupt, "positions": positions, "length": POSITIONS}
        rows.append({"example": n, "cluster": f"{n}", "answer": answer, "distractors": [distractor]} | tokens)
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def found(planted):
    """The circuits that attribution finds on train examples."""
    heads = planted.space.of_kinds(["head"])
    places, result = [planted.space.names.index(name) for name in heads], {}
    for task in PROMPTS:
        batch = next(batching.batches(examples_of(task, 0), 10**6))
        scores = scoring.score(planted, batch, "patching", "logit_difference").numpy()[:, places]
        names = circuits.shared_names(circuits.top_k(scores, 2), heads, 0.75)
        result[task] = circuits.circuit_id(names), names, []
    return result


def test_each_circuit_is_the_shared_head_and_the_own_one(found):
    assert {task: set(names) for task, (_, names, _) in found.items()} == {
        task: {SHARED, OWN[task]} for task in PROMPTS
    }


@pytest.mark.parametrize("target", PROMPTS)
def test_what_is_a_tasks_own_is_told_from_what_both_need(planted, found, target):
    """Own against other: the own circuit hurts more; of the rests only the own one hurts; the core does, to both."""
    sets = shared_circuits.contrasted_sets(found, target)
    examples = examples_of(target, 1)
    run = effects.Evaluator(
        planted, examples, None, "corrupt", "logit_difference", planted.space.of_kinds(), "top1", 4096, 0
    )
    asked = effects.interventions_of({key: (names, []) for key, names in sets.items()}, ["remove"])
    outcomes = testing.Outcomes(pd.concat([run(each) for each in asked], ignore_index=True))
    rows = {
        pair.component_set: testing.specificity_row(
            outcomes, *(circuits.circuit_id(list(names)) for names in (pair.own, pair.other)), CFG, (target,)
        )
        for pair in shared_circuits.contrasts(found, target)
    }
    # Without the shared head neither task works, so the other task's circuit hurts, too: the rests tell them apart.
    assert rows["circuit"]["other_high"] < 0 and rows["circuit"]["own_high"] < 0
    rest = rows["residual"]
    # Head one, where its query finds nothing, attends to all ten positions and copies a tenth of the answer.
    assert rest["own_high"] < 0 and abs(rest["other"]) < 0.15 * abs(rest["own"])
    assert rest["difference_high"] < 0 and rest["p_value"] < 0.01
    assert rows["core"]["other_high"] < 0


def test_a_head_that_any_text_needs_is_called_generic_and_the_circuits_of_tasks_are_not(planted, found):
    rng = np.random.default_rng(2)
    texts = [[(start + n) % SYMBOLS for n in range(POSITIONS)] for start in rng.integers(SYMBOLS, size=40)]
    instead = text_loss.means(planted, texts[0::2], 4096)
    heads = planted.space.of_kinds(["head"])
    for names, generic in (([GENERIC], True), (found["one"][1], False), (found["two"][1], False)):
        random = [
            each for each in circuits.random_sets({"head": len(names)}, heads, 40, "t") if set(each) != set(names)
        ]
        losses = text_loss.losses(planted, texts[1::2], [[], names, *random], instead, 4096)
        row = generic_row(losses[0], losses[1:], np.zeros(len(losses) - 1), CFG, 0)
        assert (row["p_value"] <= 0.1 and row["loss_change_low"] > 1) == generic, (names, row)


def test_the_rank_at_equal_loss_of_text_is_uniform_for_a_random_set_and_small_for_one_beyond_the_line():
    from circuit_reuse.studies.reuse.generic import held_fixed

    p_values = []
    for seed in range(400):
        rng = np.random.default_rng(seed)
        losses = rng.exponential(size=40) ** 2
        effects = -2 * losses + rng.standard_t(3, size=40)
        p_values.append(held_fixed(losses, effects)[1])
    assert np.mean(np.array(p_values) <= 0.05) == pytest.approx(0.05, abs=3 * np.sqrt(0.05 * 0.95 / 400))
    losses = np.arange(20.0)
    left, p_value = held_fixed(losses, np.append(-7.0, 5 - 2 * losses[1:]))
    assert left == pytest.approx(-12) and p_value == pytest.approx(1 / 20)
    # Hurts the task, and text by as much as the line says: nothing is left.
    assert held_fixed(losses[::-1], 5 - 2 * losses[::-1])[0] == pytest.approx(0)
    assert held_fixed(losses[:5], losses[:5]) == (None, None) and statistics.rank_p(1.0, losses[1:]) == 1.0
