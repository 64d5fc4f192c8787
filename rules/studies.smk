# What the rules of the studies ask for: functions only, as the linter wants them apart from rules.
FINE_GRAINED = [level for level, k in config["fine_grained"]["top_k"].items() if k]
FINE_GRAINED += ["component"] if config["fine_grained"]["score_thresholds"] else []
# Levels whose units can be removed; the faithfulness curves test edges.
REMOVED_UNITS = [level for level in FINE_GRAINED if level != "edge"]
VARIANTS = config["stability"]["corruption"] or config["stability"]["steps"]
# Tables and figures that a config may leave out, and whether it asks for them.
ASKED_TABLES = {
    "agreement": config["agreement"]["examples"],
    "fine_grained": FINE_GRAINED,
    "fine_grained_shared": FINE_GRAINED,
    "optimal": config["optimal_ablation"]["steps"],
    "backups": config["scaling"]["backups"]["heroes"],
}
# Checkpoints of one model among the models, by step.
SERIES = series.of_models(config["models"], config["model_sources"])
ASKED_FIGURES = {
    "checkpoints": SERIES,
    "method_agreement": config["agreement"]["examples"],
    "generic": config["generic"]["count"],
    "fine_grained": FINE_GRAINED,
    "granularity": REMOVED_UNITS,
    "backups": config["scaling"]["backups"]["heroes"],
}
# What lies in results/ under these names is of an earlier run.
NOT_ASKED = {name for names in (ASKED_TABLES, ASKED_FIGURES) for name, asked in names.items() if not asked}


def agreement_tables(methods):
    """Agreement with activation patching of every model, if it is measured at all."""
    return by_model("<results>/{model}/agreement/{method}.parquet", methods) if ASKED_TABLES["agreement"] else []


def fine_grained_tables():
    """Reuse of the units of each level that is asked for, and what is shared."""
    path = "<results>/{model}/{task}/fine_grained/{level}"
    ends = {"fine": "", "fine_shared": ".shared"}
    return {name: by_task(f"{path}{end}.parquet", level=FINE_GRAINED) for name, end in ends.items()}


def fine_grained_cfg(level):
    """What the stage of one level of units needs; what removes them only where they can be removed."""
    block, removed = config["fine_grained"], {}
    if level in REMOVED_UNITS:
        removed = some(block, "random_sets") | some(config["circuits"], "kinds")
        removed |= some(config["ablation"], "replacement") | BOOTSTRAP
    return stage_cfg(
        "seed",
        **RUN,
        **USED,
        level=level,
        top_k=block["top_k"].get(level, 0),
        score_thresholds=block["score_thresholds"] if level == "component" else [],
        **some(config["attribution"], "steps"),
        **some(config["circuits"], "thresholds"),
        **some(block, "draws"),
        **removed,
    )


def backup_tables():
    """Scans of heads without the heroes, if they are asked for."""
    path = "<results>/{model}/heads/{task}/backups.parquet"
    return of_study("scaling", path, task=config["scaling"]["tasks"]) if ASKED_TABLES["backups"] else []


def optimal_tables():
    """Circuits removed by learned constants, if that is asked for."""
    path = "<results>/{model}/{task}/optimal/{method}.parquet"
    return by_task(path, config["methods"]) if ASKED_TABLES["optimal"] else []


def generic_tables(methods, ending=""):
    """Loss of ordinary text without the circuits of every model, if it is measured at all."""
    path = f"<results>/{{model}}/generic/{{method}}{ending}.parquet"
    return by_model(path, methods) if ASKED_FIGURES["generic"] else []


def ordinary_text(wildcards):
    """The file of ordinary text of a model: that of the config, or one that the model knows the words of."""
    return generic_texts(wildcards.model, config, PROJECT)


def by_task(path, methods="", **more):
    """A file of every model, task and method of the reuse study."""
    return expand(path, model=config["models"], task=config["tasks"], method=methods, **more)


def by_model(path, methods):
    """A file of every model and method of the reuse study."""
    return expand(path, model=config["models"], method=methods)


def titles(tasks=None):
    """Names of tasks in figures and tables."""
    return {task: task_title(task) for task in (config["tasks"] if tasks is None else tasks)}


