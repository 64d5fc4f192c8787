"""Causal tracing: what putting a part from one run into the other does, example by example."""

import time

import numpy as np
import pandas as pd

from circuit_reuse import batching, models, parts, progress, shortcuts, tables
from circuit_reuse.scaling import schemas, stages

END, REST = "end", "rest"


def trace(model, table, cfg, heads, tokens, log):
    """The trace table.

    table:   valid held-out examples
    cfg:     metric, parts (of heads), by_position (those traced at single positions too)
    heads:   [(layer, head)] to trace
    returns: a DataFrame, one row an example and patch; influence is 0 where both runs are the
             same up to and at the positions, which needs no run
    """
    models.check_ready(model)
    began, rows = time.monotonic(), []
    wanted = [*cfg["parts"], *parts.OF_LAYERS]
    for batch in progress.bar(
        list(batching.batches(table, tokens, model.device)), desc="tracing", unit="batch"
    ):
        numbers = table["example"].to_numpy()[batch.rows]
        where, live = roles_of(table.iloc[batch.rows], batch)
        patches = all_patches(model.space, cfg, heads, where)
        # Before the first difference there is nothing to trace, so it is run once.
        short = batch.shortened(model) if whole_values(model, wanted) else batch
        begin = batch.clean.shape[1] - short.clean.shape[1]
        after = {role: at[:, begin:] for role, at in where.items()}
        clean = parts.capture(model, short.clean, wanted, short.prefix)
        corrupt = parts.capture(model, short.corrupt, wanted, short.prefix)
        ends = [parts.metric(base.last, batch, 1, cfg["metric"])[0] for base, _ in (clean, corrupt)]
        gap = (ends[0] - ends[1]).cpu().numpy()
        run = [[patch] for patch in patches if patch.role is None or live[patch.role]]
        for direction, (base, _), (_, source), before in (
            ("restore", corrupt, clean, ends[1]),
            ("corrupt", clean, corrupt, ends[0]),
        ):
            found = {}
            for places, last in parts.scan(model, base, run, source, after, tokens):
                values = parts.metric(last, batch, len(places), cfg["metric"]) - before
                for place, value in zip(places, values.cpu().numpy(), strict=True):
                    found[run[place][0]] = value
            for patch in patches:
                there = slice(None) if patch.role is None else where[patch.role].any(1).cpu().numpy()  # fmt: skip
                value = found.get(patch, 0 * gap)
                rows.append((direction, patch, numbers[there], value[there], gap[there]))
    result = as_table(rows)
    log.info("%d rows in %.1f s", len(result), time.monotonic() - began)
    order = ["direction", "part", "layer", "head", "role", "example"]
    return result.sort_values(order, ignore_index=True)


def whole_values(model, wanted):
    """Whether a pattern can be put in without the values of what came before (parts.by_values)."""
    return "pattern" not in wanted or shortcuts.able(model, "pattern")


def as_table(rows):
    """A DataFrame from (direction, patch, examples, influence, gap); one frame, since many are slow."""
    counts = [len(numbers) for _, _, numbers, _, _ in rows]

    def each(values):
        return pd.Series(values, dtype=object).repeat(counts).to_numpy()

    return pd.DataFrame(
        {
            "direction": each([direction for direction, *_ in rows]),
            "part": each([patch.part for _, patch, *_ in rows]),
            "layer": np.repeat([patch.layer for _, patch, *_ in rows], counts),
            "head": pd.array(each([patch.head for _, patch, *_ in rows]), dtype="Int32"),
            "role": each([patch.role for _, patch, *_ in rows]),
            "example": np.concatenate([numbers for _, _, numbers, _, _ in rows]),
            "influence": np.concatenate([value for *_, value, _ in rows]),
            "gap": np.concatenate([gap for *_, gap in rows]),
        }
    )


def roles_of(examples, batch):
    """Positions of each role in a batch, and whether anything can happen there.

    returns: {role: [example, position] bool}, {role: bool}; `end` is the last position, `rest`
             all that have no role.  Before the first position in which the runs differ they are
             the same, so what is put in there changes nothing.
    """
    count, positions = batch.clean.shape
    where = {}
    left = batch.clean.new_ones(count, positions).bool()

    def mark(role, row, position):
        if role not in where:
            where[role] = batch.clean.new_zeros(count, positions).bool()
        where[role][row, position] = True
        left[row, position] = False

    for row, roles in enumerate(examples["roles"]):
        mark(END, row, positions - 1)
        for role in roles:
            if role["position"] < positions - 1:
                mark(role["role"], row, role["position"])
    where[REST] = left
    begun = (batch.clean != batch.corrupt).cumsum(1) > 0
    return where, {role: bool((at & begun).any()) for role, at in where.items()}


def all_patches(space, cfg, heads, where):
    """Every patch: parts of heads and of layers, at all positions and at each role."""
    found = [parts.Patch(part, *head) for part in cfg["parts"] for head in heads]
    for role in where:
        found += [
            parts.Patch(part, layer, head, role)
            for part in cfg["by_position"]
            for layer, head in heads
        ]
    for part in parts.OF_LAYERS:
        for layer in range(space.layers):
            found += [parts.Patch(part, layer, None, role) for role in (None, *where)]
    return found


def trace_task(input, output, params, wildcards, threads, log):
    """Trace parts of heads and layers on held-out examples; see trace_heads.py."""
    cfg, model = params.cfg, models.of_job(input, params, threads)
    table = stages.held_out(
        stages.usable(input.examples, cfg["min_valid"], wildcards.task), cfg["examples"]
    )
    heads = [(layer, head) for layer in range(model.space.layers) for head in range(model.space.heads)]  # fmt: skip
    if cfg["heads"] == "heroes":
        chosen = tables.read(input.heroes, schemas.HEROES)
        chosen = chosen[~chosen["category"].isin(["weak", "uncertain"])]
        heads = sorted(set(zip(chosen["layer"].map(int), chosen["head"].map(int), strict=True)))
    found = trace(model, table, cfg, heads, params.compute["batch_tokens"], log)
    stages.write(output.trace, schemas.TRACE, found, cfg, input)
