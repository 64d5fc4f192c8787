"""Scores of components, of edges, and of components at positions, for a notebook."""

import logging

import pandas as pd

from circuit_reuse.api.boundary import METRIC, PROMPTS, TOKENS, between, names_of, one_of, prompts_of, table, used_of
from circuit_reuse.data import components, metrics
from circuit_reuse.engine import edge_circuits, edge_means, fine_scores, places
from circuit_reuse.methods.registry import METHODS
from circuit_reuse.stats import sharing, testing
from circuit_reuse.studies.common import stage_scores
from circuit_reuse.studies.reuse import stage_curves

LOG = logging.getLogger(__name__)


def score(model, examples, method="eap-ig", metric=METRIC, steps=5):
    """How much each component matters on each example.

    method:  a name in methods.registry.METHODS, such as eap-ig, gim, or patching (exact, and slower)
    steps:   of ig, eap-ig and eap-ig-absolute
    returns: a DataFrame [example, component], in units of the metric: the (estimated) change of the metric
             if the component alone were as on the corrupt prompt, so a component that helps has a score below 0 (atp-star,
             eap-absolute and eap-ig-absolute are sizes, never below 0)
    raises:  ValueError for an unknown name, or if no example can be used
    """
    one_of("method", method, METHODS)
    one_of("metric", metric, metrics.UNITS)
    steps = between("steps", steps, 1, 1000, whole=True)
    used = used_of(examples, model=model)
    cfg = {"metric": metric, "steps": steps}
    found = stage_scores.scores(model, used, method, cfg, TOKENS, LOG)
    values, numbers, names = sharing.matrix(found)
    found = pd.DataFrame(values, index=pd.Index(numbers, name="example"), columns=names)
    found.attrs[PROMPTS] = prompts_of(used)
    return found


def edges(model, examples, metric=METRIC, steps=5, among=None):
    """How much each edge matters: EAP-IG from every component to every one that reads what it writes (steps=0: EAP).

    among:   a circuit: only edges among its components, from the input and to the logits.  MLPs count only if they are named
    returns: a DataFrame of the train split, strongest first: writer, reader (a5.h1.q, .k or .v, m3 or logits), score (mean over the
             examples, signed), its standard error, and score_absolute
    raises:  ValueError for a model whose stream is no sum of what components write
    """
    one_of("metric", metric, metrics.UNITS)
    steps = between("steps", steps, 0, 1000, whole=True)
    names = None if among is None else {*names_of(among, model.space), "input", "logits"}
    found = edge_means.mean_edges(model, used_of(examples, "train", model), metric, steps, TOKENS)
    if names:
        read = found["reader"].map(lambda reader: bool(names & set(components.components_of(reader))))
        found = found[found["writer"].isin(names) & read]
    return found.sort_values("score", key=abs, ascending=False, ignore_index=True)


def edge_circuit(model, examples, kept, metric=METRIC):
    """What a circuit of edges keeps on held-out examples: every edge that is not kept sees its writer's corrupt value.

    kept:    a DataFrame with the columns writer and reader, such as the first rows of `edges`
    returns: faithfulness: 0 with no edge kept, 1 the intact model; NaN where the intact model is no better.  A circuit of heads alone keeps next to nothing, as all edges of MLPs
             are cut
    raises:  ValueError for a frame without these columns, or an edge that the model does not have or that is listed twice
    """
    one_of("metric", metric, metrics.UNITS)
    used = used_of(examples, "held_out", model)
    check_edges(kept, model.space)
    runs = stage_curves.Runs(model, used, metric, TOKENS)
    mask = edge_circuits.mask_of(model, kept)
    found = runs.edges([("kept", None, 0, mask[edge_circuits.exist(model)])])[0]
    floor, full = runs.corrupt.to_numpy(), runs.clean.to_numpy()
    return float(testing.faithfulness_of(found, floor, full, axis=0)) if testing.has_gap(floor, full) else float("nan")


def check_edges(kept, space):
    """Check a table of edges; raises ValueError."""
    table("kept", kept, ("writer", "reader"))
    for name, known in (("writer", space.names), ("reader", places.reader_names(space))):
        for value in kept[name].unique():
            one_of(name, value, known)
    twice = kept[kept.duplicated(["writer", "reader"])]
    if len(twice):
        writer, reader = twice[["writer", "reader"]].iloc[0]
        raise ValueError(f"kept has the edge from {writer} to {reader} twice; each edge may be listed once")


def positions(model, examples, metric=METRIC, steps=5):
    """How much each component matters at each named word, at the end, and at the rest, by integrated gradients.

    returns: a DataFrame [example, (component, role)] of all used examples; roles are those of the task's prompts
    """
    one_of("metric", metric, metrics.UNITS)
    steps = between("steps", steps, 1, 1000, whole=True)
    used = used_of(examples, model=model)
    values, names = fine_scores.UnitScores(model, used, metric, steps, TOKENS).positions()
    columns = pd.MultiIndex.from_tuples(names, names=["component", "role"])
    return pd.DataFrame(values, index=pd.Index(used["example"], name="example"), columns=columns)
