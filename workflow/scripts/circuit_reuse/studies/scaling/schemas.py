"""The Parquet tables of the scaling study.  `first` and `second` are its two tasks, in order."""

import pyarrow as pa

from circuit_reuse.data.csv_tables import TASK, by_task, columns
from circuit_reuse.data.tables import CLUSTER, COMPONENT, EXAMPLE, N_CLUSTERS, NAMES, bounds, column, optional, table

SPLIT = column(pa.string(), "train (heroes are chosen) or held_out (everything reported)")
REPLACEMENT = column(pa.string(), "zero, mean, corrupt or resample")
LAYER = column(pa.int32(), "layer, from 0")
HEAD = column(pa.int32(), "head, from 0")
CATEGORY = "first_only, second_only, shared, weak or uncertain"

SCAN = table(
    example=EXAMPLE,
    cluster=CLUSTER,
    split=SPLIT,
    replacement=REPLACEMENT,
    component=COMPONENT,
    metric=column(pa.float32(), "metric with the head replaced, logits or nats"),
    delta=column(pa.float32(), "the same less the metric of the intact model: negative where it helps"),
    correct=column(pa.bool_(), "whether the answer is correct with the head replaced"),
    base=column(pa.float32(), "metric of the intact model"),
    base_correct=column(pa.bool_(), "whether the intact model answers correctly"),
    output_norm=column(pa.float32(), "norm of what the head writes into the stream, mean over positions"),
)
TRACE = table(
    example=EXAMPLE,
    cluster=CLUSTER,
    direction=column(pa.string(), "restore (clean into the corrupt run) or corrupt (corrupt into the clean run)"),
    part=column(pa.string(), "z, q, k, v, pattern of a head; attention, mlp or stream of a layer"),
    layer=LAYER,
    head=optional(pa.int32(), "head; null for parts of layers"),
    role=optional(pa.string(), "positions at which it is put in; null for all"),
    influence=column(pa.float32(), "change in the metric of the run, logits or nats"),
    gap=column(pa.float32(), "clean less corrupt metric of the example, same units"),
)


def both(kind, name, text, end=""):
    """Two columns, one a task, null where a task could not be measured; end: _low and the like."""
    return {f"{name}_{side}{end}": optional(kind, f"{text}, {side} task") for side in SIDES}


