rule summarise_reuse:
    input:
        all_examples=by_task("<results>/{model}/{task}/examples/{shard}.parquet", "", shard=shards()),
        tests=by_task("<results>/{model}/{task}/tests/{method}.parquet", config["methods"]),
        reuse=expand(
            "<results>/{model}/reuse/{method}.parquet",
            model=config["models"],
            method=config["methods"],
        ),
        cross=expand(
            "<results>/{model}/cross_task/{method}.parquet",
            model=config["models"],
            method=config["methods"],
        ),
        agreement=agreement_tables(config["methods"]),
    output:
        summary=reuse_table("summary.csv", "Summary: reuse, effects and tests"),
        aggregated="<results>/tables/reuse/aggregated_by_task_model_k.csv",
        cross=reuse_table("cross_task.csv", "Circuits removed on other tasks"),
        agreement=(
            reuse_table("method_agreement.csv", "Agreement with exact patching")
            if config["agreement"]["examples"]
            else []
        ),
        accuracy=reuse_table("accuracy.csv", "Accuracy of the untouched models"),
        latex="<results>/tables/reuse/permutation_summary.tex",
        metrics=by_task("<results>/tables/reuse/{model}/{task}/metrics.json", ""),
    log:
        "<logs>/summarise_reuse.log",
    localrule: True
    conda:
        "../envs/analysis.yaml"
    params:
        cfg=lambda wildcards: stage_cfg(
            titles=titles(),
            method=config["methods"][0],
            revisions={model: config["model_sources"][model].get("revision") for model in config["models"]},
            settings=stage_cfg(
                "seed",
                "examples",
                "attribution",
                "circuits",
                "reuse",
                "ablation",
                permutations=config["tests"]["permutations"],
                bootstrap=config["tests"]["bootstrap"],
            ),
        ),
        code=code_hash("summarise_reuse.py"),
    script:
        "../workflow/scripts/summarise_reuse.py"


for draw_method in config["methods"]:

    rule:
        name:
            f"draw_reuse_{draw_method.replace('-', '_')}"
        input:
            tests=by_task("<results>/{model}/{task}/tests/{method}.parquet", draw_method),
            reuse=expand(
                "<results>/{model}/reuse/{method}.parquet",
                model=config["models"],
                method=draw_method,
            ),
            inclusion=by_task(
                "<results>/{model}/{task}/circuits/{method}.inclusion.parquet",
                draw_method,
            ),
            similarity=by_task(
                "<results>/{model}/{task}/circuits/{method}.similarity.parquet",
                draw_method,
            ),
            families=by_task(
                "<results>/{model}/{task}/circuits/{method}.families.parquet",
                draw_method,
            ),
            effects=by_task("<results>/{model}/{task}/effects/{method}.parquet", draw_method),
            scores=by_task(
                "<results>/{model}/{task}/scores/{method}/{shard}.parquet",
                draw_method,
                shard=shards(),
            ),
            cross=expand(
                "<results>/{model}/cross_task/{method}.parquet",
                model=config["models"],
                method=draw_method,
            ),
            agreement=agreement_tables(draw_method),
        output:
            figures=[in_report(path, draw_method) for path in reuse_figures(draw_method)],
        log:
            f"<logs>/draw_reuse/{draw_method}.log",
        localrule: True
        conda:
            "../envs/analysis.yaml"
        threads: 2
        params:
            cfg=stage_cfg(
                "models",
                "tasks",
                "figures",
                titles=titles(),
                method=draw_method,
                metric=config["attribution"]["metric"],
                kinds=config["circuits"]["kinds"],
                alpha=config["tests"]["alpha"],
                chosen={key: config["cross_task"][key] for key in ("top_k", "threshold")},
            ),
            code=code_hash("draw_reuse.py"),
        script:
            "../workflow/scripts/draw_reuse.py"


rule reuse:
    input:
        rules.summarise_reuse.output,
        "<results>/tables/reuse/overview.json",
        [reuse_figures(method) for method in config["methods"]],
