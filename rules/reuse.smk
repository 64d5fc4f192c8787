# Do the circuits of single examples share components, and is what they share specific to the task?
EXAMPLES = "<results>/{{model}}/{task}/examples/{shard}.parquet"
SCORES = "<results>/{{model}}/{task}/scores/{{method}}/{shard}.parquet"
OWN_EXAMPLES = expand("<results>/{{model}}/{{task}}/examples/{shard}.parquet", shard=shards())
OWN_SCORES = expand("<results>/{{model}}/{{task}}/scores/{{method}}/{shard}.parquet", shard=shards())
TASKS = {"task": config["tasks"], "shard": shards()}
CIRCUITS = "<results>/{model}/{task}/circuits/{method}"
ALL_CIRCUITS = expand("<results>/{{model}}/{task}/circuits/{{method}}.parquet", task=config["tasks"])
CHOSEN = some(config["cross_task"], "top_k", "threshold")
# What random circuits are drawn by; those of the same output norms are drawn where they are run.
DRAWN = {key: value for key, value in config["circuits"]["controls"].items() if key != "norm_strata"}


# Activation patching of a few examples, for the agreement of methods: a forward pass for every component.
use rule runs_model as patch_examples with:
    input:
        **MODEL,
        examples="<results>/{model}/{task}/examples/0000.parquet",
    output:
        exact="<results>/{model}/{task}/exact.parquet",
    log:
        "<logs>/patch_examples/{model}/{task}.log",
    params:
        **runs("studies.common.stage_scores.patch", METHODS["patching"].module),
        cfg=stage_cfg(**RUN, **some(config["agreement"], "examples")),


# How far a method's ranking is that of activation patching, example by example.
use rule reads_tables as compare_methods with:
    input:
        scores=expand("<results>/{{model}}/{task}/scores/{{method}}/0000.parquet", task=config["tasks"]),
        exact=expand("<results>/{{model}}/{task}/exact.parquet", task=config["tasks"]),
    output:
        agreement="<results>/{model}/agreement/{method}.parquet",
    log:
        "<logs>/compare_methods/{model}/{method}.log",
    params:
        **runs("studies.reuse.stage_agreement.compare"),
        cfg=stage_cfg("tasks", kinds=config["circuits"]["kinds"], top_k=config["circuits"]["top_k"][0]),


use rule reads_tables as share_circuits with:
    input:
        examples=OWN_EXAMPLES,
        scores=OWN_SCORES,
    output:
        circuits=f"{CIRCUITS}.parquet",
        inclusion=f"{CIRCUITS}.inclusion.parquet",
        similarity=f"{CIRCUITS}.similarity.parquet",
        clusters=f"{CIRCUITS}.clusters.parquet",
    log:
        "<logs>/share_circuits/{model}/{task}/{method}.log",
    params:
        **runs("studies.reuse.stage_circuits.share"),
        cfg=stage_cfg("seed", circuits=config["circuits"] | {"controls": DRAWN}, **USED),


# One job a model, because what tasks share generically is part of the null.
use rule reads_tables as measure_reuse with:
    input:
        examples=expand(EXAMPLES, **TASKS),
        scores=expand(SCORES, **TASKS),
    output:
        reuse="<results>/{model}/reuse/{method}.parquet",
    log:
        "<logs>/measure_reuse/{model}/{method}.log",
    params:
        **runs("studies.reuse.stage_overlap.measure"),
        cfg=stage_cfg("seed", "reuse", "tasks", **some(config["circuits"], "kinds", "top_k", "thresholds")),


# Rows that are still good are kept: a new threshold runs only what is new.
use rule runs_model as run_effects with:
    input:
        **MODEL,
        examples=OWN_EXAMPLES,
        circuits=f"{CIRCUITS}.parquet",
    output:
        effects=update("<results>/{model}/{task}/effects/{method}.parquet"),
    log:
        "<logs>/run_effects/{model}/{task}/{method}.log",
    params:
        **runs("studies.reuse.stage_effects.run"),
        rows_code=code_of("engine.effects"),
        cfg=lambda wildcards: stage_cfg(
            "seed",
            "ablation",
            kinds=config["circuits"]["kinds"],
            controls=some(config["circuits"]["controls"], "norm_strata", "random_sets"),
            **RUN,
            **USED,
            **task_cfg(wildcards.task, "accuracy"),
        ),


use rule reads_tables as test_circuits with:
    input:
        examples=OWN_EXAMPLES,
        effects="<results>/{model}/{task}/effects/{method}.parquet",
        circuits=f"{CIRCUITS}.parquet",
    output:
        tests="<results>/{model}/{task}/tests/{method}.parquet",
    log:
        "<logs>/test_circuits/{model}/{task}/{method}.log",
    params:
        **runs("studies.reuse.stage_tests.test"),
        cfg=stage_cfg("seed", **some(config["tests"], "permutations", "bootstrap")),


# The shared circuit of every task, what two share and what each has alone, removed on one task's examples.
use rule runs_model as cross_tasks with:
    input:
        **MODEL,
        examples=OWN_EXAMPLES,
        own=f"{CIRCUITS}.parquet",
        circuits=ALL_CIRCUITS,
    output:
        effects=update("<results>/{model}/{task}/cross_task/{method}.parquet"),
    log:
        "<logs>/cross_tasks/{model}/{task}/{method}.log",
    params:
        **runs("studies.reuse.stage_cross.run"),
        rows_code=code_of("engine.effects"),
        cfg=lambda wildcards: stage_cfg(
            "seed",
            "cross_task",
            replacement=config["ablation"]["replacement"],
            kinds=config["circuits"]["kinds"],
            **RUN,
            **task_cfg(wildcards.task, "accuracy"),
        ),


