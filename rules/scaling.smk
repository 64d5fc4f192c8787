# Which heads do which of two tasks, and how that changes with the model.
SCALING = config["scaling"]
SCALING_TASKS = SCALING["tasks"]
PUBLISHED_SCALING = "<resources>/published/circuit-scaling"

SCALING_FIGURES = {
    "layer_histogram": "Classes by layer",
    "delta_scatter": "Effects on both tasks, by model",
    "phase_space": "Effects of all heads",
    "family_grid": "Effects by family",
    "correlation_vs_scale": "Correlation of the tasks against size",
    "strong_head_scaling": "Strong heads against size",
    "strength_distribution": "Distribution of strengths",
    "class_depth": "Where classes sit in depth",
    "tau_sweep": "Classes against the threshold",
    "tracing_layers": "Causal tracing of layers",
    "tracing_heads": "Causal tracing of heads",
    "influence_vs_strength": "Traced influence against strength",
    "hero_vs_random": "Heroes against random heads",
    "transfer": "Counterparts in other models",
}

SCALING_TABLES = {
    "heads": ("heads.csv", "Every head"),
    "models": ("models.csv", "Models: correlations, strong heads"),
    "depths": ("depths.csv", ""),
    "tau_sweep": ("tau_sweep.csv", ""),
    "fits": ("fits.csv", "Fits over sizes"),
    "tracing": ("tracing.csv", ""),
    "influence": ("influence.csv", "Strength and traced influence"),
    "hero_vs_random": ("hero_vs_random.csv", "Heroes against random heads"),
    "transfer": ("transfer.csv", "Counterparts in other models"),
    "joint": (f"joint_{'_'.join(SCALING_TASKS)}_all.csv", ""),
    "categories": ("head_category_summary.csv", "Classes by model"),
    "hero_heads": ("hero_heads_for_paper.csv", "Hero heads"),
    "causal": ("hero_head_causal_summary.csv", ""),
    "ablation": ("hero_vs_random_ablation_summary.csv", ""),
    "correlations": ("corr_vs_scale_cross_family.csv", ""),
}


# Every head replaced alone, by every replacement, on every example.
rule scan_heads:
    input:
        model=model_inputs,
        about="<results>/{model}/model.json",
        examples="<results>/{model}/{task}/examples/{shard}.parquet",
        reference="<results>/{model}/{task}/examples/scan0000.parquet",
    output:
        scan=ensure("<results>/{model}/heads/{task}/scan/{shard}.parquet", non_empty=True),
    log:
        "<logs>/scan_heads/{model}/{task}/{shard}.log",
    conda:
        "../envs/torch.yaml"
    resources:
        gpu=1,
    params:
        cfg=lambda wildcards: stage_cfg(
            "seed",
            replacements=SCALING["replacements"],
            metric=config["attribution"]["metric"],
            dtype=config["compute"]["dtype"],
            min_valid=config["examples"]["min_valid"],
            accuracy=task_cfg(wildcards.task)["accuracy"],
        ),
        code=code_hash("scan_heads.py"),
        compute=compute,
    script:
        "../workflow/scripts/scan_heads.py"


rule trace_heads:
    input:
        model=model_inputs,
        about="<results>/{model}/model.json",
        examples="<results>/{model}/{task}/examples/scan0000.parquet",
        # Only where heroes alone are traced.
        heroes=([] if SCALING["tracing"]["heads"] == "all" else "<results>/{model}/heads/heroes.parquet"),
    output:
        trace="<results>/{model}/heads/{task}/trace.parquet",
    log:
        "<logs>/trace_heads/{model}/{task}.log",
    conda:
        "../envs/torch.yaml"
    resources:
        gpu=1,
    params:
        cfg=stage_cfg(
            metric=config["attribution"]["metric"],
            dtype=config["compute"]["dtype"],
            min_valid=config["examples"]["min_valid"],
            **SCALING["tracing"],
        ),
        code=code_hash("trace_heads.py"),
        compute=compute,
    script:
        "../workflow/scripts/trace_heads.py"


