# Which components differ between two sets of texts, under a write budget, and whether that does anything.
CONTRAST = config["contrast"]
CONTRAST_FOLDER = "<results>/{model}/contrast/{set}"
# In an order that does not hang on that of the config.
CONTRAST_SETS = sorted(CONTRAST["sets"])
RECIPES = sorted(CONTRAST["recipes"], key=lambda name: (name != CONTRAST["reference"], name))
# Sets whose circuits can be tested: the task with an answer of each.
BEHAVIOURS = {
    name: contrast_checks.behaviour(each) for name, each in CONTRAST["sets"].items() if contrast_checks.behaviour(each)
}
CONTRAST_TITLES = {name: each.get("title", name) for name, each in CONTRAST["sets"].items()}

CONTRAST_FIGURES = {
    "component_bars": "Components by how they differ",
    "layer_map": "Where components differ",
    "lengths": "Length that looks like a difference",
    "difference_and_effect": "Differences and what components do",
    "behaviour": "Circuits among random ones",
    "budget_frontier": "Budget against what circuits keep",
    "inclusion": "How surely components are chosen",
}
REPLICATE_FIGURES = {
    "replicate": "Agreement of circuits, chance, and controls",
    "ranked_lists": "Two circuits side by side",
}
CONTRAST_TABLES = {
    "lengths": ("lengths.csv", "Comparisons without the difference"),
    "tests": ("tests.csv", "Circuits on the task"),
    "components": ("components.csv", "Differences and effects of components"),
    "differences": ("differences.csv", "Differences under all comparisons"),
    "circuits": ("circuits.csv", "Circuits of every budget"),
    "frontier": ("frontier.csv", "The sweep over budgets"),
    "inclusion": ("inclusion.csv", "Inclusion in bootstrap draws"),
}


rule measure_differences:
    input:
        model=model_inputs,
        about="<results>/{model}/model.json",
        examples=lambda wildcards: contrast_examples(wildcards, "task"),
        file=lambda wildcards: CONTRAST["sets"][wildcards.set].get("file", []),
    output:
        differences=f"{CONTRAST_FOLDER}/differences.parquet",
        draws=f"{CONTRAST_FOLDER}/draws.parquet",
        pairs=f"{CONTRAST_FOLDER}/pairs.parquet",
    log:
        "<logs>/measure_differences/{model}/{set}.log",
    wildcard_constraints:
        set=one_of(CONTRAST["sets"]),
    conda:
        "../envs/torch.yaml"
    resources:
        gpu=1,
    params:
        cfg=lambda wildcards: stage_cfg(
            "seed",
            dtype=config["compute"]["dtype"],
            held_out_share=config["examples"]["held_out_share"],
            recipes={
                name: {key: recipe[key] for key in ("positions", "score", "scale")}
                for name, recipe in CONTRAST["recipes"].items()
            },
            **{key: CONTRAST["sets"][wildcards.set][key] for key in ("paired", "first", "second", "cluster")},
            bos=contrast_bos(wildcards.set),
            **{key: CONTRAST[key] for key in ("controls", "filler", "longest", "flips", "draws")},
        ),
        code=code_hash("measure_differences.py"),
        compute=compute,
    script:
        "../workflow/scripts/measure_differences.py"


rule choose_circuits:
    input:
        model=model_inputs,
        about="<results>/{model}/model.json",
        differences=f"{CONTRAST_FOLDER}/differences.parquet",
        draws=f"{CONTRAST_FOLDER}/draws.parquet",
        examples=lambda wildcards: contrast_examples(wildcards, "behaviour"),
        scores=lambda wildcards: contrast_scores(wildcards, CONTRAST["attribution"]),
        files=lambda wildcards: sorted(each["file"] for each in contrast_circuits(wildcards.model).values()),
    output:
        circuits=f"{CONTRAST_FOLDER}/circuits.parquet",
        scores=f"{CONTRAST_FOLDER}/scores.parquet",
        inclusion=f"{CONTRAST_FOLDER}/inclusion.parquet",
    log:
        "<logs>/choose_circuits/{model}/{set}.log",
    wildcard_constraints:
        set=one_of(CONTRAST["sets"]),
    localrule: True
    conda:
        "../envs/analysis.yaml"
    params:
        cfg=lambda wildcards: stage_cfg(
            "seed",
            circuits=contrast_circuits(wildcards.model),
            recipes={
                name: {key: recipe[key] for key in ("rules", "mlp_threshold")}
                for name, recipe in CONTRAST["recipes"].items()
            },
            **{key: CONTRAST[key] for key in ("budget", "budgets", "attribution", "draws")},
        ),
        code=code_hash("choose_circuits.py"),
    script:
        "../workflow/scripts/choose_circuits.py"


rule evaluate_circuits:
    input:
        model=model_inputs,
        about="<results>/{model}/model.json",
        examples=lambda wildcards: contrast_examples(wildcards, "behaviour"),
        circuits=f"{CONTRAST_FOLDER}/circuits.parquet",
    output:
        # Rows that are still good are kept: a new budget runs only its own circuits.
        effects=update(f"{CONTRAST_FOLDER}/effects.parquet"),
    log:
        "<logs>/evaluate_circuits/{model}/{set}.log",
    wildcard_constraints:
        set=one_of(BEHAVIOURS),
    conda:
        "../envs/torch.yaml"
    resources:
        gpu=1,
    params:
        cfg=lambda wildcards: stage_cfg(
            "seed",
            kinds=["head", "mlp"],
            metric=config["attribution"]["metric"],
            dtype=config["compute"]["dtype"],
            accuracy=task_cfg(BEHAVIOURS[wildcards.set])["accuracy"],
            replacement=CONTRAST["replacement"],
            random_sets=CONTRAST["random_sets"],
            held_out=CONTRAST["held_out"],
        ),
        code=code_hash("evaluate_circuits.py"),
        rows_code=code_hash("circuit_reuse/effects.py"),
        compute=compute,
    script:
        "../workflow/scripts/evaluate_circuits.py"


