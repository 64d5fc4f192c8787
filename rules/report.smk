REUSE_FIGURES = {
    "multiplot_reuse_vs_threshold": "Reuse against threshold",
    "multiplot_lift_vs_threshold": "Lift against threshold",
    "multiplot_perm_neglog10p_vs_threshold": "Significance against threshold",
    "effect_against_controls": "Shared circuits among their controls",
    "accuracy_bars": "Accuracy with circuits removed",
    "faithfulness_bars": "What circuits keep",
    "component_map": "Components of example circuits",
    "example_similarity": "Similarity of example circuits",
    "cross_task": "Circuits removed on other tasks",
    "score_histograms": "Distribution of scores",
    "method_agreement": "Agreement with exact patching",
}


def reuse_figures(method):
    """Figure files of a method; the first method's have the plain names."""
    folder = "" if method == config["methods"][0] else f"{method}/"
    return expand(
        "<results>/figures/reuse/" + folder + "{figure}.{kind}",
        figure=REUSE_FIGURES,
        kind=config["figures"]["formats"],
    )


def in_report(path, method):
    """A figure with its caption and labels for the report: one format of each is enough."""
    name, kind = Path(path).stem, Path(path).suffix[1:]
    if kind != ("svg" if "svg" in config["figures"]["formats"] else "png"):
        return path
    return report(
        path,
        caption=f"../workflow/report/{name}.rst",
        category="Reuse: figures",
        labels={"figure": REUSE_FIGURES[name], "method": method},
    )


def reuse_table(name, title):
    """A table with its caption for the report."""
    return report(
        f"<results>/tables/reuse/{name}",
        caption=f"../workflow/report/{Path(name).stem}.rst",
        category="Reuse: tables",
        labels={"table": title},
    )


def by_task(path, methods, **more):
    """A table of every model, task and method."""
    return expand(
        path, model=config["models"], task=config["tasks"], method=methods, **more
    )


def titles():
    """Names of the tasks in figures and tables."""
    return {task: task_title(task) for task in config["tasks"]}


rule summarise_reuse:
    input:
        examples=by_task(
            "<results>/{model}/{task}/examples/{shard}.parquet", "", shard=shards()
        ),
        tests=by_task(
            "<results>/{model}/{task}/tests/{method}.parquet", config["methods"]
        ),
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
        agreement=by_task(
            "<results>/{model}/{task}/agreement/{method}.parquet", config["methods"]
        ),
    output:
        summary=reuse_table("summary.csv", "Summary: reuse, effects and tests"),
        aggregated="<results>/tables/reuse/aggregated_by_task_model_k.csv",
        cross=reuse_table("cross_task.csv", "Circuits removed on other tasks"),
        agreement=reuse_table("method_agreement.csv", "Agreement with exact patching"),
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
            revisions={
                model: config["model_sources"][model].get("revision")
                for model in config["models"]
            },
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
            tests=by_task(
                "<results>/{model}/{task}/tests/{method}.parquet", draw_method
            ),
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
            effects=by_task(
                "<results>/{model}/{task}/effects/{method}.parquet", draw_method
            ),
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
            agreement=by_task(
                "<results>/{model}/{task}/agreement/{method}.parquet", draw_method
            ),
        output:
            figures=[
                in_report(path, draw_method) for path in reuse_figures(draw_method)
            ],
        log:
            f"<logs>/draw_reuse/{draw_method}.log",
        localrule: True
        conda:
            "../envs/analysis.yaml"
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
        [reuse_figures(method) for method in config["methods"]],
