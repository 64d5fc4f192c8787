# What the rules of the studies ask for: functions only, as the linter wants them apart from rules.
REUSE_FIGURES = {
    "multiplot_reuse_vs_threshold": "Reuse against threshold",
    "multiplot_lift_vs_threshold": "Lift against threshold",
    "multiplot_perm_neglog10p_vs_threshold": "Significance against threshold",
    "effect_against_controls": "Shared circuits among their controls",
    "accuracy_bars": "Accuracy with circuits removed",
    "faithfulness_bars": "What circuits keep",
    "component_map": "Components of example circuits",
    "example_similarity": "Similarity of example circuits",
    "cross_task": "Circuits removed on other tasks",
    "score_histograms": "Distribution of scores",
    "method_agreement": "Agreement with exact patching",
}
if not config["agreement"]["examples"]:
    del REUSE_FIGURES["method_agreement"]


def agreement_tables(methods):
    """Agreement with exact patching of every model, if it is measured at all."""
    if not config["agreement"]["examples"]:
        return []
    return expand(
        "<results>/{model}/agreement/{method}.parquet",
        model=config["models"],
        method=methods,
    )


def reuse_figures(method):
    """Figure files of a method; the first method's have the plain names."""
    folder = "reuse" if method == config["methods"][0] else f"reuse/{method}"
    return expand(
        f"<results>/figures/{folder}/{{figure}}.{{kind}}",
        figure=REUSE_FIGURES,
        kind=config["figures"]["formats"],
    )


def in_report(path, method):
    """A figure with its caption and labels for the report: one format of each is enough."""
    name, kind = Path(path).stem, Path(path).suffix[1:]
    if kind != ("svg" if "svg" in config["figures"]["formats"] else "png"):
        return path
    return report(
        path,
        caption=f"../workflow/report/{name}.rst",
        category="Reuse figures",
        labels={"figure": REUSE_FIGURES[name], "method": method},
    )


def reuse_table(name, title):
    """A table with its caption for the report."""
    return report(
        f"<results>/tables/reuse/{name}",
        caption=f"../workflow/report/{Path(name).stem}.rst",
        category="Reuse tables",
        labels={"table": title},
    )


def by_task(path, methods, **more):
    """A table of every model, task and method."""
    return expand(path, model=config["models"], task=config["tasks"], method=methods, **more)


def titles():
    """Names of the tasks in figures and tables."""
    return {task: task_title(task) for task in config["tasks"]}


def shown(path, caption, category, **labels):
    """A figure or table with its caption for the report; of a figure, one format is enough."""
    kind = Path(path).suffix[1:]
    chosen = "svg" if "svg" in config["figures"]["formats"] else "png"
    if kind in ("svg", "png", "pdf") and kind != chosen:
        return path
    return report(
        path,
        caption=f"../workflow/report/{caption}.rst",
        category=category,
        labels=labels,
    )


def scaling_table(file, title):
    """A table of the scaling study, with its caption in the report if it has a title."""
    path = f"<results>/tables/scaling/{file}"
    if not title:
        return path
    return shown(path, "scaling_table", "Scaling", shows=f"{title} (table)")


def sequence_models(path, **more):
    """A file of every model of the sequence study."""
    return expand(path, model=config["sequences"]["models"], **more)


def sequence_tasks(*kinds):
    """Tasks of the sequence study by kind (tasks, variants, foreign, probes), in order."""
    return [task for kind in kinds for task in config["sequences"][kind]]


def sequence_table(file, title):
    """A table of the sequence study, with its caption in the report if it has a title."""
    path = f"<results>/tables/sequences/{file}"
    if not title:
        return path
    return shown(path, "sequences_table", "Sequences", shows=f"{title} (table)")


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
    from circuit_reuse.checks import check_model
    from circuit_reuse.sequences import pruning

    space = check_model(model, config, (PROJECT, Path.cwd()), "sequences")
    count = None if space is None else len(space.of_kinds(["head", "mlp"]))
    walks = sum(len(pruning.planned(pruning_cfg(task), 1, ())) for task in PRUNED_TASKS)
    block = config["sequences"]
    return pruning.cost(model, count, walks, block["examples"], block["pruning"]["first_cut"])


def circuit_files(model=None):
    """Circuits from files that are for a model: {name: {file}}."""
    return {
        name: {"file": entry["file"]}
        for name, entry in config["sequences"]["circuits"].items()
        if model is None or not entry["models"] or model in entry["models"]
    }


