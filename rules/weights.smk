# Whether a pruned circuit relies on its very weights.
WEIGHTS = config["weights"]
WEIGHT_EXAMPLES = "<results>/{model}/{task}/examples/weights0000.parquet"
WEIGHT_FOLDER = "<results>/{model}/weights/{task}"

WEIGHT_FIGURES = {
    "weight_ablation_sweep": "Weights removed: circuit and controls",
    "tests": "The circuit among random circuits",
    "sizes": "Sizes of the weights, circuit and controls",
    "frontier": "Size of masks against loss",
    "composition": "Where the circuit lies",
    "interchange": "Active nodes unpruned",
    "node_sweep": "Nodes removed, and masked nodes left on",
    "unexplained": "Variance that the pruned run does not explain",
    "importance": "Importance of single nodes",
    "training": "How masks were learned",
}

WEIGHT_TABLES = {
    "readings": ("readings.csv", "What the tests support"),
    "tests": ("tests.csv", "Circuit against controls"),
    "circuits": ("circuits.csv", "Masks and their circuits"),
    "sweep": ("sweep.csv", "The sweep"),
    "matches": ("matches.csv", "How well controls match"),
    "node_tests": ("node_tests.csv", "Necessity and sufficiency of the nodes"),
    "nodes": ("nodes.csv", ""),
    "random": ("random_circuits.csv", ""),
    "node_random": ("random_masks.csv", ""),
    "sizes": ("sizes.csv", ""),
    "frontier": ("frontier.csv", ""),
    "history": ("training.csv", ""),
    "composition": ("composition.csv", ""),
    "edges": ("edges.csv", ""),
    "fvu": ("unexplained.csv", ""),
    "importance": ("importance.csv", ""),
}
# What the three stages that run a model ask in common.
WEIGHT_TASK = {
    "metric": "logit_difference",
    "dtype": config["compute"]["dtype"],
    "min_valid": config["examples"]["min_valid"],
    "replacement": WEIGHTS["replacement"],
    "loss": WEIGHTS["loss"],
    "held_out": WEIGHTS["held_out"],
}


rule learn_masks:
    input:
        model=model_inputs,
        about="<results>/{model}/model.json",
        examples=WEIGHT_EXAMPLES,
        file=mask_file,
    output:
        masks=f"{WEIGHT_FOLDER}/masks.parquet",
        circuits=f"{WEIGHT_FOLDER}/circuits.parquet",
        frontier=f"{WEIGHT_FOLDER}/frontier.parquet",
        history=f"{WEIGHT_FOLDER}/history.parquet",
    log:
        "<logs>/learn_masks/{model}/{task}.log",
    wildcard_constraints:
        task=one_of(WEIGHTS["tasks"]),
    conda:
        "../envs/torch.yaml"
    resources:
        gpu=1,
    params:
        cfg=lambda wildcards: stage_cfg(
            "seed",
            accuracy=task_cfg(wildcards.task)["accuracy"],
            file=mask_file(wildcards) or None,
            **WEIGHT_TASK,
            **{key: value for key, value in WEIGHTS["masks"].items() if key != "files"},
        ),
        code=code_hash("learn_masks.py"),
        compute=compute,
    script:
        "../workflow/scripts/learn_masks.py"


rule sweep_weights:
    input:
        model=model_inputs,
        about="<results>/{model}/model.json",
        examples=WEIGHT_EXAMPLES,
        masks=f"{WEIGHT_FOLDER}/masks.parquet",
    output:
        sweep=f"{WEIGHT_FOLDER}/sweep.parquet",
        random=f"{WEIGHT_FOLDER}/random.parquet",
        matches=f"{WEIGHT_FOLDER}/matches.parquet",
        sizes=f"{WEIGHT_FOLDER}/sizes.parquet",
        edges=f"{WEIGHT_FOLDER}/edges.parquet",
    log:
        "<logs>/sweep_weights/{model}/{task}.log",
    wildcard_constraints:
        task=one_of(WEIGHTS["tasks"]),
    conda:
        "../envs/torch.yaml"
    resources:
        gpu=1,
    params:
        cfg=lambda wildcards: stage_cfg(
            "seed",
            accuracy=task_cfg(wildcards.task)["accuracy"],
            random_circuits=WEIGHTS["random"]["circuits"],
            random_trials=WEIGHTS["random"]["trials"],
            every=WEIGHTS["random"]["every"],
            **WEIGHT_TASK,
            **{key: value for key, value in WEIGHTS["sweep"].items() if key != "margin"},
        ),
        code=code_hash("sweep_weights.py"),
        compute=compute,
    script:
        "../workflow/scripts/sweep_weights.py"


