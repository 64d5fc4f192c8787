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
            tables=expand(
                "<results>/tables/{study}/{table}.csv",
                study=told_study,
                table=told_tables,
            ),
            about=expand(
                "<results>/{model}/model.json", model=studied_models(told_study)
            ),
        output:
            overview=f"<results>/tables/{told_study}/overview.json",
        log:
            f"<logs>/tell_findings/{told_study}.log",
        localrule: True
        conda:
            "../envs/analysis.yaml"
        params:
            cfg=overview_cfg(told_study),
            code=code_hash("tell_findings.py"),
        script:
            "../workflow/scripts/tell_findings.py"
