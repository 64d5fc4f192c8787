# Circuits of nodes and edges of every size: what they keep, how complete and minimal they are.
CURVES = "<results>/{model}/{task}/faithfulness/{method}"


use rule runs_model as run_curves with:
    input:
        **MODEL,
        examples=OWN_EXAMPLES,
        scores=OWN_SCORES,
    output:
        curves=f"{CURVES}.parquet",
        runs=f"{CURVES}.runs.parquet",
        edges=f"{CURVES}.edges.parquet",
        completeness=f"{CURVES}.completeness.parquet",
        hypotheses=f"{CURVES}.hypotheses.parquet",
    log:
        "<logs>/run_curves/{model}/{task}/{method}.log",
    params:
        **runs("studies.reuse.stage_curves.task_curves"),
        cfg=lambda wildcards: stage_cfg(
            "seed",
            k=config["cross_task"]["top_k"],
            **RUN,
            **USED,
            **BOOTSTRAP,
            **(asked_steps(wildcards.method) if METHODS[wildcards.method].edges else {}),
            **config["faithfulness"],
            **some(config["tests"], "permutations"),
        ),


use rule reads_tables as summarise_faithfulness with:
    input:
        curves=by_task(f"{CURVES}.parquet", config["methods"]),
        completeness=by_task(f"{CURVES}.completeness.parquet", config["methods"]),
        hypotheses=by_task(f"{CURVES}.hypotheses.parquet", config["methods"]),
    output:
        curves="<results>/tables/faithfulness/curves.csv",
        areas=shown(
            "<results>/tables/faithfulness/areas.csv", "areas", "Faithfulness", shows="CPR and CMD", method="all"
        ),
        completeness="<results>/tables/faithfulness/completeness.csv",
        hypotheses="<results>/tables/faithfulness/hypotheses.csv",
    log:
        "<logs>/summarise_faithfulness.log",
    params:
        **runs("studies.reuse.summary_faithfulness.summarise"),


use rule draws_figures as draw_faithfulness with:
    input:
        curves=by_task(f"{CURVES}.parquet", config["methods"]),
    output:
        figures=[
            shown(
                f"<results>/figures/faithfulness/{method}/{level}.{kind}",
                "faithfulness_curves",
                "Faithfulness",
                shows=f"Circuits of {level}s",
                method=method,
            )
            for method in config["methods"]
            for level in ("node", "edge")
            for kind in config["figures"]["formats"]
        ],
    log:
        "<logs>/draw_faithfulness.log",
    params:
        **runs("studies.reuse.figures_faithfulness.draw"),
        cfg=stage_cfg("models", "tasks", "figures", titles=titles()),


rule faithfulness:
    input:
        rules.summarise_faithfulness.output,
        rules.draw_faithfulness.output,
