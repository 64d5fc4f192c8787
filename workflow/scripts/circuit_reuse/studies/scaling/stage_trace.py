"""Causal tracing: what putting a part from one run into the other does, example by example."""

import time

import numpy as np
import pandas as pd

from circuit_reuse.data import tables
from circuit_reuse.engine import batching, models, parts, progress, shortcuts
from circuit_reuse.studies.scaling import schemas, usable

END, REST = "end", "rest"


def trace(model, table, cfg, heads, tokens, log):
    """The trace table.

    table:   valid held-out examples
    cfg:     metric, parts (of heads), by_position (those traced at single positions too), least
             (share of the gap below which a part is not looked at more closely)
    heads:   [(layer, head)] to trace
    returns: a DataFrame, one row an example and patch; influence is 0 where both runs are the
             same up to and at the positions, which needs no run
    """
    models.check_ready(model)
    began, found = time.monotonic(), []
    batches = list(batching.batches(table, tokens, model.device))
    # Where nothing is passed over, all is run at once: every step captures both runs again.
    stages = STAGES if cfg["least"] > 0 else (every_patch,)
    for number, stage in enumerate(stages):
        shares = largest(found)
        rows = []
        for batch in progress.bar(batches, desc=f"tracing {number + 1}/{len(stages)}", unit="batch"):
            where, live = roles_of(table.iloc[batch.rows], batch)
            patches = [
                patch
                for patch in stage(model.space, cfg, heads, where)
                if cfg["least"] == 0 or matters(patch, shares, cfg["least"])
            ]
            if patches:
                numbers = table["example"].to_numpy()[batch.rows]
                rows += traced(model, batch, patches, numbers, where, live, cfg, tokens)
        found += [as_table(rows)] if rows else []
    result = pd.concat(found, ignore_index=True)
    log.info("%d rows in %.1f s", len(result), time.monotonic() - began)
    order = ["direction", "part", "layer", "head", "role", "example"]
    return result.sort_values(order, ignore_index=True)


def traced(model, batch, patches, numbers, where, live, cfg, tokens):
    """Patches of a batch in both directions: [(direction, patch, examples, influence, gap)].

    numbers: [row], example of each row;  where, live: as from `roles_of`
    """
    wanted, rows = sorted({patch.part for patch in patches}), []
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
            there = slice(None) if patch.role is None else where[patch.role].any(1).cpu().numpy()
            value = found.get(patch, 0 * gap)
            rows.append((direction, patch, numbers[there], value[there], gap[there]))
    return rows


def layers_whole(space, cfg, heads, where):
    """First: the parts of every layer, at all positions at once."""
    return [parts.Patch(part, layer) for part in parts.OF_LAYERS for layer in range(space.layers)]


def layers_by_role_and_heads(space, cfg, heads, where):
    """Second: parts of layers at each role, and parts of heads at all positions."""
    found = [
        parts.Patch(part, layer, None, role)
        for part in parts.OF_LAYERS
        for layer in range(space.layers)
        for role in where
    ]
    return found + [parts.Patch(part, *head) for part in cfg["parts"] for head in heads]


def heads_by_role(space, cfg, heads, where):
    """Last: parts of heads at each role."""
    return [parts.Patch(part, *head, role) for role in where for part in cfg["by_position"] for head in heads]


STAGES = (layers_whole, layers_by_role_and_heads, heads_by_role)


def every_patch(*of):
    """All of them."""
    return [patch for stage in STAGES for patch in stage(*of)]


def coarser(patch):
    """The patch whose influence decides whether this one is run: (part, layer, head); None for none."""
    if patch.role is not None:
        return patch.part, patch.layer, patch.head
    return None if patch.head is None else ("attention", patch.layer, None)


def matters(patch, shares, least):
    """Whether a patch is looked at: a whole part of a layer always, others by what they are a part of.

    shares: as from `largest`; what is not in it was passed over itself
    """
    key = coarser(patch)
    return key is None or (key in shares and not shares[key] < least)


def largest(tables):
    """{(part, layer, head): largest share of an example's gap, in either direction} of whole patches."""
    if not tables:
        return {}
    table = pd.concat(tables, ignore_index=True)
    table = table[table["role"].isna()]
    sizes = (
        (table["influence"] / table["gap"]).abs().groupby([table["part"], table["layer"], table["head"]], dropna=False)
    )
    return {
        (part, int(layer), None if pd.isna(head) else int(head)): share
        for (part, layer, head), share in sizes.max().items()
    }


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


def trace_task(job):
    """Trace parts of heads and layers on held-out examples."""
    cfg, model = job.cfg, models.of_job(job)
    table = usable.held_out(usable.usable(job.input.examples, cfg["min_valid"], job.wildcards.task), cfg["examples"])
    heads = [(layer, head) for layer in range(model.space.layers) for head in range(model.space.heads)]
    if cfg["heads"] == "heroes":
        chosen = tables.read(job.input.heroes, schemas.HEROES)
        chosen = chosen[~chosen["category"].isin(["weak", "uncertain"])]
        heads = sorted(set(zip(chosen["layer"].map(int), chosen["head"].map(int), strict=True)))
    found = trace(model, table, cfg, heads, job.compute["batch_tokens"], job.log)
    found["cluster"] = found["example"].map(table.set_index("example")["cluster"].astype(str))
    job.write(job.output.trace, schemas.TRACE, found)
