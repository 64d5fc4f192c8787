# The claims of published studies beside what a run says: one target a paper, and all of them.
use rule reads_tables as check_claims with:
    input:
        claims=f"{shipped('papers')}/{{study}}.yaml",
        all_tables=study_outputs,
        published=lambda wildcards: (
            [f"{PUBLISHED_SEQUENCES}/{name}.json" for name in ("circuits", "numbers")]
            if wildcards.study == "sequences"
            else []
        ),
    output:
        table="<results>/tables/papers/{study}.csv",
        findings="<results>/tables/papers/{study}.md",
        page="<results>/tables/papers/{study}.html",
    log:
        "<logs>/check_claims/{study}.log",
    wildcard_constraints:
        study=one_of(STUDIES),
    params:
        **runs("papers.stage_claims.check"),
        cfg=lambda wildcards: stage_cfg(
            config={"task_options": config["task_options"], wildcards.study: config.get(wildcards.study, {})},
            figures={
                STUDIES[wildcards.study].figures[name]: f"../../figures/{wildcards.study}/{name}"
                for name in STUDIES[wildcards.study].first
            },
            format=next(
                kind for kind in ("svg", "png", *config["figures"]["formats"]) if kind in config["figures"]["formats"]
            ),
        ),


for study in STUDIES:

    rule:
        name:
            f"paper_{study}"
        input:
            getattr(rules, study).input,
            f"<results>/tables/papers/{study}.html",


rule paper:
    input:
        [getattr(rules, f"paper_{study}").input for study in STUDIES],
