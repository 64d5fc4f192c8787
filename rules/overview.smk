# What each study found in a few sentences, from its tables.
OVERVIEW_TABLES = {
    "reuse": ["summary"],
    "scaling": ["models", "head_category_summary", "hero_vs_random", "fits"],
    "sequences": ["circuits", "overlap", "cross_task"],
    "weights": ["readings", "tests"],
    "contrast": ["lengths", "tests", "replicate"],
}

for told_study, told_tables in OVERVIEW_TABLES.items():

    rule:
        name:
            f"tell_{told_study}"
        input:
            all_tables=expand(
                "<results>/tables/{study}/{table}.csv",
                study=told_study,
                table=told_tables,
            ),
            about=expand("<results>/{model}/model.json", model=studied_models(told_study)),
            all_results=[path for path, _ in study_results(told_study)],
        output:
            overview=f"<results>/tables/{told_study}/overview.json",
            skipped=f"<results>/tables/{told_study}/skipped.csv",
        log:
            f"<logs>/tell_findings/{told_study}.log",
        localrule: True
        conda:
            "../envs/analysis.yaml"
        params:
            cfg=overview_cfg(told_study) | {"pairs": [pair for _, pair in study_results(told_study)]},
            code=code_hash("tell_findings.py"),
        script:
            "../workflow/scripts/tell_findings.py"


# What was left out, and why, of all studies.
rule list_skipped:
    input:
        skipped=expand("<results>/tables/{study}/skipped.csv", study=OVERVIEW_TABLES),
    output:
        skipped="<results>/tables/skipped.csv",
    log:
        "<logs>/list_skipped.log",
    localrule: True
    conda:
        "../envs/analysis.yaml"
    params:
        code=code_hash("list_skipped.py"),
    script:
        "../workflow/scripts/list_skipped.py"
