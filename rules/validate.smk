# Are the methods right where the truth is known, and the tests where nothing is there?
PLANTED = expand(
    "{task}-{architecture}",
    task=[
        "selector",
        "successor",
        "reverse",
        "induction",
        "chain",
        "and_gate",
        "or_gate",
    ],
    architecture=["gpt2", "neox"],
)

CALIBRATION = {key: config["validate"][key] for key in ("datasets", "power_datasets", "intervals")}


rule recover_planted:
    output:
        planted="<results>/validate/{planted}.parquet",
    log:
        "<logs>/recover_planted/{planted}.log",
    wildcard_constraints:
        planted=one_of(PLANTED),
    conda:
        "../envs/torch.yaml"
    resources:
        gpu=1,
    params:
        cfg=stage_cfg(
            steps=config["attribution"]["steps"],
            seeds=config["validate"]["seeds"],
            examples=config["validate"]["examples"],
        ),
        code=code_hash("recover_planted.py"),
    script:
        "../workflow/scripts/recover_planted.py"


rule summarise_planted:
    input:
        planted=expand("<results>/validate/{planted}.parquet", planted=PLANTED),
    output:
        planted="<results>/tables/validate/planted.csv",
        summary=shown(
            "<results>/tables/validate/planted_summary.csv",
            "planted_summary",
            "Validation",
            shows="Planted circuits, table",
        ),
        figures=[
            shown(
                f"<results>/figures/validate/planted.{kind}",
                "planted",
                "Validation",
                shows="Planted circuits",
            )
            for kind in config["figures"]["formats"]
        ],
    log:
        "<logs>/summarise_planted.log",
    localrule: True
    conda:
        "../envs/analysis.yaml"
    params:
        cfg=stage_cfg("figures"),
        code=code_hash("summarise_planted.py"),
    script:
        "../workflow/scripts/summarise_planted.py"


rule calibrate_tests:
    output:
        false_positives="<results>/tables/validate/false_positives.csv",
        power="<results>/tables/validate/power.csv",
        coverage="<results>/tables/validate/coverage.csv",
        figures=[
            shown(
                f"<results>/figures/validate/{name}.{kind}",
                name,
                "Validation",
                shows=name.replace("_", " ").capitalize(),
            )
            for name in ("false_positives", "power", "coverage")
            for kind in config["figures"]["formats"]
        ],
    log:
        "<logs>/calibrate_tests.log",
    localrule: True
    conda:
        "../envs/analysis.yaml"
    params:
        cfg=stage_cfg("seed", "figures", **CALIBRATION),
        code=code_hash("calibrate_tests.py"),
    script:
        "../workflow/scripts/calibrate_tests.py"


rule validate:
    input:
        rules.summarise_planted.output,
        rules.calibrate_tests.output,
