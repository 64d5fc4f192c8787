"""The tables of the published head-scaling study, recomputed and checked.

Source: Circuit-Scaling (MIT licence), its tables as released; resources/published/circuit-scaling.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from circuit_reuse.data import csv_tables
from circuit_reuse.stats.circuits import generator
from circuit_reuse.studies.scaling import classes, schemas, trends, validator

# The study's names of the classes, in ours.
NAMES = {"ioi_only": "first_only", "anti_only": "second_only", "shared": "shared", "weak": "weak"}
TAU = 0.05
HEROES_OF = ("gpt2-large", "pythia-160m", "pythia-70m")
ROWS = ["item", "published", "recomputed", "agrees", "why"]


def run(job):
    """published_check.csv: item, published, recomputed, agrees, why."""
    tables = {Path(path).stem: csv_tables.read(path) for path in job.input.tables}
    shapes = csv_tables.read(job.input.shapes).set_index("model").to_dict("index")
    found = check(tables, shapes, job.cfg["draws"], job.cfg["seed"])
    csv_tables.write(job.output.check, found, schemas.CSVS["published_check"])
    agree, differ = ((found["agrees"] == value).sum() for value in (True, False))
    job.log.info("%d items: %d agree, %d do not, the others have nothing to compare", len(found), agree, differ)


def check(tables, shapes, draws, seed):
    """Every published number that its tables let one recompute.

    tables:  {name of the file without .csv: DataFrame}
    shapes:  {model: {"layers", "heads"}}
    returns: a DataFrame with the columns item, published, recomputed, agrees, why
    """
    joint = tables["joint_ioi_anti_repeat_all"]
    rows = [
        *categories(joint, tables["head_category_summary"]),
        *correlations(joint, tables["corr_vs_scale_cross_family"], shapes, draws, seed),
        *heads(joint, tables["joint_ioi_anti_repeat_heads"]),
        *heroes(tables["joint_ioi_anti_repeat_heads"], tables["hero_heads_for_paper"]),
        *strong(joint, shapes),
        *transfer(joint, tables["ioi_transfer_generic"], shapes),
        *divergence(joint, tables["ioi_divergence_pythia410m_to_gpt2medium"], shapes),
        *tracing(tables["hero_head_causal_summary"]),
        *ablation(tables["hero_vs_random_ablation_summary"]),
        *defects(joint, shapes),
    ]
    return pd.DataFrame(rows, columns=ROWS)


def row(item, published, recomputed, agrees, why=""):
    """One line; `agrees` is None where there is nothing to compare."""
    return [item, published, recomputed, agrees, why]


def same(first, second, tolerance=1e-12):
    """Whether two numbers agree."""
    return bool(abs(float(first) - float(second)) <= tolerance)


def category_of(table, tau=TAU):
    """The study's classes by the plain rule, [row], in its names."""
    found = classes.plain(table["delta_ioi"], table["delta_anti"], tau)
    return pd.Series(found, index=table.index).map({ours: theirs for theirs, ours in NAMES.items()})


def categories(joint, summary):
    """Category counts of the nine models at tau 0.05."""
    counted = category_of(joint).groupby(joint["model"]).value_counts().unstack(fill_value=0)
    for line in summary.to_dict("records"):
        theirs = {name: int(line[f"n_{name}"]) for name in NAMES}
        ours = {name: int(counted.loc[line["model"]].get(name, 0)) for name in NAMES}
        yield row(
            f"category counts, {line['model']}",
            as_text(theirs),
            as_text(ours),
            theirs == ours,
            "|delta| >= 0.05 logits; counts rest on imputed zeros, see the last rows",
        )


def as_text(counts):
    """Counts in one cell."""
    return " ".join(f"{name}={value}" for name, value in counts.items())


def correlations(joint, published, shapes, draws, seed):
    """Correlations of the nine models, and what they are on heads that were really measured."""
    for line in published.to_dict("records"):
        mine = joint[joint["model"] == line["model"]]
        first, second = mine["delta_ioi"].to_numpy(), mine["delta_anti"].to_numpy()
        ours = float(trends.pearson(first, second))
        yield row(
            f"correlation of the deltas, {line['model']}",
            line["corr"],
            ours,
            same(ours, line["corr"]),
            "on the table as published, zeros for heads outside a task's top list included",
        )
        there = (first != 0) & (second != 0)
        measured = float(trends.pearson(first[there], second[there])) if there.sum() > 2 else None
        yield row(
            f"correlation on heads measured for both tasks, {line['model']}",
            line["corr"],
            measured,
            None,
            f"{there.sum()} of {len(mine)} rows have two measured values",
        )
        null = imitated_null(first, second, shapes[line["model"]], draws, generator(seed, line["model"], "published"))
        low, high = np.percentile(null, [2.5, 97.5])
        yield row(
            f"mean of the null of the correlation, {line['model']}",
            None,
            float(null.mean()),
            None,
            f"independent Gaussian deltas of all heads, the same two top lists, zeros filled in: "
            f"95 % lie in {low:.2f} to {high:.2f}, and that, not 0, is what chance gives; the published "
            f"one has p = {trends.two_sided(ours, null):.2g} under it",
        )


