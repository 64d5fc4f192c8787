"""What removing or keeping circuits does, example by example, with reuse of earlier rows.

An intervention is a circuit with its controls, removed or kept.  It is
computed in batches of its own, so its numbers do not depend on which other interventions there are,
and a file that was extended equals one that was made at once, byte for byte.
"""

import hashlib
import json
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from circuit_reuse.data import tables
from circuit_reuse.engine import interventions, models, progress
from circuit_reuse.engine.prepared import prepared


@dataclass(frozen=True)
class Intervention:
    """A group of interventions that are computed together.

    circuit:   id of the circuit, the composition of random sets, or None for the intact run
    direction: none, remove (necessity) or keep (sufficiency: all else is removed)
    sets:      [(number of the control or None, component names)]
    """

    circuit: str | None
    direction: str
    sets: list

    def key(self, context):
        """What the rows depend on: the interventions and the context they ran in."""
        text = json.dumps([self.circuit, self.direction, self.sets, context])
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def interventions_of(circuits, directions, keep_controls=0, random_sets=None):
    """One intervention a direction for each different shared circuit, and the intact run.

    circuits:      {id: (names, controls)}, without the empty circuit
    directions:    remove, keep, or both
    keep_controls: controls that are kept alone too, the first so many
    random_sets:   {composition: sets} that are removed for the rank of circuits of that composition
    """
    asked = [Intervention(None, "none", [(None, [])])]
    if "keep" in directions:
        # Everything removed: the floor against which what a circuit keeps is measured.
        asked.append(Intervention("empty", "keep", [(None, [])]))
    for circuit in sorted(circuits):
        names, controls = circuits[circuit]
        sets = [(None, list(names)), *enumerate(list(names) for names in controls)]
        for direction in directions:
            count = 1 + (keep_controls if direction == "keep" else len(controls))
            asked.append(Intervention(circuit, direction, sets[:count]))
    for composition, sets in sorted((random_sets or {}).items()):
        asked.append(Intervention(composition, "remove", list(enumerate(map(list, sets)))))
    return asked


def context_of(fingerprint, examples, reference, replacement, metric, space, code, seed):
    """Everything but the interventions that the numbers depend on, as a short hash.

    Versions of torch, transformers and TransformerLens count: a table that is added to later has rows of one version alone.
    """
    content = hashlib.sha256()
    for frame in (examples, reference):
        # Rows are kept under their examples' numbers, which are places in a file: a row put in before them moves all.
        used = frame[["example", "clean_tokens", "corrupt_tokens", "answer", "distractors"]]
        for example, clean, corrupt, answer, distractors in used.itertuples(index=False):
            tokens = [list(map(int, each)) for each in (clean, corrupt, distractors)]
            content.update(repr([int(example), *tokens, int(answer)]).encode())
        # The metric or the accuracy may go by them.
        if "choices" in frame:
            # Of a table that was read they are arrays, whose truth is not defined.
            choices = [[] if each is None else [list(map(int, label)) for label in each] for each in frame["choices"]]
            content.update(repr(choices).encode())
    versions = [tables.versions().get(package) for package in ("torch", "transformers", "transformer-lens")]
    text = json.dumps([fingerprint, content.hexdigest(), replacement, metric, space, code, seed, versions])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def update(previous, asked, context, evaluate):
    """Rows of all interventions, of which those in `previous` under the same key are kept.

    previous: a DataFrame of the effects table, or None
    evaluate: function of an Intervention that returns its rows
    returns:  (rows in the order of the interventions, interventions kept, interventions evaluated)
    """
    kept, new, parts = 0, 0, []
    groups = {} if previous is None else dict(list(previous.groupby("intervention", sort=False)))
    for intervention in progress.bar(asked, desc="circuits", unit="circuit"):
        key = intervention.key(context)
        if key in groups:
            parts.append(groups[key])
            kept += 1
            continue
        rows = evaluate(intervention)
        rows.insert(0, "intervention", key)
        parts.append(rows)
        new += 1
    frame = pd.concat(parts, ignore_index=True)
    frame["control"] = frame["control"].astype("Int32")
    return frame, kept, new