def shown(path, caption, category, **labels):
    """A figure or table with its caption for the report; of a figure, one format is enough."""
    kind = Path(path).suffix[1:]
    chosen = "svg" if "svg" in config["figures"]["formats"] else "png"
    if kind in ("svg", "png", "pdf") and kind != chosen:
        return path
    return report(path, caption=f"../workflow/report/{caption}.rst", category=category, labels=labels)


def shown_figures(folder, category, names, prefix="", **labels):
    """All formats of some figures, {name: title}, in a folder of figures."""
    return [
        shown(f"<results>/figures/{folder}/{name}.{kind}", f"{prefix}{name}", category, shows=title, **labels)
        for name, title in names.items()
        for kind in config["figures"]["formats"]
    ]


def figures(study, names=None, folder=None, **labels):
    """The figures of a study that the config asks for, or some, with their captions."""
    about = STUDIES[study]
    names = [name for name in about.figures if ASKED_FIGURES.get(name, True)] if names is None else names
    chosen = {name: about.figures[name] for name in names}
    return shown_figures(folder or study, about.title, chosen, f"{study}_", **labels)


def table(study, name):
    """A table of a study, with its caption in the report if it has a title."""
    about, path = STUDIES[study], STUDIES[study].file(name, config)
    title = about.tables[name][1]
    if not title:
        return path
    own = f"{study}_{Path(path).stem}_table"
    caption = own if (PROJECT / "workflow" / "report" / f"{own}.rst").is_file() else f"{study}_table"
    return shown(path, caption, about.title, shows=f"{title} (table)")


def study_tables(study, without=()):
    """The tables of a study that the config asks for, less some, by the name of the output."""
    names = [name for name in STUDIES[study].tables if ASKED_TABLES.get(name, True) and name not in without]
    return {name: table(study, name) for name in names}


def reuse_figures(method):
    """Figure files of a method; the first method's have the plain names."""
    folder = "reuse" if method == config["methods"][0] else f"reuse/{method}"
    return figures("reuse", folder=folder, method=method)


def circuit_page_files(study):
    """The interactive pages of a study's circuits, one a model."""
    return [
        shown(
            f"<results>/figures/{study}/{model}/circuits.html",
            "circuits_page",
            STUDIES[study].title,
            shows="Circuits, interactive",
            model=model,
        )
        for model in STUDIES[study].models(config)
    ]


def findings_modules(study):
    """The modules that its sentences, and what the same tables say in detail, are written by."""
    more = [f"studies.{study}.findings"] if STUDIES[study].details == "findings" else []
    return [f"studies.{study}.sentences", *more]


def findings_details(study):
    """What a study says of its numbers, before the sentences that its page begins with."""
    return f"<results>/tables/{study}/.details.md"


def findings_page(study, name, caption, title):
    """A page of findings as text and in the report; study: its name, or {study} for a rule of all."""
    path = f"<results>/tables/{study}/{name}"
    # Of the same case as elsewhere: names of categories that differ by case alone are one target of a link.
    category = (lambda wildcards: wildcards.study.capitalize()) if study == "{study}" else study.capitalize()
    return {"findings": f"{path}.md", "page": shown(f"{path}.html", caption, category, shows=title)}


def published_table(study):
    """The comparison of a study's published numbers with those recomputed."""
    path = f"<results>/tables/{study}/published_check.csv"
    return shown(path, f"{study}_published", STUDIES[study].title, shows="Published numbers (table)")


def of_study(study, path, **more):
    """A file of every model of a study."""
    return expand(path, model=STUDIES[study].models(config), **more)


def findings_cfg(study):
    """What the sentences about a study need of the config."""
    about = STUDIES[study]
    known = titles([*tasks.TASKS, *config["custom_tasks"]])
    return stage_cfg(study=study, **about.settings(config, known)) | {
        "pairs": [pair for _, pair in about.results(config)]
    }


def asked_steps(method):
    """Steps of a method that integrates gradients; for the others they change nothing."""
    return some(config["attribution"], "steps") if METHODS[method].steps else {}


def sequence_tasks(*kinds):
    """Tasks of the sequence study by kind (tasks, variants, control_tasks, probes), in order."""
    return [task for kind in kinds for task in config["sequences"][kind]]