def imitated_null(first, second, shape, draws, rng):
    """Correlations that the study's selection makes out of independent deltas, [draw].

    As many heads are kept of each task as the table has values that are not zero.
    """
    total = shape["layers"] * shape["heads"]
    kept = [min(total, int((values != 0).sum())) for values in (first, second)]
    drawn = []
    for k in kept:
        values = rng.normal(size=(draws, total))
        drawn.append(np.where(trends.most_negative(values, k), values, 0.0))
    union = (drawn[0] != 0) | (drawn[1] != 0)
    return np.array([trends.pearson(a[u], b[u]) for a, b, u in zip(*drawn, union, strict=True)])


def heads(joint, published):
    """The per-head table: deltas, strength and class of every row."""
    keys = ["family", "model", "layer", "head"]
    both = published.merge(joint, on=keys, suffixes=("", "_joint"), validate="one_to_one")
    gap = max(float((both[name] - both[f"{name}_joint"]).abs().max()) for name in ("delta_ioi", "delta_anti"))
    yield row("per-head deltas, rows", len(published), len(both), len(both) == len(published))
    yield row("per-head deltas, largest difference", 0.0, gap, gap <= 1e-12)
    strength = both["delta_ioi_joint"].abs() + both["delta_anti_joint"].abs()
    gap = float((strength - both["strength"]).abs().max())
    yield row("per-head strength, largest difference", 0.0, gap, gap <= 1e-12)
    agree = category_of(both) == both["category"]
    yield row("per-head classes that agree", len(both), int(agree.sum()), bool(agree.all()))


def heroes(published_heads, published):
    """The 30 hero rows: top three by strength of each class of three models."""
    parts = []
    for model in HEROES_OF:
        for _, part in published_heads[published_heads["model"] == model].groupby("category"):
            parts.append(part.sort_values("strength", ascending=False).head(3))
    ours = pd.concat(parts)
    places = ["model", "category", "layer", "head"]
    theirs = {tuple(line): n for n, line in enumerate(published[places].itertuples(index=False))}
    found = [tuple(line) for line in ours[places].itertuples(index=False)]
    hits = sum(line in theirs for line in found)
    yield row(
        "hero heads",
        len(published),
        hits,
        hits == len(published) == len(found),
        "top three of each class by |delta IOI| + |delta anti|; 3 of them, pythia-70m L10H5, L10H7 "
        "and L11H3, do not exist in that model",
    )


def strong(joint, shapes):
    """What the published figure of strong heads counts."""
    for model, mine in joint.groupby("model", sort=False):
        both = (mine["delta_ioi"].abs() >= TAU) | (mine["delta_anti"].abs() >= TAU)
        inside = ~validator.outside(mine, shapes)
        total = shapes[model]["layers"] * shapes[model]["heads"]
        count = int((both & inside).sum())
        yield row(
            f"strong heads, {model}",
            len(mine),
            count,
            count == len(mine),
            f"the figure counts rows of the table; recomputed: heads that the model has ({total}) with "
            "|delta| >= 0.05 in a task; how many lie below the two top lists is unknown",
        )


def transfer(joint, published, shapes):
    """Transfer by index: who is missing, ranks, and the mean rank that ties leave open."""
    for (base, target), part in published.groupby(["base_model", "tgt_model"], sort=False):
        mine = joint[joint["model"] == target].set_index(["layer", "head"])
        places = list(part[["layer", "head"]].itertuples(index=False, name=None))
        missing = sum(place not in mine.index for place in places)
        theirs = int(part["missing_in_target_index"].astype(bool).sum())
        shape = shapes[target]
        absent = sum(layer >= shape["layers"] or head >= shape["heads"] for layer, head in places)
        name = f"{base} to {target}"
        yield row(
            f"heads missing, {name}",
            theirs,
            missing,
            missing == theirs,
            f"'missing' means outside the target's top lists; {absent} of {len(places)} heads do not exist there",
        )
        effects = mine["delta_ioi"].abs()
        here = part[~part["missing_in_target_index"].astype(bool)]
        # Our own values: theirs differ in the last digit, which would move a rank.
        values = np.array([effects[place] for place in here[["layer", "head"]].itertuples(index=False, name=None)])
        known = here[values > 0]
        ranks = [int((effects > value).sum()) for value in values[values > 0]]
        agree = int((np.array(ranks) == known["tgt_rank"].to_numpy()).sum())
        yield row(
            f"ranks of heads with a delta, {name}",
            len(known),
            agree,
            agree == len(known),
            "rank from 0 among the target's rows by |delta IOI|; zeros tie and have none of their own",
        )
        low, high, middle = rank_range(effects, values)
        mean = float(here["tgt_frac_rank"].mean())
        yield row(
            f"mean fractional rank, {name}",
            mean,
            middle,
            same(mean, middle, 1e-9),
            f"ties among zeros let any value from {low:.3f} to {high:.3f} come out of the same table "
            f"(ours shares ranks); {len(here)} heads, chance is about 0.5",
        )


