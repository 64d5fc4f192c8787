"""What the reuse study found in a few sentences, for the first page and the end of a run."""

from circuit_reuse.data.gather import pick
from circuit_reuse.report.numbers import interval, k_label, listed, number, p_text, span
from circuit_reuse.stats import clusters

# Columns that the sentences use, by table; a table without rows may lack some.
COLUMNS = {
    "summary": "model task method top_k threshold n_components reuse reuse_null effect effect_low effect_high effect_random effect_control difference difference_high accuracy accuracy_circuit n_random p_value q_value q_reuse_other faithfulness faithfulness_control n_examples n_clusters",
    "overlap": "model method first second jaccard jaccard_null q_value jaccard_halves_first jaccard_halves_second",
    "generic": "model task method top_k threshold effect loss loss_change_random loss_guessing loss_change loss_change_low loss_change_high n_texts p_value q_value q_left p_left n_random",
    "specificity": "model method top_k threshold source target component_set circuit_own circuit_other n_components_own n_components_other n_examples n_clusters own own_low own_high other other_low other_high other_random "
    "difference difference_low difference_high q_value",
}


def sentences(found, cfg):
    """Shared circuits against their controls and against those of other tasks, at one K and threshold."""
    table = found["summary"]
    rows = pick(table, method=cfg["method"], top_k=cfg["top_k"], threshold=cfg["threshold"])
    if len(rows):
        yield from against_controls(rows, cfg)
        # What matters more than random components may be what every task needs.
        yield from specificity(found["specificity"], cfg)
        yield from overlap(found["overlap"], cfg)
        yield from generic(found["generic"], cfg)
        yield from shared_and_kept(rows, cfg)
        yield from other_methods(table, found["specificity"], cfg)


def specificity(table, cfg):
    """Does removing a task's own circuit hurt it more than removing another task's?"""
    table = table[table["method"] == cfg["method"]]
    pairs = table[table["component_set"] == "circuit"]
    if not len(pairs):
        return
    tested = pairs[pairs["q_value"].notna()]
    more, less = surely(tested, cfg, "high"), surely(tested, cfg, "low")
    smaller = more[more["n_components_own"] <= more["n_components_other"]]
    open_ = pairs[pairs["q_value"].isna()]
    same = open_["circuit_own"] == open_["circuit_other"]
    few = ~same & clusters.few(open_["n_clusters"], open_["n_examples"])
    left = f" Not tested: {same.sum()} with the same circuit, {few.sum()} of too few clusters of examples, {(~same & ~few).sum()} without a circuit."
    larger = (
        f" In {len(smaller)} of these {len(more)} the own circuit is not the larger one of the two."
        if len(more)
        else ""
    )
    yield (
        f"On the same held-out examples, removing a task's own circuit is shown to hurt more than removing another task's in {len(more)} "
        f"of {len(tested)} tested ordered pairs of tasks (each model's counted), and less in {len(less)} (paired, q <= {cfg['alpha']:g} and intervals without 0, "
        f"over {span(pairs['n_clusters'])} clusters of alike examples, such as templates).{larger}"
        f"{left if len(tested) < len(pairs) else ''}"
    )
    harmed = pairs[pairs["own_high"] < 0]
    harmed = harmed.assign(share=harmed["other"] / harmed["own"])
    if len(harmed):
        yield (
            f"Where removing the own circuit hurts, another task's does at least half as much harm in {(harmed['share'] >= 0.5).sum()} of "
            f"{len(harmed)} pairs."
        )
    near = harmed[(harmed["other_high"] < 0) & harmed["q_value"].notna()]
    if len(near):
        row = near.loc[near["share"].idxmax()]
        own, other = (cfg["titles"].get(row[name], row[name]) for name in ("target", "source"))
        yield (
            f"Most by that share: the circuit of {other} on {own} in {row['model']}: {interval(row, 'other')} against "
            f"{interval(row, 'own')} of its own (random sets of the layers of the first: {number(row['other_random'])})."
        )
    rests = table[(table["component_set"] == "residual") & table["q_value"].notna()]
    if len(rests):
        yield (
            f"Of what two circuits do not share, a task's own part hurts it more than the other's in {len(surely(rests, cfg, 'high'))} of "
            f"{len(rests)} pairs in which both have one, and less in {len(surely(rests, cfg, 'low'))}."
        )


