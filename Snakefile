from pathlib import Path

from snakemake.utils import min_version

min_version("9.20")

# A run in another folder (--directory, or -s from elsewhere) has its results there, and the project's config if it has none.
OWN_CONFIG = Path("config", "config.yaml")


configfile: OWN_CONFIG if OWN_CONFIG.is_file() else Path(workflow.basedir, OWN_CONFIG)


include: "rules/common.smk"
include: "rules/studies.smk"


report: "workflow/report/workflow.rst"


warn_of_missing_records()


wildcard_constraints:
    model=one_of(config["model_sources"]),
    task=one_of([*tasks.TASKS, *config["custom_tasks"]]),
    method=one_of(METHODS),
    shard=rf"({one_of(study.shards for study in STUDIES.values())})\d{{4}}",


include: "rules/base.smk"
include: "rules/models.smk"
include: "rules/examples.smk"


for study in STUDIES:

    include: f"rules/{study}.smk"


include: "rules/faithfulness.smk"
include: "rules/validate.smk"
include: "rules/overview.smk"
include: "rules/papers.smk"


# Rules that run no model stay where Snakemake runs; `use rule` does not take over a localrule of the rule it builds on.
workflow.localrules(*(each.name for each in workflow.rules if "gpu" not in each.resources))
remember()
if any(word.startswith("--report") for word in sys.argv):
    config["start_page"] = start_page.content(config, Path.cwd())


STARTED = time.time()


onstart:
    one_run_at_a_time()
    check_job_status()
    cancel_orphans()
    mend_times()
    warm.launch()
    look_for_jobs_when_one_ends()
    scheduling.longest_chains_first(workflow.dag, config["model_sources"])
    if not WITH_DOT and config["sequences"]["diagrams"]["draw"] == "auto":
        logger.info(
            "Graphviz's program dot is not installed: circuits are drawn in the interactive page only "
            "(apt install graphviz, brew install graphviz or conda install graphviz)"
        )


onsuccess:
    print(start_page.summary(Path.cwd(), STARTED), file=sys.stderr)
    if text := stale_results.message(stale_results.left(stale_results.used_by(config), Path.cwd())):
        print(text, file=sys.stderr)
    made = study_configs.made_by(path for job in workflow.dag.jobs for path in job.output)
    asked = {job.wildcards.study for job in workflow.dag.jobs if job.rule.name == "write_findings"}
    if page := index_page.write(config, Path.cwd(), NOT_ASKED, made, made - asked):
        print(f"Open {page.relative_to(Path.cwd())} in a browser.", file=sys.stderr)
    if problem := start_page.nothing_left(Path.cwd(), asked):
        raise WorkflowError(problem)


rule all:
    default_target: True
    input:
        [getattr(rules, study).input for study in STUDIES],
        rules.list_skipped.output,
        rules.describe_tables.output,
