# What a study found in a few sentences, from its tables, and what was left out.
use rule reads_tables as write_findings with:
    input:
        all_tables=lambda wildcards: [
            STUDIES[wildcards.study].file(name, config) for name in STUDIES[wildcards.study].reads
        ],
        about=lambda wildcards: of_study(wildcards.study, ABOUT),
        all_results=lambda wildcards: [path for path, _ in STUDIES[wildcards.study].results(config)],
        details=lambda wildcards: (
            findings_details(wildcards.study) if STUDIES[wildcards.study].details == "summary" else []
        ),
    output:
        **findings_page("{study}", "findings", "findings", "Findings, in words"),
        overview="<results>/tables/{study}/overview.json",
        skipped="<results>/tables/{study}/skipped.csv",
    log:
        "<logs>/write_findings/{study}.log",
    wildcard_constraints:
        study=one_of(STUDIES),
    params:
        run="studies.common.stage_findings.write",
        code=lambda wildcards: code_of("studies.common.stage_findings", *findings_modules(wildcards.study)),
        cfg=lambda wildcards: findings_cfg(wildcards.study),


# What was left out, and why, of all studies.
use rule reads_tables as list_skipped with:
    input:
        skipped=expand("<results>/tables/{study}/skipped.csv", study=STUDIES),
    output:
        skipped="<results>/tables/skipped.csv",
    log:
        "<logs>/list_skipped.log",
    params:
        **runs("studies.common.stage_findings.list_skipped"),


# What the tables for people hold.
use rule reads_tables as describe_tables with:
    output:
        readme="<results>/tables/README.md",
    log:
        "<logs>/describe_tables.log",
    params:
        **runs("studies.common.stage_tables.describe"),
        cfg=stage_cfg(
            files={
                name: {table: study.file(table, config) for table in study.tables} for name, study in STUDIES.items()
            }
        ),