def overlap(table, cfg):
    """Do the circuits of two tasks share more than random sets would, and than two circuits of one task do?"""
    rows = table[(table["method"] == cfg["method"]) & table["jaccard"].notna()]
    if not len(rows):
        return
    more, same = rows[rows["q_value"] <= cfg["alpha"]], rows[rows["jaccard"] == 1]
    halves = rows[["jaccard_halves_first", "jaccard_halves_second"]].stack().dropna()
    within = f"; equally good circuits of halves of one task's examples share {span(halves)}" if len(halves) else ""
    yield (
        f"The circuits of two tasks have Jaccard indices of {span(rows['jaccard'])} ({span(rows['jaccard_null'])} for random sets with as many "
        f"components in each layer; more is shown in {len(more)} of {rows['q_value'].notna().sum()} pairs of different circuits"
        f"{f'; {len(same)} pairs have the same circuit' if len(same) else ''}){within}."
    )


def generic(table, cfg):
    """Is what a task needs what any text needs?"""
    rows = table[(table["method"] == cfg["method"]) & table["q_value"].notna()]
    if not len(rows):
        return
    unknown = rows[rows["loss"] > rows["loss_guessing"]]
    if len(unknown):
        row = unknown.iloc[0]
        yield (
            f"The ordinary text is not modelled by {listed(unknown['model'].drop_duplicates())} (loss {number(row['loss'])} nats per token, where guessing "
            f"gives {number(row['loss_guessing'])}): nothing is said of generic importance there; name texts in generic.texts."
        )
    rows = rows.drop(unknown.index)
    if not len(rows):
        return
    needed = rows[(rows["q_value"] <= cfg["alpha"]) & (rows["loss_change_low"] > 0)]
    fixed = rows[rows["q_left"].notna()]
    # Hurts, and more than random sets at equal loss do: where removing helps, they may help more.
    beyond = fixed[(fixed["q_left"] <= cfg["alpha"]) & (fixed["effect"] < 0)]
    at = rows[rows["p_value"] <= 1 / (1 + rows["n_random"]) + 1e-9]
    least = (
        f" ({len(at)} have the least p that their random circuits allow, q = {at['q_value'].min():.2g})"
        if len(at) and not len(needed)
        else ""
    )
    yield (
        f"Without the circuit the loss of ordinary text ({span(rows['n_texts'])} texts) changes by {span(rows['loss_change'])} nats per token: "
        f"in {len(needed)} of {len(rows)} pairs of model and task it is shown to rise more than without random circuits of the same layers, which would make the "
        f"circuit generic{least}. With the loss of text held fixed, the circuit is shown to hurt its task more than these do "
        f"in {len(beyond)} of {len(fixed)}."
    )


def surely(pairs, cfg, end):
    """Pairs of which the own set hurts more (end: high) or the other one does (low), by test and intervals."""
    sided = (
        (pairs["difference_high"] < 0) & (pairs["own_high"] < 0)
        if end == "high"
        else (pairs["difference_low"] > 0) & (pairs["other_high"] < 0)
    )
    return pairs[(pairs["q_value"] <= cfg["alpha"]) & sided]


def divided(rows, cfg):
    """Rows that were tested against random circuits, those of them shown to hurt more, and those not tested."""
    # Where nothing is shared, or no disjoint control exists, there is nothing to test.
    open_ = rows["q_value"].isna() | rows["difference_high"].isna()
    tested = rows[~open_]
    # Hurts, and more than random circuits do: where removing helps, controls may help more.
    beyond = tested[(tested["q_value"] <= cfg["alpha"]) & (tested["difference_high"] < 0) & (tested["effect_high"] < 0)]
    return tested, beyond, rows[open_]


