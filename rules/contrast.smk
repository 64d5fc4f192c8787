# Which components differ between two sets of texts, under a write budget, and whether that does anything.
CONTRAST = config["contrast"]
CONTRAST_FOLDER = "<results>/{model}/contrast/{set}"
# Sets whose circuits can be tested: the task with an answer of each.
BEHAVIOURS = {
    name: contrast_checks.behaviour(each) for name, each in CONTRAST["sets"].items() if contrast_checks.behaviour(each)
}
BEHAVIOUR_TASKS = sorted(set(BEHAVIOURS.values()))
REPLICATED = ("replicate", "replicate_components")
REPLICATE_FIGURES = ("replicate", "ranked_lists")
CONTRAST_SHOWN = {
    # In an order that does not depend on that of the config.
    "sets": sorted(CONTRAST["sets"]),
    "scoring_names": sorted(CONTRAST["scorings"], key=lambda name: (name != CONTRAST["reference"], name)),
    **some(CONTRAST, "models", "scorings", "budget", "attribution"),
}
CONTRAST_TITLES = {name: each.get("title", name) for name, each in CONTRAST["sets"].items()}


use rule runs_model as measure_differences with:
    input:
        **MODEL,
        examples=lambda wildcards: contrast_examples(wildcards, "task"),
        file=set_file,
    output:
        **{name: f"{CONTRAST_FOLDER}/{name}.parquet" for name in ("differences", "draws", "pairs")},
    log:
        "<logs>/measure_differences/{model}/{set}.log",
    wildcard_constraints:
        set=one_of(CONTRAST["sets"]),
    params:
        **runs("studies.contrast.stage_differences.differences"),
        content=holds(set_file),
        cfg=lambda wildcards: stage_cfg(
            "seed",
            scorings={
                name: some(scoring, "positions", "score", "scale") for name, scoring in CONTRAST["scorings"].items()
            },
            bos=contrast_bos(wildcards.set),
            **some(config["compute"], "dtype"),
            **some(config["examples"], "held_out_share"),
            **some(CONTRAST["sets"][wildcards.set], "paired", "first", "second", "cluster"),
            **some(CONTRAST, "controls", "filler", "longest", "flips", "draws"),
        ),


use rule reads_tables as choose_circuits with:
    input:
        **MODEL,
        differences=f"{CONTRAST_FOLDER}/differences.parquet",
        draws=f"{CONTRAST_FOLDER}/draws.parquet",
        some_examples=lambda wildcards: contrast_examples(wildcards, "behaviour"),
        some_scores=lambda wildcards: contrast_scores(wildcards, CONTRAST["attribution"]),
        files=lambda wildcards: sorted(each["file"] for each in contrast_circuits(wildcards.model).values()),
    output:
        **{name: f"{CONTRAST_FOLDER}/{name}.parquet" for name in ("circuits", "scores", "inclusion")},
    log:
        "<logs>/choose_circuits/{model}/{set}.log",
    wildcard_constraints:
        set=one_of(CONTRAST["sets"]),
    params:
        **runs("studies.contrast.stage_choose.choose"),
        content=holds(lambda wildcards: [each["file"] for each in contrast_circuits(wildcards.model).values()]),
        cfg=lambda wildcards: stage_cfg(
            "seed",
            circuits=contrast_circuits(wildcards.model),
            scorings={name: some(scoring, "rules", "mlp_threshold") for name, scoring in CONTRAST["scorings"].items()},
            **some(CONTRAST, "budget", "budgets", "attribution", "draws"),
        ),


# Rows that are still good are kept: a new budget runs only its own circuits.
use rule runs_model as evaluate_circuits with:
    input:
        **MODEL,
        examples=lambda wildcards: contrast_examples(wildcards, "behaviour"),
        circuits=f"{CONTRAST_FOLDER}/circuits.parquet",
    output:
        effects=update(f"{CONTRAST_FOLDER}/effects.parquet"),
    log:
        "<logs>/evaluate_circuits/{model}/{set}.log",
    wildcard_constraints:
        set=one_of(BEHAVIOURS),
    params:
        **runs("studies.contrast.stage_evaluate.evaluate"),
        rows_code=code_of("engine.effects"),
        cfg=lambda wildcards: stage_cfg(
            "seed",
            kinds=["head", "mlp"],
            **RUN,
            **task_cfg(BEHAVIOURS[wildcards.set], "accuracy"),
            **some(CONTRAST, "replacement", "random_sets", "held_out"),
        ),


