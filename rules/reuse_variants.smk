# The same questions of other units, settings and texts: edges, positions, blocks and neurons; steps and corruptions; ordinary text; optimal constants.


# The same question of edges, of components at the positions of named words, of whole blocks and of single neurons: one job a level.
use rule runs_model as share_fine_grained with:
    input:
        **MODEL,
        examples=OWN_EXAMPLES,
    output:
        reuse="<results>/{model}/{task}/fine_grained/{level}.parquet",
        shared="<results>/{model}/{task}/fine_grained/{level}.shared.parquet",
    log:
        "<logs>/share_fine_grained/{model}/{task}/{level}.log",
    wildcard_constraints:
        level=one_of([*config["fine_grained"]["top_k"], "component"]),
    params:
        **runs("studies.reuse.stage_fine_grained.share"),
        cfg=lambda wildcards: fine_grained_cfg(wildcards.level),


# Scores with other integration steps and against another corruption, for the stability of the shared circuit.
use rule runs_model as score_variants with:
    input:
        **MODEL,
        examples=OWN_EXAMPLES,
    output:
        variants="<results>/{model}/{task}/variants.parquet",
    log:
        "<logs>/score_variants/{model}/{task}.log",
    params:
        **runs("studies.reuse.stage_variants.score", METHODS[config["methods"][0]].module),
        cfg=stage_cfg(
            "seed",
            method=config["methods"][0],
            corruption=config["stability"]["corruption"],
            variant_steps=config["stability"]["steps"],
            **RUN,
            **asked_steps(config["methods"][0]),
        ),


# How far the shared circuit depends on the examples, the template and the method.
use rule reads_tables as measure_stability with:
    input:
        examples=OWN_EXAMPLES,
        scores=expand(
            "<results>/{{model}}/{{task}}/scores/{method}/{shard}.parquet", method=config["methods"], shard=shards()
        ),
        variants="<results>/{model}/{task}/variants.parquet" if VARIANTS else [],
    output:
        stability="<results>/{model}/{task}/stability.parquet",
    log:
        "<logs>/measure_stability/{model}/{task}.log",
    params:
        **runs("studies.reuse.stage_stability.measure"),
        cfg=stage_cfg("seed", "methods", cross_task=CHOSEN, **some(config["circuits"], "kinds", "halves")),


# Whether what a task needs is what any text needs.
use rule runs_model as run_texts with:
    input:
        **MODEL,
        circuits=ALL_CIRCUITS,
        texts=ordinary_text,
    output:
        runs="<results>/{model}/generic/{method}.runs.parquet",
    log:
        "<logs>/run_texts/{model}/{method}.log",
    params:
        **runs("studies.reuse.stage_generic.run"),
        content=holds(ordinary_text),
        cfg=stage_cfg(
            cross_task=CHOSEN,
            dtype=config["compute"]["dtype"],
            **some(config["generic"], "count", "longest", "random_sets"),
        ),


use rule reads_tables as test_generic with:
    input:
        runs="<results>/{model}/generic/{method}.runs.parquet",
        effects=expand("<results>/{{model}}/{task}/effects/{{method}}.parquet", task=config["tasks"]),
        circuits=ALL_CIRCUITS,
    output:
        generic="<results>/{model}/generic/{method}.parquet",
        sets="<results>/{model}/generic/{method}.sets.parquet",
    log:
        "<logs>/test_generic/{model}/{method}.log",
    params:
        **runs("studies.reuse.stage_generic_tests.test"),
        cfg=stage_cfg("seed", cross_task=CHOSEN, **some(config["tests"], "bootstrap")),


# The circuit, and random sets of its layers, removed by the constants that do least harm.
use rule runs_model as ablate_optimally with:
    input:
        **MODEL,
        examples=OWN_EXAMPLES,
        circuits=f"{CIRCUITS}.parquet",
    output:
        runs="<results>/{model}/{task}/optimal/{method}.parquet",
    log:
        "<logs>/ablate_optimally/{model}/{task}/{method}.log",
    params:
        **runs("studies.reuse.stage_optimal.ablate"),
        cfg=stage_cfg(cross_task=CHOSEN, **RUN, **some(config["optimal_ablation"], "random_sets", "rate", "steps")),