def other_methods(table, specific, cfg):
    """Do circuits by another method of attribution say the same?"""
    at = pick(table, top_k=cfg["top_k"], threshold=cfg["threshold"])
    own = at[at["method"] == cfg["method"]]
    first, shown = (set(zip(rows["model"], rows["task"], strict=True)) for rows in divided(own, cfg)[:2])
    for method in at["method"].drop_duplicates():
        if method == cfg["method"]:
            continue
        tested, beyond, _ = divided(at[at["method"] == method], cfg)
        mine, also = (set(zip(rows["model"], rows["task"], strict=True)) for rows in (tested, beyond))
        both = mine & first
        pairs = pick(specific, method=method, component_set="circuit")
        pairs = pairs[pairs["q_value"].notna()]
        yield (
            f"With circuits by {method} the same is shown against random circuits in {len(beyond)} of {len(tested)} tested pairs of model and "
            f"task (both methods say the same in {len(both - (shown ^ also))} of {len(both)}), and against other tasks' circuits in "
            f"{len(surely(pairs, cfg, 'high'))} of {len(pairs)}."
        )


def against_controls(rows, cfg):
    """Do shared circuits matter more than random circuits do?"""
    rows = rows.assign(
        pair=[
            f"{cfg['titles'].get(task, task)} in {model}"
            for model, task in zip(rows["model"], rows["task"], strict=True)
        ]
    )
    tested, beyond, untested = divided(rows, cfg)
    yield (
        f"Removing what at least {100 * cfg['threshold']:g} % of the example circuits share ({k_label(cfg['top_k'])}, {cfg['method']}) is shown to hurt more "
        f"than removing random circuits with as many components in each layer (rank, q <= {cfg['alpha']:g}) and disjoint ones of as many "
        f"components (interval over clusters of held-out examples), in {len(beyond)} of {len(tested)} tested pairs of model and task."
    )
    if len(beyond):
        row = beyond.loc[(beyond["effect"] - beyond["effect_random"]).idxmin()]
        yield (
            f"The largest difference from random circuits of the same layers is that of {row['pair']}: without {row['n_components']:.0f} components the metric ({cfg['metric'].replace('_', ' ')}) changes by "
            f"{interval(row, 'effect')}, without random circuits of the same layers by {number(row['effect_random'])} and without disjoint ones from any "
            f"layer by {number(row['effect_control'])} ({p_text('q', row['q_value'])}{floor_of(row)})."
        )
        right = beyond[beyond["accuracy_circuit"] >= beyond["accuracy"] - 1e-9]["pair"]
        yield f"The answers stay as right as before all the same for {listed(right)}." if len(right) else ""
    rest = tested.drop(beyond.index)["pair"]
    yield f"Not shown for {listed(rest)}." if len(rest) else ""
    few = tested[(1 + tested["n_random"]) * cfg["alpha"] < 1 - 1e-9]["pair"]
    yield (
        f"Too few circuits with as many components in each layer exist for a p of {cfg['alpha']:g}: {listed(few)}."
        if len(few)
        else ""
    )
    few = clusters.few(untested["n_clusters"], untested["n_examples"])
    for why, part in (
        ("there are too few clusters of examples", untested[few]),
        ("nothing is shared or no control exists", untested[~few]),
    ):
        yield f"Not tested, as {why}: {listed(part['pair'])}." if len(part) else ""


def floor_of(row):
    """That a p-value is as small as its random circuits allow, as the end of a remark."""
    least = 1 / (1 + row["n_random"])
    return f", p at its least with {row['n_random']:.0f} random circuits" if row["p_value"] <= least + 1e-9 else ""


def shared_and_kept(rows, cfg):
    """What do examples share, and what do their circuits keep?"""
    asked = rows.dropna(subset=["q_reuse_other"])
    shared = asked[asked["q_reuse_other"] <= cfg["alpha"]]
    yield (
        f"As many components as {span(100 * rows['reuse'], ' %')} of an example's circuit are each in at least {100 * cfg['threshold']:g} % of the example "
        f"circuits ({span(100 * rows['reuse_null'], ' %')} by chance)"
        + (
            f"; more than they share with circuits of other tasks is shown in {len(shared)} of {len(asked)} tested pairs."
            if len(asked)
            else "."
        )
    )
    kept = rows["faithfulness"].dropna()
    beside = "" if "mlp" in cfg["kinds"] else " with all MLPs left as they are"
    controls = rows["faithfulness_control"].dropna()
    against = f" (disjoint random circuits {span(100 * controls, ' %')})" if len(controls) else ""
    yield (
        f"Kept alone{beside}, these circuits bring back {span(100 * kept, ' %')} of the way from everything removed to the intact model{against}."
        if len(kept)
        else ""
    )