SIDES = ("first", "second")
HEADS = table(
    split=SPLIT,
    replacement=REPLACEMENT,
    component=COMPONENT,
    layer=LAYER,
    head=HEAD,
    depth=column(pa.float64(), "layer / number of layers"),
    **both(pa.int32(), "n_examples", "examples"),
    **both(
        pa.int32(), "n_clusters", "clusters of these, the units of intervals and tests (examples on the train split)"
    ),
    **both(pa.float64(), "base", "mean metric of the intact model, logits or nats"),
    **both(pa.float64(), "base", "its standard error", "_standard_error"),
    **both(pa.float64(), "base", "lower end of its 95 per cent t interval", "_low"),
    **both(pa.float64(), "base", "upper end", "_high"),
    **both(pa.float64(), "delta", "mean change when the head is replaced"),
    **both(pa.float64(), "delta", "its standard error over clusters", "_standard_error"),
    **both(pa.float64(), "delta", "lower end of its 95 per cent t interval", "_low"),
    **both(pa.float64(), "delta", "upper end", "_high"),
    **both(pa.float64(), "delta_skewness", "skewness of the changes over clusters"),
    **both(pa.float64(), "effect", "delta in the units of tau"),
    **both(pa.float64(), "p_value", "two-sided test that the mean delta is 0, the larger of Student's and Hall's"),
    **both(pa.float64(), "q_value", "Benjamini-Hochberg over the heads of the model and both tasks"),
    **both(pa.float64(), "p_absent", "that |effect| is at least tau, two one-sided tests, doubled"),
    **both(pa.float64(), "q_absent", "Benjamini-Hochberg over the heads of the model and both tasks"),
    **both(pa.string(), "state", "strong, absent or unclear"),
    **both(pa.float64(), "output_norm", "mean norm of what the head writes"),
    strength=optional(pa.float64(), "|effect| on the first task + |effect| on the second"),
    category=column(pa.string(), f"{CATEGORY}, by effect and false discovery rate"),
    category_effect=column(pa.string(), f"{CATEGORY}, by the plain rule |effect| >= tau"),
    suppressing=column(
        pa.string(), "tasks that the head works against (strong, delta above 0): none, first, second, both"
    ),
)
MODEL_TRENDS = table(
    replacement=REPLACEMENT,
    n_heads=column(pa.int32(), "heads of the model"),
    able=column(pa.bool_(), "whether the base metric of both tasks is above 0 (interval)"),
    **both(pa.float64(), "base", "mean metric of the intact model"),
    **both(pa.float64(), "base", "lower end of its interval", "_low"),
    **both(pa.float64(), "base", "upper end", "_high"),
    **both(pa.float64(), "accuracy", "share that the intact model answers correctly"),
    **both(pa.float64(), "reliability", "correlation over heads of train and held-out deltas"),
    correlation=optional(pa.float64(), "Pearson correlation of the two deltas over all heads"),
    corrected=optional(pa.float64(), "the same, corrected for attenuation by the noise of the deltas"),
    **bounds("corrected", "bound of that, examples drawn again"),
    spearman=optional(pa.float64(), "Spearman correlation of the deltas"),
    without_strongest=optional(pa.float64(), "correlation without the head of largest strength"),
    p_correlation=optional(pa.float64(), "permutation of heads, two-sided"),
    correlation_within_layers=optional(pa.float64(), "Pearson correlation of the deltas less their layers' means"),
    p_within_layers=optional(pa.float64(), "of that, permutation of heads within layers, two-sided"),
    selected_k=column(pa.int32(), "heads that the study's rule would keep of each task"),
    selected=optional(pa.float64(), "correlation after that rule: union of the top k, missing filled with 0"),
    selected_null=optional(pa.float64(), "mean of the same with heads permuted, then selected"),
    **bounds("selected_null", "quantile of that null"),
    p_selected=optional(pa.float64(), "two-sided p under that null"),
    n_strong=optional(
        pa.int32(), "heads with |effect| >= tau in some task and q <= alpha there; empty where no head was tested"
    ),
    n_strong_low=optional(pa.int32(), "2.5 per cent quantile, examples drawn again: a spread"),
    n_strong_high=optional(pa.int32(), "97.5 per cent quantile"),
)
DEPTHS = table(
    replacement=REPLACEMENT,
    category=column(pa.string(), CATEGORY),
    n_heads=column(pa.int32(), "heads of the class"),
    share=column(pa.float64(), "of all heads of the model"),
    **bounds("share", "Wilson bound", column),
    depth=optional(pa.float64(), "mean depth of its heads"),
    **bounds("depth", "bound, heads drawn again"),
    p_value=optional(pa.float64(), "two-sided p that the class is as deep as any heads"),
)
SWEEP = table(
    replacement=REPLACEMENT,
    tau=column(pa.float64(), "threshold, in the units of scaling.classes.unit"),
    category=column(pa.string(), CATEGORY),
    n_heads=column(pa.int32(), "heads by effect and false discovery rate"),
    n_heads_effect=column(pa.int32(), "heads by the plain rule"),
)
HEROES = table(
    category=column(pa.string(), f"{CATEGORY}, on the train split"),
    rank=column(pa.int32(), "place by strength on the train split, from 1"),
    component=COMPONENT,
    layer=LAYER,
    head=HEAD,
    suppressing=column(pa.string(), "tasks that it works against, train split"),
    strength_train=column(pa.float64(), "strength on the train split, which chose it"),
    strength=optional(pa.float64(), "strength on the held-out split"),
    category_held_out=column(pa.string(), "class on the held-out split"),
    **both(pa.float64(), "delta_train", "mean delta on the train split"),
    **both(pa.float64(), "delta", "mean delta on the held-out split"),
    **both(pa.float64(), "delta", "lower end of its interval", "_low"),
    **both(pa.float64(), "delta", "upper end", "_high"),
    **both(pa.float64(), "p_value", "that the mean delta is 0, on the held-out split"),
    **both(pa.float64(), "q_value", "on the held-out split"),
)
HERO_SETS = table(
    ranking=column(pa.string(), "all, or the class whose heads are taken"),
    n_heads=column(pa.int32(), "heads"),
    matching=optional(pa.string(), "plain, layer or norm; null for the heroes themselves"),
    control=optional(pa.int32(), "number of the random set; null for the heroes"),
    components=column(NAMES, "heads"),
    problem=optional(pa.string(), "why there is no such set"),
)
BACKUP_RUNS = table(
    component=COMPONENT,
    example=EXAMPLE,
    cluster=CLUSTER,
    n_heroes=column(pa.int32(), "heads that were gone before"),
    delta_alone=column(pa.float32(), "change in the metric when the head alone is replaced"),
    delta_given=column(pa.float32(), "the same once the heroes are replaced"),
)
SCHEMAS = {
    "scan": SCAN,
    "trace": TRACE,
    "heads": HEADS,
    "model_trends": MODEL_TRENDS,
    "depths": DEPTHS,
    "sweep": SWEEP,
    "heroes": HEROES,
    "hero_sets": HERO_SETS,
    "backup_runs": BACKUP_RUNS,
}