def rank_range(effects, values):
    """Least, greatest and tie-sharing mean fractional rank of values among effects."""
    total = len(effects)
    ordered = effects.to_numpy()
    shared, low, high = [], [], []
    zeros = 0
    for value in values:
        above, ties = int((ordered > value).sum()), int((ordered == value).sum())
        shared.append(above + (ties + 1) / 2)
        if ties > 1:
            # Heads that tie take different places: the first free ones, or the last.
            low.append(above + 1 + zeros)
            high.append(above + ties - zeros)
            zeros += 1
        else:
            low.append(above + 1)
            high.append(above + 1)
    return tuple(float(np.mean(part)) / total for part in (low, high, shared))


def divergence(joint, published, shapes):
    """The taxonomy of pythia-410m heads in gpt2-medium."""
    target = joint[joint["model"] == "gpt2-medium"]
    labels = dict(zip(zip(target["layer"], target["head"], strict=True), category_of(target), strict=True))
    named = {
        None: "missing_in_target",
        "anti_only": "inverted",
        "weak": "lost",
        "ioi_only": "conserved_ioi_like",
        "shared": "conserved_ioi_like",
    }
    ours = [named[labels.get(place)] for place in published[["layer", "head"]].itertuples(index=False, name=None)]
    hits = int((np.array(ours) == published["divergence_type"].to_numpy()).sum())
    counts = pd.Series(ours).value_counts()
    yield row(
        "divergence labels, pythia-410m to gpt2-medium",
        len(published),
        hits,
        hits == len(published),
        f"{counts.get('missing_in_target', 0)} missing, {counts.get('lost', 0)} lost; both models "
        "have 24 layers of 16 heads, so every missing one is outside a top list, not absent",
    )


def tracing(published):
    """Correlation of strength and traced influence: in no published table."""
    for task in ("ioi", "anti"):
        influence = published[f"mean_{task}_influence"].to_numpy(float)
        found = stats.pearsonr(published["strength"], influence)
        yield row(
            f"correlation of strength and {task} influence",
            None,
            float(found.statistic),
            None,
            f"{len(published)} heroes of three models, p = {found.pvalue:.2g}; two prompts a task",
        )
    sizes = published.assign(size=published["mean_anti_influence"].abs()).groupby("category")["size"].mean()
    order = " > ".join(f"{name} {value:.3f}" for name, value in sizes.sort_values(ascending=False).items())
    yield row(
        "mean |anti influence| by class",
        "anti_only largest",
        order,
        sizes.idxmax() == "anti_only",
        "the claim is the opposite of the table: IOI-only heads move the anti task most",
    )


def ablation(published):
    """Heroes against random heads in gpt2-large: differences from the baseline."""
    base = published[published["set_type"] == "baseline"].iloc[0]
    for line in published[published["set_type"] != "baseline"].to_dict("records"):
        change = [line[f"mean_diff_{task}"] - base[f"mean_diff_{task}"] for task in ("ioi", "anti")]
        yield row(
            f"ablation of {line['k']} {line['set_type']} heads, change of IOI and anti",
            None,
            " ".join(f"{value:.3f}" for value in change),
            None,
            "three random sets, no spread kept, so no test; needs the weights to be run again",
        )
    absent = published[(published["k"] == 8) & (published["set_type"] == "hero")]
    yield row("ablation of 8 heroes", None, len(absent) or None, None, "only three heroes were exported")


def defects(joint, shapes):
    """What the validator finds, beside the numbers that are known of the table."""
    found = validator.validate(joint, shapes)
    for kind, expected in validator.KNOWN_OF_PUBLISHED.items():
        mine = found[found["kind"] == kind]
        count = int(mine["count"].sum()) if kind != "identical" else len(mine)
        yield row(
            f"defects: {validator.KINDS[kind]}",
            expected,
            count,
            count == expected,
            " ".join(mine["touches"].drop_duplicates()),
        )