def scaling_models(path, **more):
    """A file of every model of the scaling study."""
    return expand(path, model=config["scaling"]["models"], **more)


def weight_models(path, **more):
    """A file of every model and task of the weight study."""
    block = config["weights"]
    return expand(path, model=block["models"], task=block["tasks"], **more)


def weight_table(file, title):
    """A table of the weight study, with its caption in the report if it has a title."""
    path = f"<results>/tables/weights/{file}"
    if not title:
        return path
    return shown(path, "weights_table", "Weights", shows=f"{title} (table)")


def mask_file(wildcards):
    """The mask that is given for a model and task, or none."""
    files = config["weights"]["masks"]["files"]
    return files.get(wildcards.model, {}).get(wildcards.task, [])


CONTRAST_EXAMPLES = "<results>/{model}/{task}/examples/contrast0000.parquet"
CONTRAST_SCORES = "<results>/{model}/{task}/scores/{method}/contrast0000.parquet"


def contrast_models(path, **more):
    """A file of every model of the contrast study."""
    return expand(path, model=config["contrast"]["models"], **more)


def contrast_sets(path, sets=None):
    """A file of every model and set of the contrast study, or of some sets."""
    return contrast_models(path, set=sorted(config["contrast"]["sets"] if sets is None else sets))


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
    return registry.BOS.get(given, given)


def contrast_circuits(model):
    """Circuits from files that are tested on a model."""
    return {name: each for name, each in config["contrast"]["circuits"].items() if model in each["models"]}


def exported_circuits():
    """Files of the tested circuits in every format asked for."""
    block, found = config["contrast"], []
    for name, each in block["sets"].items():
        rules = {source: recipe["rules"] for source, recipe in block["recipes"].items()}
        if contrast_checks.behaviour(each):
            rules[block["attribution"]] = ["ratio", "knapsack"]
        found += [f"{name}.{source}.{rule}" for source in rules for rule in rules[source]]
    return contrast_models(
        "<results>/tables/contrast/circuits/{model}.{circuit}{ending}",
        circuit=sorted(found),
        ending=sorted(ENDINGS[form] for form in block["export"]),
    )


def contrast_table(file, title):
    """A table of the contrast study, with its caption in the report if it has a title."""
    path = f"<results>/tables/contrast/{file}"
    if not title:
        return path
    return shown(path, "contrast_table", "Contrast", shows=f"{title} (table)")


def studied_models(study):
    """Models of a study."""
    return config["models"] if study == "reuse" else config[study]["models"]


def study_results(study):
    """What each pair of a model and a task gives a study: [(path, (model, task))]."""
    block = config[study] if study != "reuse" else config
    method = config["methods"][0]
    if study == "contrast":
        tasks, path = sorted(block["sets"]), "contrast/{task}/differences.parquet"
    else:
        kinds = {"sequences": ("tasks", "variants", "foreign", "probes")}
        tasks = [task for kind in kinds.get(study, ("tasks",)) for task in block[kind]]
        path = {
            "reuse": f"{{task}}/tests/{method}.parquet",
            "scaling": "heads/{task}/scan/scan0000.parquet",
            "sequences": "sequences/{task}/effects.parquet",
            "weights": "weights/{task}/sweep.parquet",
        }[study]
    return [
        (f"<results>/{model}/{path.format(task=task)}", (model, task)) for model in block["models"] for task in tasks
    ]


def overview_cfg(study):
    """What the sentences about a study need of the config."""
    alpha = config["tests"]["alpha"]
    if study == "reuse":
        chosen = {key: config["cross_task"][key] for key in ("top_k", "threshold")}
        return stage_cfg(
            study=study,
            alpha=alpha,
            titles=titles(),
            method=config["methods"][0],
            metric=config["attribution"]["metric"],
            **chosen,
        )
    block = config[study]
    if study == "contrast":
        names = {name: each.get("title", name.replace("_", " ")) for name, each in block["sets"].items()}
        return stage_cfg(study=study, alpha=alpha, titles=names)
    more = {
        "scaling": lambda: {
            "replacement": block["replacement"],
            "alpha": block["classes"]["alpha"],
        },
        "weights": lambda: {"matched": block["sweep"]["matched"]},
        "sequences": lambda: {
            "foreign": block["foreign"],
            **{key: block["pruning"][key] for key in ("threshold", "strategy")},
        },
    }
    return stage_cfg(
        study=study,
        **({"alpha": alpha, "tasks": block["tasks"]} | more[study]()),
        titles={task: task_title(task) for task in block["tasks"]},
    )
