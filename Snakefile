from snakemake.utils import min_version

min_version("9.20")


configfile: "config/config.yaml"


include: "rules/common.smk"
include: "rules/studies.smk"


report: "workflow/report/workflow.rst"


warn_of_missing_records()


wildcard_constraints:
    model=one_of(config["model_sources"]),
    task=one_of([*registry.TASKS, *config["custom_tasks"]]),
    method=one_of(METHODS),
    shard=r"(scan|sequences|weights|contrast)?\d{4}",


include: "rules/models.smk"
include: "rules/examples.smk"
include: "rules/attribution.smk"
include: "rules/circuits.smk"
include: "rules/ablation.smk"
include: "rules/report.smk"
include: "rules/scaling.smk"
include: "rules/sequences.smk"
include: "rules/weights.smk"
include: "rules/contrast.smk"
include: "rules/faithfulness.smk"
include: "rules/validate.smk"
include: "rules/overview.smk"


remember()
if any(word.startswith("--report") for word in sys.argv):
    config["start_page"] = start_page.content(config, Path.cwd())


STARTED = time.time()


onstart:
    one_run_at_a_time()
    mend_times()
    warm.launch()
    if not WITH_DOT and SEQUENCES["diagrams"]["draw"] == "auto":
        logger.info(
            "Graphviz's program dot is not installed: circuits are drawn in the interactive page only "
            "(apt install graphviz, brew install graphviz or conda install graphviz)"
        )


onsuccess:
    print(start_page.summary(Path.cwd(), STARTED), file=sys.stderr)
    asked = {job.rule.name.removeprefix("tell_") for job in workflow.dag.jobs}
    if problem := start_page.nothing_left(Path.cwd(), asked):
        raise WorkflowError(problem)


rule all:
    default_target: True
    input:
        rules.reuse.input,
        rules.scaling.input,
        rules.sequences.input,
        rules.weights.input,
        rules.contrast.input,
        rules.list_skipped.output,


# The same on public models: with --configfile config/paper.yaml.
rule paper:
    input:
        rules.all.input,
