# Which heads do which of two tasks, and how that changes with the model.
SCALING = config["scaling"]
SCALING_TASKS = SCALING["tasks"]
PUBLISHED_SCALING = f"{shipped('published')}/circuit-scaling"
HEADS = "<results>/{model}/heads"
CLASSES = ("trends", "depths", "sweep", "heroes")


# Every head replaced alone, by every replacement, on every example.
use rule runs_model as scan_heads with:
    input:
        **MODEL,
        examples="<results>/{model}/{task}/examples/{shard}.parquet",
        reference="<results>/{model}/{task}/examples/scan0000.parquet",
    output:
        scan=ensure(f"{HEADS}/{{task}}/scan/{{shard}}.parquet", non_empty=True),
    log:
        "<logs>/scan_heads/{model}/{task}/{shard}.log",
    params:
        **runs("studies.scaling.stage_scan.scan_shard"),
        cfg=lambda wildcards: stage_cfg(
            "seed", **some(SCALING, "replacements"), **RUN, **USED, **task_cfg(wildcards.task, "accuracy")
        ),


use rule runs_model as trace_heads with:
    input:
        **MODEL,
        examples="<results>/{model}/{task}/examples/scan0000.parquet",
        # Only where heroes alone are traced.
        heroes=[] if SCALING["tracing"]["heads"] == "all" else f"{HEADS}/heroes.parquet",
    output:
        trace=f"{HEADS}/{{task}}/trace.parquet",
    log:
        "<logs>/trace_heads/{model}/{task}.log",
    params:
        **runs("studies.scaling.stage_trace.trace_task"),
        cfg=stage_cfg(**RUN, **USED, **SCALING["tracing"]),


# Effects, classes, heroes of one model: what a new threshold changes.
use rule reads_tables as classify_heads with:
    input:
        about=ABOUT,
        scans=expand(
            "<results>/{{model}}/heads/{task}/scan/{shard}.parquet", task=SCALING_TASKS, shard=shards("scaling")
        ),
    output:
        **{name: f"{HEADS}/{name}.parquet" for name in CLASSES},
        heads=f"{HEADS}/classes.parquet",
        sets=f"{HEADS}/hero_sets.parquet",
    log:
        "<logs>/classify_heads/{model}.log",
    params:
        **runs("studies.scaling.stage_classes.classify"),
        cfg=stage_cfg(
            "seed",
            heroes=some(
                SCALING["heroes"], "per_class", "rankings", "sizes", "matchings", "random_sets", "norm_strata"
            ),
            **BOOTSTRAP,
            **some(SCALING, "tasks", "replacements", "replacement", "selection", "draws", "classes"),
        ),


# Sets that a new threshold leaves as they were are not run again.
use rule runs_model as ablate_heroes with:
    input:
        **MODEL,
        examples="<results>/{model}/{task}/examples/scan0000.parquet",
        sets=f"{HEADS}/hero_sets.parquet",
    output:
        effects=update(f"{HEADS}/{{task}}/heroes.parquet"),
    log:
        "<logs>/ablate_heroes/{model}/{task}.log",
    params:
        **runs("studies.scaling.stage_heroes.remove_heroes"),
        rows_code=code_of("engine.effects"),
        cfg=lambda wildcards: stage_cfg(
            "seed",
            kinds=["head"],
            **some(SCALING, "replacement"),
            **some(SCALING["heroes"], "examples"),
            **RUN,
            **USED,
            **task_cfg(wildcards.task, "accuracy"),
        ),


# Every other head replaced once the heroes are gone: which ones take over?
use rule runs_model as scan_backups with:
    input:
        **MODEL,
        examples="<results>/{model}/{task}/examples/scan0000.parquet",
        scan=f"{HEADS}/{{task}}/scan/scan0000.parquet",
        sets=f"{HEADS}/hero_sets.parquet",
    output:
        runs=f"{HEADS}/{{task}}/backups.parquet",
    log:
        "<logs>/scan_backups/{model}/{task}.log",
    params:
        **runs("studies.scaling.stage_backups.scan"),
        cfg=lambda wildcards: stage_cfg(
            "seed",
            **some(SCALING, "replacement"),
            **some(SCALING["backups"], "heroes", "examples"),
            **RUN,
            **USED,
            **task_cfg(wildcards.task, "accuracy"),
        ),