use rule reads_tables as test_cross_tasks with:
    input:
        examples=expand(EXAMPLES, **TASKS),
        effects=expand("<results>/{{model}}/{task}/cross_task/{{method}}.parquet", task=config["tasks"]),
        circuits=ALL_CIRCUITS,
        about=ABOUT,
    output:
        table="<results>/{model}/cross_task/{method}.parquet",
        specificity="<results>/{model}/cross_task/{method}.specificity.parquet",
        overlap="<results>/{model}/cross_task/{method}.overlap.parquet",
    log:
        "<logs>/test_cross_tasks/{model}/{method}.log",
    params:
        **runs("studies.reuse.stage_cross_tests.test"),
        cfg=stage_cfg(
            "seed",
            "cross_task",
            "tasks",
            kinds=config["circuits"]["kinds"],
            **some(config["tests"], "permutations", "bootstrap"),
        ),


include: "reuse_variants.smk"


use rule reads_tables as summarise_reuse with:
    input:
        **fine_grained_tables(),
        some_optimal=optimal_tables(),
        all_examples=by_task("<results>/{model}/{task}/examples/{shard}.parquet", shard=shards()),
        inclusion=by_task(f"{CIRCUITS}.inclusion.parquet", config["methods"]),
        tests=by_task("<results>/{model}/{task}/tests/{method}.parquet", config["methods"]),
        reuse=by_model("<results>/{model}/reuse/{method}.parquet", config["methods"]),
        cross=by_model("<results>/{model}/cross_task/{method}.parquet", config["methods"]),
        specificity=by_model("<results>/{model}/cross_task/{method}.specificity.parquet", config["methods"]),
        overlap=by_model("<results>/{model}/cross_task/{method}.overlap.parquet", config["methods"]),
        some_stability=by_task("<results>/{model}/{task}/stability.parquet"),
        some_generic=generic_tables(config["methods"]),
        some_agreement=agreement_tables(config["methods"]),
    output:
        **study_tables("reuse"),
        latex="<results>/tables/reuse/permutation_summary.tex",
        metrics=by_task("<results>/tables/reuse/{model}/{task}/metrics.json"),
    log:
        "<logs>/summarise_reuse.log",
    params:
        **runs("studies.reuse.summary.summarise"),
        cfg=stage_cfg(
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
                **some(config["tests"], "permutations", "bootstrap"),
            ),
        ),


# One rule a method, as the figures of the first one have the plain names.
for draw_method in config["methods"]:

    rule:
        name:
            f"draw_reuse_{draw_method.replace('-', '_')}"
        input:
            tests=by_task("<results>/{model}/{task}/tests/{method}.parquet", draw_method),
            reuse=by_model("<results>/{model}/reuse/{method}.parquet", draw_method),
            inclusion=by_task(f"{CIRCUITS}.inclusion.parquet", draw_method),
            similarity=by_task(f"{CIRCUITS}.similarity.parquet", draw_method),
            clusters=by_task(f"{CIRCUITS}.clusters.parquet", draw_method),
            effects=by_task("<results>/{model}/{task}/effects/{method}.parquet", draw_method),
            scores=by_task("<results>/{model}/{task}/scores/{method}/{shard}.parquet", draw_method, shard=shards()),
            cross=by_model("<results>/{model}/cross_task/{method}.parquet", draw_method),
            specificity=by_model("<results>/{model}/cross_task/{method}.specificity.parquet", draw_method),
            some_generic=generic_tables(draw_method, ".sets"),
            some_agreement=agreement_tables(draw_method),
            fine=fine_grained_tables()["fine"],
        output:
            figures=reuse_figures(draw_method),
        log:
            f"<logs>/draw_reuse/{draw_method}.log",
        localrule: True
        conda:
            "../envs/analysis.yaml"
        threads: 2
        params:
            **runs("studies.reuse.figures.draw"),
            cfg=stage_cfg(
                "models",
                "tasks",
                "figures",
                titles=titles(),
                method=draw_method,
                metric=config["attribution"]["metric"],
                kinds=config["circuits"]["kinds"],
                chosen=CHOSEN,
                series=SERIES,
                **ALPHA,
            ),
        script:
            "../workflow/scripts/run.py"


# One page a model in which one can look at every component of its shared circuits.
use rule reads_tables as show_circuits with:
    input:
        circuits=by_task(f"{CIRCUITS}.parquet", config["methods"][0]),
        inclusion=by_task(f"{CIRCUITS}.inclusion.parquet", config["methods"][0]),
        fine_shared=fine_grained_tables()["fine_shared"],
    output:
        pages=circuit_page_files("reuse"),
    log:
        "<logs>/show_circuits.log",
    params:
        **runs("studies.reuse.component_pages.draw"),
        template=text_hash("report/circuits.html"),
        cfg=stage_cfg("models", titles=titles(), chosen=CHOSEN, unit=UNITS[config["attribution"]["metric"]]),


rule reuse:
    input:
        rules.summarise_reuse.output,
        rules.show_circuits.output,
        "<results>/tables/reuse/overview.json",
        [reuse_figures(method) for method in config["methods"]],