use rule reads_tables as summarise_contrast with:
    input:
        **{
            name: contrast_sets(f"{CONTRAST_FOLDER}/{name}.parquet")
            for name in ("differences", "circuits", "scores", "inclusion")
        },
        about=of_study("contrast", ABOUT),
        some_effects=contrast_sets(f"{CONTRAST_FOLDER}/effects.parquet", BEHAVIOURS),
        some_examples=of_study("contrast", CONTRAST_EXAMPLES, task=BEHAVIOUR_TASKS),
        some_single=of_study("contrast", CONTRAST_SCORES, task=BEHAVIOUR_TASKS, method=CONTRAST["single"]),
    output:
        **study_tables("contrast", REPLICATED),
        details=findings_details("contrast"),
    log:
        "<logs>/summarise_contrast.log",
    params:
        **runs("studies.contrast.summary.summarise"),
        cfg=stage_cfg(
            "seed",
            "tests",
            titles=CONTRAST_TITLES,
            behaviours=BEHAVIOURS,
            **CONTRAST_SHOWN,
            **some(CONTRAST, "replacement", "random_sets", "margin", "longest"),
        ),


# Circuits in the formats of other tools.
use rule reads_tables as export_circuits with:
    input:
        about=of_study("contrast", ABOUT),
        circuits=contrast_sets(f"{CONTRAST_FOLDER}/circuits.parquet"),
        scores=contrast_sets(f"{CONTRAST_FOLDER}/scores.parquet"),
    output:
        circuit_files=exported_circuits(),
    log:
        "<logs>/export_circuits.log",
    params:
        **runs("studies.contrast.stage_export.export"),
        cfg=stage_cfg(behaviours=BEHAVIOURS, **some(CONTRAST, "scorings")),


use rule reads_tables as replicate_circuits with:
    input:
        about=of_study("contrast", ABOUT),
        circuits=contrast_sets(f"{CONTRAST_FOLDER}/circuits.parquet"),
        scores=contrast_sets(f"{CONTRAST_FOLDER}/scores.parquet"),
        some_effects=contrast_sets(f"{CONTRAST_FOLDER}/effects.parquet", BEHAVIOURS),
        files=sorted(each["file"] for each in CONTRAST["circuits"].values()),
    output:
        **findings_page("contrast", "replicate", "contrast_replicate_findings", "Comparisons of circuits, in words"),
        replicate=table("contrast", "replicate"),
        replicate_components=table("contrast", "replicate_components"),
    log:
        "<logs>/replicate_circuits.log",
    params:
        **runs("studies.contrast.stage_replicate.report"),
        content=holds([each["file"] for each in CONTRAST["circuits"].values()]),
        cfg=stage_cfg(**CONTRAST_SHOWN, **ALPHA, **some(CONTRAST, "circuits", "controls"), **CONTRAST["replicate"]),


use rule draws_figures as draw_contrast with:
    input:
        tables=[table("contrast", name) for name in STUDIES["contrast"].tables if name not in REPLICATED],
    output:
        figures=figures("contrast", [name for name in STUDIES["contrast"].figures if name not in REPLICATE_FIGURES]),
    log:
        "<logs>/draw_contrast.log",
    params:
        **runs("studies.contrast.figures.draw"),
        cfg=stage_cfg("figures", titles=CONTRAST_TITLES, **CONTRAST_SHOWN, **ALPHA, **some(CONTRAST, "margin")),


use rule reads_tables as show_budget_circuits with:
    input:
        tables=[table("contrast", name) for name in ("circuits", "components", "inclusion")],
    output:
        pages=circuit_page_files("contrast"),
    log:
        "<logs>/show_budget_circuits.log",
    params:
        **runs("studies.contrast.budget_pages.draw"),
        template=text_hash("report/circuits.html"),
        cfg=stage_cfg(models=CONTRAST["models"], titles=CONTRAST_TITLES),


use rule draws_figures as draw_replicate with:
    input:
        tables=[table("contrast", name) for name in REPLICATED],
    output:
        figures=figures("contrast", REPLICATE_FIGURES),
    log:
        "<logs>/draw_replicate.log",
    params:
        **runs("studies.contrast.figures.draw"),
        cfg=stage_cfg("figures"),


rule replicate:
    input:
        rules.replicate_circuits.output,
        rules.draw_replicate.output,


rule contrast:
    input:
        rules.summarise_contrast.output,
        rules.export_circuits.output,
        "<results>/tables/contrast/overview.json",
        rules.draw_contrast.output,
        rules.show_budget_circuits.output,
        rules.replicate.input,