rule summarise_contrast:
    input:
        about=contrast_models("<results>/{model}/model.json"),
        differences=contrast_sets(f"{CONTRAST_FOLDER}/differences.parquet"),
        circuits=contrast_sets(f"{CONTRAST_FOLDER}/circuits.parquet"),
        scores=contrast_sets(f"{CONTRAST_FOLDER}/scores.parquet"),
        inclusion=contrast_sets(f"{CONTRAST_FOLDER}/inclusion.parquet"),
        effects=contrast_sets(f"{CONTRAST_FOLDER}/effects.parquet", BEHAVIOURS),
        examples=contrast_models(CONTRAST_EXAMPLES, task=sorted(set(BEHAVIOURS.values()))),
        single=contrast_models(
            CONTRAST_SCORES,
            task=sorted(set(BEHAVIOURS.values())),
            method=CONTRAST["single"],
        ),
    output:
        **{name: contrast_table(*about) for name, about in CONTRAST_TABLES.items()},
        circuit_files=exported_circuits(),
        findings="<results>/tables/contrast/findings.md",
        page=shown(
            "<results>/tables/contrast/findings.html",
            "contrast_findings",
            "Contrast",
            shows="Findings, in words",
        ),
    log:
        "<logs>/summarise_contrast.log",
    localrule: True
    conda:
        "../envs/analysis.yaml"
    params:
        cfg=stage_cfg(
            "seed",
            "tests",
            models=CONTRAST["models"],
            sets=CONTRAST_SETS,
            recipe_names=RECIPES,
            titles=CONTRAST_TITLES,
            behaviours=BEHAVIOURS,
            **{
                key: CONTRAST[key]
                for key in (
                    "recipes",
                    "budget",
                    "attribution",
                    "replacement",
                    "random_sets",
                    "margin",
                    "longest",
                )
            },
        ),
        code=code_hash("summarise_contrast.py"),
    script:
        "../workflow/scripts/summarise_contrast.py"


rule replicate_circuits:
    input:
        about=contrast_models("<results>/{model}/model.json"),
        circuits=contrast_sets(f"{CONTRAST_FOLDER}/circuits.parquet"),
        scores=contrast_sets(f"{CONTRAST_FOLDER}/scores.parquet"),
        effects=contrast_sets(f"{CONTRAST_FOLDER}/effects.parquet", BEHAVIOURS),
        files=sorted(each["file"] for each in CONTRAST["circuits"].values()),
    output:
        replicate=contrast_table("replicate.csv", "Comparisons of circuits"),
        components=contrast_table("replicate_components.csv", ""),
        findings="<results>/tables/contrast/replicate.md",
        page=shown(
            "<results>/tables/contrast/replicate.html",
            "contrast_replicate_findings",
            "Contrast",
            shows="Comparisons of circuits, in words",
        ),
    log:
        "<logs>/replicate_circuits.log",
    localrule: True
    conda:
        "../envs/analysis.yaml"
    params:
        cfg=stage_cfg(
            models=CONTRAST["models"],
            sets=CONTRAST_SETS,
            recipe_names=RECIPES,
            circuits=CONTRAST["circuits"],
            alpha=config["tests"]["alpha"],
            **{key: CONTRAST[key] for key in ("recipes", "budget", "attribution", "controls")},
            **CONTRAST["replicate"],
        ),
        code=code_hash("replicate_circuits.py"),
    script:
        "../workflow/scripts/replicate_circuits.py"


rule draw_contrast:
    input:
        tables=[f"<results>/tables/contrast/{file}" for file, _ in CONTRAST_TABLES.values()],
    output:
        figures=[
            shown(
                f"<results>/figures/contrast/{name}.{kind}",
                f"contrast_{name}",
                "Contrast",
                shows=title,
            )
            for name, title in CONTRAST_FIGURES.items()
            for kind in config["figures"]["formats"]
        ],
    log:
        "<logs>/draw_contrast.log",
    localrule: True
    conda:
        "../envs/analysis.yaml"
    threads: 2
    params:
        cfg=stage_cfg(
            "figures",
            models=CONTRAST["models"],
            sets=CONTRAST_SETS,
            recipe_names=RECIPES,
            titles=CONTRAST_TITLES,
            alpha=config["tests"]["alpha"],
            **{key: CONTRAST[key] for key in ("recipes", "budget", "attribution", "margin")},
        ),
        code=code_hash("draw_contrast.py"),
    script:
        "../workflow/scripts/draw_contrast.py"


rule draw_replicate:
    input:
        tables=[
            "<results>/tables/contrast/replicate.csv",
            "<results>/tables/contrast/replicate_components.csv",
        ],
    output:
        figures=[
            shown(
                f"<results>/figures/contrast/{name}.{kind}",
                f"contrast_{name}",
                "Contrast",
                shows=title,
            )
            for name, title in REPLICATE_FIGURES.items()
            for kind in config["figures"]["formats"]
        ],
    log:
        "<logs>/draw_replicate.log",
    localrule: True
    conda:
        "../envs/analysis.yaml"
    params:
        cfg=stage_cfg("figures"),
        code=code_hash("draw_contrast.py"),
    script:
        "../workflow/scripts/draw_contrast.py"


rule replicate:
    input:
        rules.replicate_circuits.output,
        rules.draw_replicate.output,


rule contrast:
    input:
        rules.summarise_contrast.output,
        "<results>/tables/contrast/overview.json",
        rules.draw_contrast.output,
        rules.replicate.input,
