"""What each study found, in a few sentences drawn from its tables: for the start page and the end of a run."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from circuit_reuse import fingerprint, left_out

MOST = 4


def tell(input, output, params, wildcards, threads, log):
    """Write the sentences of one study; see tell_findings.py."""
    cfg = params.cfg
    pairs, left = cfg["pairs"], skipped(input.all_results, cfg)
    left.to_csv(output.skipped, index=False)
    sentences = told({Path(path).stem: read(path) for path in input.all_tables}, cfg)
    sentences = [
        *(sentences if len(left) < len(pairs) else []),
        *(left_sentence(row) for row in left.to_dict("records")),
    ]
    models = {Path(path).parent.name: json.loads(Path(path).read_text()) for path in input.about}
    about = {
        "study": cfg["study"],
        "sentences": sentences,
        "results": len(pairs),
        "left_out": len(left),
        "models": {
            name: {key: each[key] for key in ("fingerprint", "parameters", "layers", "heads")}
            | {"rounding": fingerprint.rounding(each)}
            for name, each in models.items()
        },
    }
    Path(output.overview).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    log.info("%d sentences", len(sentences))


def skipped(paths, cfg):
    """What was left out of a study: study, model, task, usable, needed, reason.

    paths: the results of each pair of a model and a task;  cfg: pairs, in the same order
    """
    rows = []
    for path, (model, task) in zip(paths, cfg["pairs"], strict=True):
        problem = left_out.record_of(path)
        if problem:
            rows.append(
                {
                    "study": cfg["study"],
                    "model": model,
                    "task": task,
                    "usable": problem.usable,
                    "needed": problem.needed,
                    "reason": str(problem),
                }
            )
    columns = ["study", "model", "task", "usable", "needed", "reason"]
    return pd.DataFrame(rows, columns=columns).astype({"usable": "Int64", "needed": "Int64"})


def left_sentence(row):
    """What is said of a task that was left out."""
    return f"{row['task']} left out for {row['model']}: {row['reason'].removeprefix(row['task'] + ': ')}."


# Columns that sentences use; a table without rows may lack some.
COLUMNS = {
    "summary": "model task method top_k threshold circuit_size reuse reuse_null effect effect_low effect_high control_effect "
    "difference difference_high q_value q_reuse_other faithfulness",
    "models": "model replacement correlation corrected q_correlation q_within_layers",
    "head_category_summary": "n_shared n_uncertain",
    "hero_vs_random": "q_rank difference",
    "fits": "family measure replacement slope q_value",
    "circuits": "model task strategy threshold order draw heads mlps score low high",
    "overlap": "first second kind shared expected q_layers",
    "cross_task": "circuit kind data q_rank",
    "readings": "model task in_words",
    "tests": "model task set circuit control difference low high q_circuit keep keep_random q_keep",
    "lengths": "model set recipe condition components significant ratio given",
    "replicate": "pair kind statistic value passes",
}


def read(path):
    """A CSV with all the columns that sentences use, whether it has rows or not."""
    try:
        frame = pd.read_csv(path)
    except pd.errors.EmptyDataError:
        frame = pd.DataFrame()
    missing = [name for name in COLUMNS[Path(path).stem].split() if name not in frame]
    return frame.assign(**dict.fromkeys(missing, np.nan))


def told(found, cfg):
    """The sentences of a study.

    found: {table: DataFrame};  cfg: study, alpha and what overview_cfg in rules/studies.smk names
    """
    sentences = [text for text in SENTENCES[cfg["study"]](found, cfg) if text]
    return sentences or ["Its tables have no rows that could be told of: see the logs for what was left out."]


def number(value):
    """A number with three significant digits, a dash where there is none."""
    if value is None or not np.isfinite(value):
        return "-"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def interval(row, name):
    """A value with its 95 % interval."""
    return f"{number(row[name])} [{number(row[f'{name}_low'])}, {number(row[f'{name}_high'])}]"


def p_text(name, value):
    """`q = 0.013`, or `q < 0.001`."""
    if not np.isfinite(value):
        return f"no {name}"
    return f"{name} = {value:.2g}" if value >= 0.001 else f"{name} < 0.001"


def span(values, unit=""):
    """`3 to 7 %` of some values."""
    values = [value for value in values if np.isfinite(value)]
    if not values:
        return "-"
    low, high = number(min(values)), number(max(values))
    return f"{low}{unit}" if low == high else f"{low} to {high}{unit}"


def listed(names):
    """Names in a row, the first few of many."""
    names = list(names)
    more = f" and {len(names) - MOST} more" if len(names) > MOST else ""
    return ", ".join(names[:MOST]) + more


def more(rows):
    """How many rows are not told of."""
    return f"{len(rows) - MOST} more are in the tables." if len(rows) > MOST else ""


def reuse(found, cfg):
    """Shared circuits against their controls, at the K and threshold of the cross-task matrix."""
    table = found["summary"]
    rows = table[
        (table["method"] == cfg["method"]) & (table["top_k"] == cfg["top_k"]) & (table["threshold"] == cfg["threshold"])
    ]
    rows = rows.assign(
        pair=[
            f"{cfg['titles'].get(task, task)} in {model}"
            for model, task in zip(rows["model"], rows["task"], strict=True)
        ]
    )
    if not len(rows):
        return
    # Where nothing is shared, or no disjoint control exists, there is nothing to test.
    open_ = rows["q_value"].isna() | rows["difference_high"].isna()
    tested, untested = rows[~open_], rows[open_]
    beyond = tested[(tested["q_value"] <= cfg["alpha"]) & (tested["difference_high"] < 0)]
    k = f"K = {cfg['top_k']:g}" if cfg["top_k"] >= 1 else f"K = {100 * cfg['top_k']:g} %"
    yield (
        f"Removing what at least {cfg['threshold']:g} % of the example circuits share ({k}, {cfg['method']}) is shown to hurt more "
        f"than removing random circuits of as many components, overlapping (rank, q <= {cfg['alpha']:g}) and disjoint (interval over "
        f"held-out examples), in {len(beyond)} of {len(tested)} tested pairs of model and task."
    )
    if len(beyond):
        row = beyond.loc[beyond["difference"].idxmin()]
        yield (
            f"Most for {row['pair']}: without {row['circuit_size']:.0f} components the metric ({cfg['metric'].replace('_', ' ')}) changes by "
            f"{interval(row, 'effect')}, without as many others by {number(row['control_effect'])} ({p_text('q', row['q_value'])})."
        )
    rest = tested.drop(beyond.index)["pair"]
    yield f"Not shown for {listed(rest)}." if len(rest) else ""
    yield f"Not tested, as nothing is shared or no control exists: {listed(untested['pair'])}." if len(untested) else ""
    asked = rows.dropna(subset=["q_reuse_other"])
    shared = asked[asked["q_reuse_other"] <= cfg["alpha"]]
    yield (
        f"Example circuits share {span(rows['reuse'], ' %')} of their components ({span(rows['reuse_null'], ' %')} by chance)"
        + (
            f"; more than they share with circuits of other tasks is shown in {len(shared)} of {len(asked)} tested pairs."
            if len(asked)
            else "."
        )
    )
    kept = rows["faithfulness"].dropna()
    yield (f"Kept alone, these circuits keep {span(100 * kept, ' %')} of the metric." if len(kept) else "")


def scaling(found, cfg):
    """Heads of both tasks, and what changes with size."""
    models = found["models"][found["models"]["replacement"] == cfg["replacement"]]
    classes = found["head_category_summary"].dropna(subset=["n_shared", "n_uncertain"])
    counts = [name for name in classes if name.startswith("n_")]
    tasks = " and ".join(cfg["titles"].values())
    both = classes["n_shared"].sum()
    if not len(models):
        return
    yield (
        f"Of {int(classes[counts].to_numpy().sum())} heads in {len(classes)} models, {int(both)} are strong in both tasks ({tasks}), "
        f"{int(classes['n_uncertain'].sum())} are uncertain."
    )
    joined = models[models["q_correlation"] <= cfg["alpha"]]
    inside = models[models["q_within_layers"] <= cfg["alpha"]]
    up, down = (int((joined["correlation"] * sign > 0).sum()) for sign in (1, -1))
    yield (
        f"Effects of heads on the two tasks go together in {up} of {len(models)} models"
        + (f" and against each other in {down}" if down else "")
        + f" (q <= {cfg['alpha']:g}; correlation corrected for noise {span(models['corrected'])}); within layers a correlation is shown in {len(inside)}."
    )
    heroes = found["hero_vs_random"]
    tested = heroes.dropna(subset=["q_rank"])
    if len(tested):
        beyond = tested[(tested["q_rank"] <= cfg["alpha"]) & (tested["difference"] < 0)]
        yield f"Removing hero heads costs more than removing as many random heads in {len(beyond)} of {len(tested)} comparisons that were tested."
    fits = found["fits"].dropna(subset=["q_value", "slope"])
    if not len(fits):
        yield "There are too few sizes of a family to ask what changes with size."
        return
    # As in the page of findings: a trend that hangs on how heads are replaced is none.
    grown = [
        f"{measure} ({family})"
        for (family, measure), part in fits.groupby(["family", "measure"], sort=False)
        if (part["q_value"] <= cfg["alpha"]).all() and np.sign(part["slope"]).nunique() == 1
    ]
    yield (
        f"With size change, under every replacement: {listed(grown)}."
        if grown
        else "No measure is shown to change with the size of the model under every replacement."
    )


def sequences(found, cfg):
    """Pruned circuits, and whether they hold for other data and other tasks."""
    table = found["circuits"]
    chosen = table[
        (table["threshold"] == cfg["threshold"])
        & (table["strategy"] == cfg["strategy"])
        & table["order"].isna()
        & table["draw"].isna()
        & table["task"].isin(cfg["tasks"])
    ].dropna(subset=["heads", "mlps", "score"])
    several = chosen["model"].nunique() > 1
    for row in chosen.head(MOST).to_dict("records"):
        title = cfg["titles"].get(row["task"], row["task"])
        yield (
            f"{title}{' in ' + row['model'] if several else ''}: {row['heads']:.0f} heads and {row['mlps']:.0f} MLPs keep {number(row['score'])} % "
            f"[{number(row['low'])}, {number(row['high'])}] of the metric on held-out examples."
        )
    yield more(chosen)
    shared = found["overlap"]
    pairs = shared[(shared["kind"] == "all") & shared["first"].isin(cfg["tasks"]) & shared["second"].isin(cfg["tasks"])]
    beyond = pairs[pairs["q_layers"] <= cfg["alpha"]]
    if len(pairs):
        yield (
            f"Circuits of different tasks share {span(pairs['shared'])} components ({span(pairs['expected'])} by chance); more than "
            f"circuits with as many nodes in each layer would in {len(beyond)} of {len(pairs)} pairs."
        )
    crossed = found["cross_task"]
    crossed = crossed[
        (crossed["kind"] == "task") & crossed["circuit"].isin(cfg["tasks"]) & (crossed["circuit"] != crossed["data"])
    ]
    crossed = crossed.dropna(subset=["q_rank"])
    parts = []
    for name, tasks in (("of another sequence task", cfg["tasks"]), ("of a task that is no sequence", cfg["foreign"])):
        mine = crossed[crossed["data"].isin(tasks)]
        if len(mine):
            parts.append(f"{name} in {int((mine['q_rank'] <= cfg['alpha']).sum())} of {len(mine)} cases")
    yield f"A circuit keeps more than random circuits of its make on the prompts {', '.join(parts)}." if parts else ""


def weights(found, cfg):
    """The reading of each circuit, with the difference that it rests on."""
    tests = found["tests"]
    for row in found["readings"].head(MOST).to_dict("records"):
        mine = tests[(tests["model"] == row["model"]) & (tests["task"] == row["task"])]
        size = mine[mine["control"] == cfg["matched"]].iloc[0]
        yield (
            f"{cfg['titles'].get(row['task'], row['task'])} in {row['model']}: {row['in_words']}. Removing the circuit's weights costs "
            f"{number(size['difference'])} [{number(size['low'])}, {number(size['high'])}] nats more than the matched control "
            f"(95 % over prompts); so much more than the weights of random masks cost beyond theirs: {p_text('q', size['q_circuit'])}."
        )
    yield more(found["readings"])


def contrast(found, cfg):
    """What differs, whether length alone would, and whether published circuits come out."""
    lengths = found["lengths"].dropna(subset=["significant", "components"])
    real = lengths[lengths["condition"] == "real"]
    for row in real.head(MOST).to_dict("records"):
        yield (
            f"{cfg['titles'].get(row['set'], row['set'])} in {row['model']}, recipe {row['recipe']}: {row['significant']:.0f} of {row['components']:.0f} components differ."
        )
    alone = lengths[lengths["condition"].isin(["shortened", "beheaded"]) & ~lengths["given"].astype(bool)]
    fooled = alone[(alone["significant"] > 0) & (alone["ratio"] >= 1)]
    if len(alone):
        yield (
            f"Between texts and themselves without an end or a beginning components differ at least as much in {len(fooled)} of {len(alone)} comparisons: "
            f"{listed(f'{row.recipe}, {row.condition}' for row in fooled.itertuples()) if len(fooled) else 'none'}."
        )
    tests = found["tests"]
    # Two rules may choose the same circuit.
    kept = tests.dropna(subset=["q_keep"]).drop_duplicates(["model", "set", "circuit"])
    if len(kept):
        good = kept[(kept["q_keep"] <= cfg["alpha"]) & (kept["keep"] > kept["keep_random"])]
        yield (
            f"Kept alone, {len(good)} of {len(kept)} different circuits under the budget do more of the task than random circuits of their make "
            f"(they keep {span(100 * kept['keep'], ' %')})."
        )
    pairs = found["replicate"]
    for name, rows in pairs[pairs["kind"] == "given"].groupby("pair", sort=False):
        value = rows.set_index("statistic")["value"]
        judged = rows["passes"].dropna().astype(bool)
        yield (
            f"Comparison {name}: {value['shared']:.0f} of {value['components_first']:.0f} and {value['components_second']:.0f} components are shared "
            f"(Jaccard index {number(value['jaccard'])}, {number(value['jaccard_chance'])} by chance); {int(judged.sum())} of {len(judged)} criteria are met."
        )


SENTENCES = {"reuse": reuse, "scaling": scaling, "sequences": sequences, "weights": weights, "contrast": contrast}