use rule reads_tables as summarise_scaling with:
    input:
        **{name: of_study("scaling", f"{HEADS}/{name}.parquet") for name in CLASSES},
        about=of_study("scaling", ABOUT),
        scans=of_study(
            "scaling", f"{HEADS}/{{task}}/scan/{{shard}}.parquet", task=SCALING_TASKS, shard=shards("scaling")
        ),
        traces=of_study("scaling", f"{HEADS}/{{task}}/trace.parquet", task=SCALING_TASKS),
        effects=of_study("scaling", f"{HEADS}/{{task}}/heroes.parquet", task=SCALING_TASKS),
        heads=of_study("scaling", f"{HEADS}/classes.parquet"),
        sets=of_study("scaling", f"{HEADS}/hero_sets.parquet"),
        some_backups=backup_tables(),
    output:
        **study_tables("scaling"),
        details=findings_details("scaling"),
    log:
        "<logs>/summarise_scaling.log",
    params:
        **runs("studies.scaling.summary.summarise"),
        cfg=stage_cfg(
            "seed",
            families={name: config["model_sources"][name].get("family") for name in SCALING["models"]},
            hub={name: config["model_sources"][name].get("hub") for name in SCALING["models"]},
            transfer={**SCALING["transfer"], "pairings": SCALING["draws"]},
            **BOOTSTRAP,
            **some(SCALING, "tasks", "replacement", "classes"),
        ),


use rule draws_figures as draw_scaling with:
    input:
        **{name: getattr(rules.summarise_scaling.input, name) for name in ("traces", "heads", "sets", *CLASSES)},
        **{name: table("scaling", name) for name in ("hero_vs_random", "influence", "transfer")},
        backups=table("scaling", "backups") if ASKED_TABLES["backups"] else [],
        about=of_study("scaling", ABOUT),
    output:
        figures=figures("scaling"),
    log:
        "<logs>/draw_scaling.log",
    params:
        **runs("studies.scaling.figures.draw"),
        cfg=stage_cfg(
            "figures",
            metric=config["attribution"]["metric"],
            titles=titles(SCALING_TASKS),
            families=rules.summarise_scaling.params.cfg["families"],
            **some(SCALING, "tasks", "replacement", "classes"),
        ),


# The published numbers from the published tables: which come out, which do not, and why.
use rule reads_tables as check_published_scaling with:
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
        check=published_table("scaling"),
    log:
        "<logs>/check_published_scaling.log",
    params:
        **runs("studies.scaling.published_check.run"),
        cfg=stage_cfg("seed", **some(SCALING, "draws")),


rule check_published:
    input:
        rules.check_published_scaling.output,
        "<results>/tables/sequences/published_check.csv",


# Models whose shape is known here, under the names that they have in the config.
LOCAL_SHAPES = {
    name: source
    for name, source in config["model_sources"].items()
    if "path" in source and Path(source["path"], "config.json").is_file()
}


use rule reads_tables as check_table with:
    input:
        table=lambda wildcards: SCALING["tables"][wildcards.table]["file"],
        shapes=f"{PUBLISHED_SCALING}/shapes.csv",
        models=[f"{source['path']}/config.json" for source in LOCAL_SHAPES.values()],
    output:
        findings="<results>/tables/scaling/validation/{table}.csv",
        page="<results>/tables/scaling/validation/{table}.md",
    log:
        "<logs>/check_table/{table}.log",
    wildcard_constraints:
        table=one_of(SCALING["tables"]) or "none",
    params:
        **runs("studies.scaling.validator.run"),
        content=holds(lambda wildcards: SCALING["tables"][wildcards.table]["file"]),
        cfg={"names": list(LOCAL_SHAPES)},


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