class Evaluator:
    """Runs interventions on a fixed set of examples; clean and corrupt runs and means happen once.

    examples:  those that are tested (held-out split), valid rows only
    reference: those that means are taken over (train split)
    universe:  components that count as removable, for `keep`
    """

    def __init__(self, model, examples, reference, replacement, metric, universe, accuracy, tokens, seed):
        self.model, self.examples, self.metric = model, examples.reset_index(drop=True), metric
        self.replacement, self.universe = replacement, universe
        self.accuracy, self.tokens = accuracy, tokens
        self.prepared = list(prepared(model, self.examples, reference, replacement, tokens, seed))

    def __call__(self, intervention):
        """Rows of one intervention: a DataFrame, interventions in order and examples in theirs."""
        sets = [(control, self.removed(intervention, names)) for control, names in intervention.sets]
        pieces = [piece for ready in self.prepared for piece in self.evaluate(sets, *ready)]
        frame = pd.concat(pieces, ignore_index=True)
        frame = frame.sort_values(["place", "row"], kind="stable", ignore_index=True)
        for name in ("example", "cluster"):
            frame[name] = self.examples[name].to_numpy()[frame["row"]]
        frame["control"] = [sets[place][0] for place in frame["place"]]
        frame["circuit"] = intervention.circuit
        frame["direction"] = intervention.direction
        frame["replacement"] = "none" if intervention.direction == "none" else self.replacement
        return frame.drop(columns=["place", "row"])

    def removed(self, intervention, names):
        """The components that a set removes in a direction."""
        if intervention.direction == "keep":
            return [name for name in self.universe if name not in set(names)]
        return list(names)

    def evaluate(self, sets, batch, base, instead):
        """Results of all sets on one batch of examples, several sets in each run."""
        count, clean = len(batch.rows), base.last.log_softmax(-1)
        names = [removed for _, removed in sets]
        for places, last in interventions.scan(self.model, base, names, instead, self.tokens):
            repeats = len(places)
            targets = batch.targets(repeats)
            result = outcomes(last, clean.repeat(repeats, 1), targets, self.metric, self.accuracy)
            result["place"] = np.repeat(places, count)
            result["row"] = np.tile(batch.rows, repeats)
            yield pd.DataFrame(result)


def outcomes(last, clean, targets, metric, accuracy):
    """Metric, correctness, rank of the answer and KL of each row.

    last:     [row, vocabulary] logits;  clean: [row, vocabulary] log-probabilities
    targets:  answer, distractor and choices of each row, see batching.Batch.targets
    accuracy: top1, preferred or choice, see prompts.tasks.Task
    """
    values = models.metric_values(last, *targets, metric)
    correct, rank = answered(last, *targets, accuracy)
    log_probabilities = last.log_softmax(-1)
    kl = (clean.exp() * (clean - log_probabilities)).sum(1)
    return {
        "metric": values.float().cpu().numpy(),
        "correct": correct.cpu().numpy(),
        "rank": rank.int().cpu().numpy(),
        "kl": kl.clamp_min(0).float().cpu().numpy(),
    }


def answered(last, answer, distractor, choices, accuracy):
    """Whether each row answers correctly, and the rank of its answer; see `outcomes`.

    Judged at the first token in which answer and distractor differ.  A tie counts against the answer.
    """
    chosen = last.gather(1, answer[:, None])
    rank = (last >= chosen).sum(1)
    if accuracy == "top1":
        return rank == 1, rank
    if accuracy == "choice" and choices is not None:
        best = best_of(last, choices.flatten(1)).view(choices.shape).amax(2)
        return best[:, 0] > best[:, 1:].amax(1), rank
    return chosen[:, 0] > best_of(last, distractor.view(len(last), -1)).amax(1), rank


def best_of(last, tokens):
    """Logits of some tokens of each row, [row, token]; minus infinity for -1, which stands for none."""
    found = last.gather(1, tokens.clamp_min(0))
    return found.masked_fill(tokens < 0, -torch.inf)
