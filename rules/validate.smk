# Are the methods right where the truth is known, and the tests where nothing is there?
PLANTED = expand(
    "{task}-{architecture}",
    task=["selector", "successor", "reverse", "induction", "chain", "and_gate", "or_gate"],
    architecture=["gpt2", "neox"],
)
CALIBRATED = ("false_positives", "power", "coverage")


use rule runs_model as recover_planted with:
    output:
        planted="<results>/validate/{planted}.parquet",
    log:
        "<logs>/recover_planted/{planted}.log",
    wildcard_constraints:
        planted=one_of(PLANTED),
    params:
        **runs("validate.planted_recovery.run", *(method.module for method in METHODS.values())),
        cfg=stage_cfg(**some(config["attribution"], "steps"), **some(config["validate"], "seeds", "examples")),


use rule reads_tables as summarise_planted with:
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
        figures=shown_figures("validate", "Validation", {"planted": "Planted circuits"}),
    log:
        "<logs>/summarise_planted.log",
    params:
        **runs("validate.planted_summary.run"),
        cfg=stage_cfg("figures"),


use rule reads_tables as calibrate_tests with:
    output:
        **{name: f"<results>/tables/validate/{name}.csv" for name in CALIBRATED},
    log:
        "<logs>/calibrate_tests.log",
    params:
        **runs("validate.stage_calibration.simulate"),
        cfg=stage_cfg("seed", **some(config["validate"], "datasets", "power_datasets", "intervals")),


use rule reads_tables as draw_calibration with:
    input:
        **{name: f"<results>/tables/validate/{name}.csv" for name in CALIBRATED},
    output:
        figures=shown_figures(
            "validate", "Validation", {name: name.replace("_", " ").capitalize() for name in CALIBRATED}
        ),
    log:
        "<logs>/draw_calibration.log",
    params:
        **runs("validate.plots_calibration.draw"),
        cfg=stage_cfg("figures"),


rule validate:
    input:
        rules.summarise_planted.output,
        rules.calibrate_tests.output,
        rules.draw_calibration.output,