# Effects, classes, heroes of one model: what a new threshold changes.
rule classify_heads:
    input:
        about="<results>/{model}/model.json",
        scans=expand(
            "<results>/{{model}}/heads/{task}/scan/{shard}.parquet",
            task=SCALING_TASKS,
            shard=scan_shards(),
        ),
    output:
        heads="<results>/{model}/heads/classes.parquet",
        trends="<results>/{model}/heads/trends.parquet",
        depths="<results>/{model}/heads/depths.parquet",
        sweep="<results>/{model}/heads/sweep.parquet",
        heroes="<results>/{model}/heads/heroes.parquet",
        sets="<results>/{model}/heads/hero_sets.parquet",
    log:
        "<logs>/classify_heads/{model}.log",
    localrule: True
    conda:
        "../envs/analysis.yaml"
    params:
        cfg=stage_cfg(
            "seed",
            bootstrap=config["tests"]["bootstrap"],
            heroes={
                key: SCALING["heroes"][key]
                for key in (
                    "per_class",
                    "rankings",
                    "sizes",
                    "matchings",
                    "random_sets",
                    "norm_strata",
                )
            },
            **{
                key: SCALING[key]
                for key in (
                    "tasks",
                    "replacements",
                    "replacement",
                    "selection",
                    "draws",
                    "classes",
                )
            },
        ),
        code=code_hash("classify_heads.py"),
    script:
        "../workflow/scripts/classify_heads.py"


rule ablate_heroes:
    input:
        model=model_inputs,
        about="<results>/{model}/model.json",
        examples="<results>/{model}/{task}/examples/scan0000.parquet",
        sets="<results>/{model}/heads/hero_sets.parquet",
    output:
        # Sets that a new threshold leaves as they were are not run again.
        effects=update("<results>/{model}/heads/{task}/heroes.parquet"),
    log:
        "<logs>/ablate_heroes/{model}/{task}.log",
    conda:
        "../envs/torch.yaml"
    resources:
        gpu=1,
    params:
        cfg=lambda wildcards: stage_cfg(
            "seed",
            kinds=["head"],
            replacement=SCALING["replacement"],
            examples=SCALING["heroes"]["examples"],
            metric=config["attribution"]["metric"],
            dtype=config["compute"]["dtype"],
            min_valid=config["examples"]["min_valid"],
            accuracy=task_cfg(wildcards.task)["accuracy"],
        ),
        code=code_hash("ablate_heroes.py"),
        rows_code=code_hash("circuit_reuse/effects.py"),
        compute=compute,
    script:
        "../workflow/scripts/ablate_heroes.py"


rule summarise_scaling:
    input:
        about=scaling_models("<results>/{model}/model.json"),
        scans=scaling_models(
            "<results>/{model}/heads/{task}/scan/{shard}.parquet",
            task=SCALING_TASKS,
            shard=scan_shards(),
        ),
        traces=scaling_models("<results>/{model}/heads/{task}/trace.parquet", task=SCALING_TASKS),
        effects=scaling_models("<results>/{model}/heads/{task}/heroes.parquet", task=SCALING_TASKS),
        heads=scaling_models("<results>/{model}/heads/classes.parquet"),
        trends=scaling_models("<results>/{model}/heads/trends.parquet"),
        depths=scaling_models("<results>/{model}/heads/depths.parquet"),
        sweep=scaling_models("<results>/{model}/heads/sweep.parquet"),
        heroes=scaling_models("<results>/{model}/heads/heroes.parquet"),
        sets=scaling_models("<results>/{model}/heads/hero_sets.parquet"),
    output:
        **{name: scaling_table(*about) for name, about in SCALING_TABLES.items()},
        findings="<results>/tables/scaling/findings.md",
        page=shown(
            "<results>/tables/scaling/findings.html",
            "scaling_findings",
            "Scaling",
            shows="Findings, in words",
        ),
    log:
        "<logs>/summarise_scaling.log",
    localrule: True
    conda:
        "../envs/analysis.yaml"
    params:
        cfg=stage_cfg(
            "seed",
            bootstrap=config["tests"]["bootstrap"],
            families={name: config["model_sources"][name].get("family") for name in SCALING["models"]},
            hub={name: config["model_sources"][name].get("hub") for name in SCALING["models"]},
            **{key: SCALING[key] for key in ("tasks", "replacement", "classes")},
            transfer={**SCALING["transfer"], "pairings": SCALING["draws"]},
        ),
        code=code_hash("summarise_scaling.py"),
    script:
        "../workflow/scripts/summarise_scaling.py"