rule evaluate_nodes:
    input:
        model=model_inputs,
        about="<results>/{model}/model.json",
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
    conda:
        "../envs/torch.yaml"
    resources:
        gpu=1,
    params:
        cfg=lambda wildcards: stage_cfg(
            "seed",
            accuracy=task_cfg(wildcards.task)["accuracy"],
            points=WEIGHTS["sweep"]["points"],
            trials=WEIGHTS["sweep"]["trials"],
            random_circuits=WEIGHTS["random"]["circuits"],
            fractions=WEIGHTS["nodes"]["fractions"],
            node_trials=WEIGHTS["nodes"]["trials"],
            exact=WEIGHTS["nodes"]["exact"],
            steps=WEIGHTS["nodes"]["steps"],
            **WEIGHT_TASK,
        ),
        code=code_hash("evaluate_nodes.py"),
        compute=compute,
    script:
        "../workflow/scripts/evaluate_nodes.py"


rule summarise_weights:
    input:
        masks=weight_models(f"{WEIGHT_FOLDER}/masks.parquet"),
        circuits=weight_models(f"{WEIGHT_FOLDER}/circuits.parquet"),
        frontier=weight_models(f"{WEIGHT_FOLDER}/frontier.parquet"),
        history=weight_models(f"{WEIGHT_FOLDER}/history.parquet"),
        sweep=weight_models(f"{WEIGHT_FOLDER}/sweep.parquet"),
        random=weight_models(f"{WEIGHT_FOLDER}/random.parquet"),
        matches=weight_models(f"{WEIGHT_FOLDER}/matches.parquet"),
        sizes=weight_models(f"{WEIGHT_FOLDER}/sizes.parquet"),
        edges=weight_models(f"{WEIGHT_FOLDER}/edges.parquet"),
        runs=weight_models(f"{WEIGHT_FOLDER}/node_runs.parquet"),
        node_random=weight_models(f"{WEIGHT_FOLDER}/node_random.parquet"),
        fvu=weight_models(f"{WEIGHT_FOLDER}/unexplained.parquet"),
        importance=weight_models(f"{WEIGHT_FOLDER}/node_importance.parquet"),
    output:
        **{name: weight_table(*about) for name, about in WEIGHT_TABLES.items()},
        results="<results>/tables/weights/weight_ablation_sweep_results.json",
        edges_json="<results>/tables/weights/edges.json",
        findings="<results>/tables/weights/findings.md",
        page=shown(
            "<results>/tables/weights/findings.html",
            "weights_findings",
            "Weights",
            shows="Findings, in words",
        ),
    log:
        "<logs>/summarise_weights.log",
    localrule: True
    conda:
        "../envs/analysis.yaml"
    params:
        cfg=stage_cfg(
            "seed",
            "tests",
            models=WEIGHTS["models"],
            tasks=WEIGHTS["tasks"],
            titles={task: task_title(task) for task in WEIGHTS["tasks"]},
            controls=WEIGHTS["sweep"]["controls"],
            matched=WEIGHTS["sweep"]["matched"],
            margin=WEIGHTS["sweep"]["margin"],
        ),
        code=code_hash("summarise_weights.py"),
    script:
        "../workflow/scripts/summarise_weights.py"


rule draw_weights:
    input:
        tables=[f"<results>/tables/weights/{file}" for file, _ in WEIGHT_TABLES.values()],
    output:
        figures=[
            shown(
                f"<results>/figures/weights/{name}.{kind}",
                f"weights_{name}",
                "Weights",
                shows=title,
            )
            for name, title in WEIGHT_FIGURES.items()
            for kind in config["figures"]["formats"]
        ],
    log:
        "<logs>/draw_weights.log",
    localrule: True
    conda:
        "../envs/analysis.yaml"
    threads: 2
    params:
        cfg=stage_cfg(
            "figures",
            models=WEIGHTS["models"],
            tasks=WEIGHTS["tasks"],
            titles={task: task_title(task) for task in WEIGHTS["tasks"]},
            matched=WEIGHTS["sweep"]["matched"],
        ),
        code=code_hash("draw_weights.py"),
    script:
        "../workflow/scripts/draw_weights.py"


rule weights:
    input:
        rules.summarise_weights.output,
        "<results>/tables/weights/overview.json",
        rules.draw_weights.output,