MODELS = "family model parameters"
HEAD_PLACE = {"category": "class of the head", "layer": "layer, from 0", "head": "head, from 0"}
OF_PUBLISHED = {
    **HEAD_PLACE,
    f"delta_{TASK}": "mean change of the metric when the head is replaced, held out, logits or nats",
    "strength": "|effect| on the first task + |effect| on the second",
}
# The tables for people, by the names of the outputs; the last six have the published study's names and columns.
CSVS = {
    "heads": columns(MODELS, by_task(HEADS), without=("split",)),
    "models": columns(
        MODELS, by_task(MODEL_TRENDS), q="p_correlation p_within_layers p_selected", strong_share="n_strong / n_heads"
    ),
    "depths": columns(MODELS, DEPTHS, q="p_value"),
    "tau_sweep": columns(MODELS, SWEEP),
    "fits": columns(
        "family",
        ends="slope",
        q="p_value",
        replacement=REPLACEMENT[1],
        measure="what is fitted: corrected (the correlation corrected for noise) or strong_share",
        problem="why there is no line",
        n_sizes="different sizes of models",
        left_out="models that cannot do both tasks",
        slope="change of the measure for ten times the parameters",
        intercept="value of the line at one parameter",
        p_value="two-sided test that the slope is 0, Student's t",
    ),
    "tracing": columns(
        "family model task",
        TRACE,
        without=("example",),
        ends="influence",
        n_examples="examples",
        n_clusters=N_CLUSTERS[1],
        influence_standard_error="standard error of the mean",
        influence="mean change in the metric of the run, logits or nats",
        gap="mean of clean less corrupt metric, same units",
        share="influence / gap",
    ),
    "influence": columns(
        "model task",
        ends="correlation_within_layers",
        q="p_value",
        direction="restore or corrupt, as in tracing.csv",
        part="part of the head that was traced",
        n_heads="heads; keys and values that heads share count once",
        over="a model, all models, or reliability: what kind of hypothesis the row is",
        same="whether both are the same intervention on other examples: a reliability",
        correlation="Spearman correlation over heads of strength (train scan) and |influence|",
        correlation_within_layers="the same of ranks less the mean of their layer; interval over layers drawn again, from six layers on",
        p_value="of that, two-sided: heads permuted within their layers",
    ),
    "hero_vs_random": columns(
        "family model task",
        ends="effect effect_random difference accuracy_circuit accuracy_random",
        q="p_value p_accuracy",
        ranking="all, or the class whose heads are taken",
        n_heads="heads removed",
        matching="plain, layer or norm: what random sets have as the heroes do",
        n_examples="held-out examples",
        n_clusters=N_CLUSTERS[1],
        n_random="different random sets",
        metric="mean metric of the intact model, logits or nats",
        accuracy="share that the intact model answers correctly",
        effect="mean change in the metric when the heroes are removed, logits or nats; negative is harm",
        effect_random="mean of the same over random sets",
        difference="effect - effect_random",
        accuracy_circuit="share answered correctly with the heroes removed",
        accuracy_random="mean of the same over random sets",
        p_value="one-sided: share of random sets, with the heroes, that lower the metric as much",
        p_accuracy="the same for the accuracy",
        problem="why there is no comparison",
    ),
    "backups": columns(
        "family model task",
        ends="difference delta_given",
        q="p_value",
        component="head",
        layer="layer, from 0",
        head="head, from 0",
        n_heroes="strongest heads of the train split, which are replaced first",
        n_examples="held-out examples",
        n_clusters=N_CLUSTERS[1],
        state="state of the head in the scan: strong, absent or unclear",
        delta_alone="mean change of the metric when the head alone is replaced, on these examples",
        delta_given="the same once the heroes are replaced; negative where the head helps then",
        difference="delta_given - delta_alone: below 0 for a backup, above 0 for a head that works through the heroes",
        p_value="two-sided test that the difference is 0, the larger of Student's and Hall's",
        backup="whether q <= scaling.classes.alpha, the difference is below 0, and so is delta_given with its interval",
    ),
    "transfer": columns(
        ends="mean_fractional_rank_null",
        q="p_rank p_correlation p_distance",
        source_family="family of the model whose heads are looked up",
        source_model="that model",
        target_family="family of the model in which they are looked up",
        target_model="that model",
        task="task",
        rule="how heads are paired: index, strength, other_task or function",
        n_heads="strongest heads of the source model",
        n_missing="of these, heads without a counterpart",
        mean_fractional_rank="mean rank of the counterparts in the target, from 0 (strongest) to 1",
        mean_fractional_rank_null="mean of the same under the null",
        p_rank="one-sided p of mean_fractional_rank",
        correlation="correlation of the effects of paired heads",
        p_correlation="one-sided p of it",
        distance="mean distance of the profiles of paired heads",
        distance_null="mean of the same under the null",
        p_distance="one-sided p of it",
    ),
    "joint": columns("family model", OF_PUBLISHED, without=("category", "strength")),
    "categories": columns(
        "family model",
        {f"n_{TASK}": "heads of the class", f"frac_{TASK}": "the same as a share of all heads of the model"},
    ),
    "hero_heads": columns("family model", by_task(HEROES), OF_PUBLISHED, without=("component",)),
    "causal": columns(
        "family model",
        OF_PUBLISHED,
        {
            f"mean_{TASK}_influence": "mean change in the metric when its value is put from clean into corrupt",
            f"{TASK}_influences": "the same example by example",
        },
        hf_name="name on the hub",
    ),
    "ablation": columns(
        "family model",
        {f"acc_{TASK}": "share answered correctly", f"mean_diff_{TASK}": "mean logit difference"},
        k="heads removed",
        set_type="baseline, hero, random or random_<matching>",
    ),
    "correlations": columns(
        "family model", params_m="millions of parameters", corr="correlation of the deltas of the two tasks over heads"
    ),
    "published_check": columns(
        item="what was published",
        published="the published value",
        recomputed="the value from the published tables, or from a run of this workflow",
        agrees="whether the two agree; empty where nothing was recomputed",
        why="what decides it",
    ),
    "validation": columns(
        kind="kind of defect",
        model="model, or pair of models",
        task="task",
        count="rows or cells that have it",
        what="what was found",
        touches="conclusions that it touches",
    ),
}