rule draw_scaling:
    input:
        about=scaling_models("<results>/{model}/model.json"),
        traces=rules.summarise_scaling.input.traces,
        heads=rules.summarise_scaling.input.heads,
        trends=rules.summarise_scaling.input.trends,
        depths=rules.summarise_scaling.input.depths,
        sweep=rules.summarise_scaling.input.sweep,
        heroes=rules.summarise_scaling.input.heroes,
        sets=rules.summarise_scaling.input.sets,
        hero_vs_random="<results>/tables/scaling/hero_vs_random.csv",
        influence="<results>/tables/scaling/influence.csv",
        transfer="<results>/tables/scaling/transfer.csv",
    output:
        figures=[
            shown(
                f"<results>/figures/scaling/{name}.{kind}",
                f"scaling_{name}",
                "Scaling",
                shows=title,
            )
            for name, title in SCALING_FIGURES.items()
            for kind in config["figures"]["formats"]
        ],
    log:
        "<logs>/draw_scaling.log",
    localrule: True
    conda:
        "../envs/analysis.yaml"
    threads: 2
    params:
        cfg=stage_cfg(
            "figures",
            metric=config["attribution"]["metric"],
            titles={task: task_title(task) for task in SCALING_TASKS},
            families=rules.summarise_scaling.params.cfg["families"],
            **{key: SCALING[key] for key in ("tasks", "replacement", "classes")},
        ),
        code=code_hash("draw_scaling.py"),
    script:
        "../workflow/scripts/draw_scaling.py"


# The published numbers from the published tables: which come out, which do not, and why.
rule check_published_scaling:
    input:
        tables=[
            f"{PUBLISHED_SCALING}/{name}.csv"
            for name in (
                "joint_ioi_anti_repeat_all",
                "joint_ioi_anti_repeat_heads",
                "head_category_summary",
                "corr_vs_scale_cross_family",
                "hero_heads_for_paper",
                "hero_head_causal_summary",
                "hero_vs_random_ablation_summary",
                "ioi_transfer_generic",
                "ioi_divergence_pythia410m_to_gpt2medium",
            )
        ],
        shapes=f"{PUBLISHED_SCALING}/shapes.csv",
    output:
        check=shown(
            "<results>/tables/scaling/published_check.csv",
            "scaling_published",
            "Scaling",
            shows="Published numbers (table)",
        ),
    log:
        "<logs>/check_published_scaling.log",
    localrule: True
    conda:
        "../envs/analysis.yaml"
    params:
        cfg=stage_cfg("seed", draws=SCALING["draws"]),
        code=code_hash("check_published_scaling.py"),
    script:
        "../workflow/scripts/check_published_scaling.py"


rule check_published:
    input:
        rules.check_published_scaling.output,
        "<results>/tables/sequences/published_check.csv",


rule check_table:
    input:
        table=lambda wildcards: SCALING["tables"][wildcards.table]["file"],
        shapes=f"{PUBLISHED_SCALING}/shapes.csv",
        models=[
            f"{source['path']}/config.json"
            for source in config["model_sources"].values()
            if "path" in source and Path(source["path"], "config.json").is_file()
        ],
    output:
        findings="<results>/tables/scaling/validation/{table}.csv",
        page="<results>/tables/scaling/validation/{table}.md",
    log:
        "<logs>/check_table/{table}.log",
    wildcard_constraints:
        table=one_of(SCALING["tables"]) or "none",
    localrule: True
    conda:
        "../envs/analysis.yaml"
    params:
        code=code_hash("check_table.py"),
    script:
        "../workflow/scripts/check_table.py"


rule check_heads:
    input:
        expand(rules.check_table.output.page, table=SCALING["tables"]),


rule scaling:
    input:
        rules.summarise_scaling.output,
        "<results>/tables/scaling/overview.json",
        rules.draw_scaling.output,
        rules.check_published_scaling.output,
        rules.check_heads.input,