def sequence_members(tasks):
    """All words that the sequences of some tasks are made of."""
    found = {}
    for task in tasks:
        options = task_cfg(task).get("options") or {}
        if task_cfg(task)["family"] == "sequence":
            members = options.get("members", "digits")
            listed = sequence.MEMBERS[members] if isinstance(members, str) else members
            found |= dict.fromkeys(listed[: options.get("largest")])
    return list(found)


def pruning_cfg(task):
    """How a task is pruned: tasks of comparison need no random orders unless asked for."""
    block = dict(config["sequences"]["pruning"])
    if block.pop("orders_for") == "tasks" and task not in config["sequences"]["tasks"]:
        block |= {"random_orders": 0, "draws": 0}
    return block


def pruning_cost(model):
    """What pruning of all tasks runs in a model, in a sentence."""
    from circuit_reuse.config.checks import check_model
    from circuit_reuse.studies.sequences import pruning

    space = check_model(model, config, (PROJECT, Path.cwd()), "sequences")
    count = None if space is None else len(space.of_kinds(["head", "mlp"]))
    pruning_runs = sum(len(pruning.planned(pruning_cfg(task), ["all"], ())) for task in PRUNED_TASKS)
    block = config["sequences"]
    return pruning.cost(model, count, pruning_runs, block["examples"], block["pruning"]["first_cut"])


def circuit_files(model):
    """Circuits from files that are for a model: {name: {file}}."""
    return {
        name: {"file": entry["file"]}
        for name, entry in config["sequences"]["circuits"].items()
        if not entry["models"] or model in entry["models"]
    }


def circuit_paths(wildcards):
    """The files of these circuits."""
    return sorted(entry["file"] for entry in circuit_files(wildcards.model).values())


def set_file(wildcards):
    """The file of the texts of a contrast set, or none."""
    return config["contrast"]["sets"][wildcards.set].get("file", [])


def mask_file(wildcards):
    """The mask that is given for a model and task, or none."""
    files = config["weights"]["masks"]["files"]
    return files.get(wildcards.model, {}).get(wildcards.task, [])


CONTRAST_EXAMPLES = "<results>/{model}/{task}/examples/contrast0000.parquet"
CONTRAST_SCORES = "<results>/{model}/{task}/scores/{method}/contrast0000.parquet"


def contrast_sets(path, sets=None):
    """A file of every model and set of the contrast study, or of some sets."""
    return of_study("contrast", path, set=sorted(config["contrast"]["sets"] if sets is None else sets))


def contrast_task(name, key):
    """The task of a set whose prompts are the texts (task), or on which circuits are tested."""
    each = config["contrast"]["sets"][name]
    return each.get("task") if key == "task" else contrast_checks.behaviour(each)


def contrast_examples(wildcards, key):
    """The examples of the task of a set, or none."""
    task = contrast_task(wildcards.set, key)
    return CONTRAST_EXAMPLES.format(model=wildcards.model, task=task) if task else []


def contrast_scores(wildcards, method):
    """Attribution scores of the task on which the circuits of a set are tested, or none."""
    task = contrast_task(wildcards.set, "behaviour")
    return CONTRAST_SCORES.format(model=wildcards.model, task=task, method=method) if task else []


def contrast_bos(name):
    """Whether the texts of a set begin with the BOS token."""
    each = config["contrast"]["sets"][name]
    given = task_cfg(each["task"])["bos"] if "task" in each else each["bos"]
    return tasks.BOS.get(given, given)


def contrast_circuits(model):
    """Circuits from files that are tested on a model."""
    return {name: each for name, each in config["contrast"]["circuits"].items() if model in each["models"]}


def exported_circuits():
    """Files of the tested circuits in every format asked for."""
    block, found = config["contrast"], []
    for name, each in block["sets"].items():
        rules = {source: scoring["rules"] for source, scoring in block["scorings"].items()}
        if contrast_checks.behaviour(each):
            rules[block["attribution"]] = ["ratio", "knapsack"]
        found += [f"{name}.{source}.{rule}" for source in rules for rule in rules[source]]
    return of_study(
        "contrast",
        "<results>/tables/contrast/circuits/{model}.{circuit}{ending}",
        circuit=sorted(found),
        ending=sorted(ENDINGS[form] for form in block["export"]),
    )
