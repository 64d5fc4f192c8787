# Circuits of nodes and edges of every size: what they keep, how complete and minimal they are.
rule run_curves:
    input:
        model=model_inputs,
        about="<results>/{model}/model.json",
        examples=expand("<results>/{{model}}/{{task}}/examples/{shard}.parquet", shard=shards()),
        scores=expand(
            "<results>/{{model}}/{{task}}/scores/{{method}}/{shard}.parquet",
            shard=shards(),
        ),
    output:
        curves="<results>/{model}/{task}/faithfulness/{method}.parquet",
        runs="<results>/{model}/{task}/faithfulness/{method}.runs.parquet",
        edges="<results>/{model}/{task}/faithfulness/{method}.edges.parquet",
        completeness="<results>/{model}/{task}/faithfulness/{method}.completeness.parquet",
    log:
        "<logs>/run_curves/{model}/{task}/{method}.log",
    conda:
        "../envs/torch.yaml"
    resources:
        gpu=1,
    params:
        cfg=lambda wildcards: stage_cfg(
            "seed",
            k=config["cross_task"]["top_k"],
            metric=config["attribution"]["metric"],
            min_valid=config["examples"]["min_valid"],
            **({"steps": config["attribution"]["steps"]} if wildcards.method == "eap-ig" else {}),
            dtype=config["compute"]["dtype"],
            bootstrap=config["tests"]["bootstrap"],
            **config["faithfulness"],
        ),
        code=code_hash("run_curves.py"),
        compute=compute,
    script:
        "../workflow/scripts/run_curves.py"


rule draw_faithfulness:
    input:
        curves=by_task("<results>/{model}/{task}/faithfulness/{method}.parquet", config["methods"]),
        completeness=by_task(
            "<results>/{model}/{task}/faithfulness/{method}.completeness.parquet",
            config["methods"],
        ),
    output:
        curves="<results>/tables/faithfulness/curves.csv",
        areas=shown(
            "<results>/tables/faithfulness/areas.csv",
            "areas",
            "Faithfulness",
            shows="CPR and CMD",
            method="all",
        ),
        completeness="<results>/tables/faithfulness/completeness.csv",
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
    localrule: True
    conda:
        "../envs/analysis.yaml"
    params:
        cfg=stage_cfg("models", "tasks", "figures", titles=titles()),
        code=code_hash("draw_faithfulness.py"),
    script:
        "../workflow/scripts/draw_faithfulness.py"


rule faithfulness:
    input:
        rules.draw_faithfulness.output,
