# Whether a pruned circuit relies on its specific weights.
WEIGHTS = config["weights"]
WEIGHT_EXAMPLES = "<results>/{model}/{task}/examples/weights0000.parquet"
WEIGHT_FOLDER = "<results>/{model}/weights/{task}"
# What the three stages that run a model ask in common.
WEIGHT_RUN = shard_run("weights") | USED | some(WEIGHTS, "replacement", "loss", "held_out")
WEIGHT_SHOWN = {**some(WEIGHTS, "models", "tasks"), "titles": titles(WEIGHTS["tasks"])}
# Names of the inputs of the tables, and of the files.
WEIGHT_FILES = {
    "masks": "masks",
    "circuits": "circuits",
    "pareto_front": "pareto_front",
    "history": "history",
    "sweep": "sweep",
    "random": "random",
    "matches": "matches",
    "sizes": "sizes",
    "edges": "edges",
    "runs": "node_runs",
    "node_random": "node_random",
    "fvu": "unexplained",
    "importance": "node_importance",
}


use rule runs_model as learn_masks with:
    input:
        **MODEL,
        examples=WEIGHT_EXAMPLES,
        file=mask_file,
    output:
        **{name: f"{WEIGHT_FOLDER}/{name}.parquet" for name in ("masks", "circuits", "pareto_front", "history")},
    log:
        "<logs>/learn_masks/{model}/{task}.log",
    wildcard_constraints:
        task=one_of(WEIGHTS["tasks"]),
    params:
        **runs("studies.weights.stage_masks.learn"),
        content=holds(mask_file),
        cfg=lambda wildcards: stage_cfg(
            "seed",
            file=mask_file(wildcards) or None,
            **WEIGHT_RUN,
            **task_cfg(wildcards.task, "accuracy"),
            **{key: value for key, value in WEIGHTS["masks"].items() if key != "files"},
        ),


use rule runs_model as sweep_weights with:
    input:
        **MODEL,
        examples=WEIGHT_EXAMPLES,
        masks=f"{WEIGHT_FOLDER}/masks.parquet",
    output:
        **{name: f"{WEIGHT_FOLDER}/{name}.parquet" for name in ("sweep", "random", "matches", "sizes", "edges")},
    log:
        "<logs>/sweep_weights/{model}/{task}.log",
    wildcard_constraints:
        task=one_of(WEIGHTS["tasks"]),
    params:
        **runs("studies.weights.stage_sweep.run"),
        cfg=lambda wildcards: stage_cfg(
            "seed",
            random_circuits=WEIGHTS["random"]["circuits"],
            random_trials=WEIGHTS["random"]["trials"],
            every=WEIGHTS["random"]["every"],
            **WEIGHT_RUN,
            **task_cfg(wildcards.task, "accuracy"),
            **{key: value for key, value in WEIGHTS["sweep"].items() if key != "margin"},
        ),


use rule runs_model as evaluate_nodes with:
    input:
        **MODEL,
        examples=WEIGHT_EXAMPLES,
        masks=f"{WEIGHT_FOLDER}/masks.parquet",
    output:
        runs=f"{WEIGHT_FOLDER}/node_runs.parquet",
        random=f"{WEIGHT_FOLDER}/node_random.parquet",
        fvu=f"{WEIGHT_FOLDER}/unexplained.parquet",
        importance=f"{WEIGHT_FOLDER}/node_importance.parquet",
    log:
        "<logs>/evaluate_nodes/{model}/{task}.log",
    wildcard_constraints:
        task=one_of(WEIGHTS["tasks"]),
    params:
        **runs("studies.weights.stage_nodes.run"),
        cfg=lambda wildcards: stage_cfg(
            "seed",
            random_circuits=WEIGHTS["random"]["circuits"],
            node_trials=WEIGHTS["nodes"]["trials"],
            **WEIGHT_RUN,
            **task_cfg(wildcards.task, "accuracy"),
            **some(WEIGHTS["sweep"], "points", "trials"),
            **some(WEIGHTS["nodes"], "fractions", "exact", "steps"),
        ),


use rule reads_tables as summarise_weights with:
    input:
        **{
            name: of_study("weights", f"{WEIGHT_FOLDER}/{file}.parquet", task=WEIGHTS["tasks"])
            for name, file in WEIGHT_FILES.items()
        },
    output:
        **study_tables("weights"),
        details=findings_details("weights"),
        results="<results>/tables/weights/weight_ablation_sweep_results.json",
        edges_json="<results>/tables/weights/edges.json",
    log:
        "<logs>/summarise_weights.log",
    params:
        **runs("studies.weights.summary.summarise"),
        cfg=stage_cfg("seed", "tests", **WEIGHT_SHOWN, **some(WEIGHTS["sweep"], "controls", "matched", "margin")),


use rule draws_figures as draw_weights with:
    input:
        tables=[table("weights", name) for name in STUDIES["weights"].tables],
    output:
        figures=figures("weights"),
    log:
        "<logs>/draw_weights.log",
    params:
        **runs("studies.weights.figures.draw"),
        cfg=stage_cfg("figures", **WEIGHT_SHOWN, **some(WEIGHTS["sweep"], "matched")),


rule weights:
    input:
        rules.summarise_weights.output,
        "<results>/tables/weights/overview.json",
        rules.draw_weights.output,
