"""Mistakes in the block `contrast` of a config, reported before any job; no torch."""

from dataclasses import replace

from circuit_reuse.config import checks, custom_files, errors, paths
from circuit_reuse.config.errors import ConfigError
from circuit_reuse.data import circuit_files, components, fingerprint
from circuit_reuse.data.components import Space
from circuit_reuse.methods.registry import METHODS
from circuit_reuse.origins import sources
from circuit_reuse.prompts import tasks
from circuit_reuse.studies.contrast import budget

# Names of sources that are no scorings.
TAKEN = ("file", *METHODS)
SIDE = ("model", "set", "scoring", "rule", "condition")


def check(config, folders):
    """Check the block and fill in what it leaves open, in place; after checks.check.

    folders: the project's and the one that the workflow runs in
    raises:  ConfigError with the first mistake
    """
    spaces = checks.study_models("contrast", config, folders)
    block = config["contrast"]
    for name, each in block["sets"].items():
        check_set(name, each, config, folders)
    checks.check_examples(config, "contrast.examples", block["examples"])
    check_scorings(block)
    check_tests(config)
    check_budgets(block, spaces)
    shapes = check_circuits(config, spaces)
    check_pairs(block, spaces, shapes)


def behaviour(each):
    """The task on which the circuits of a set are tested, or None."""
    return each["behaviour"] or each.get("task")


def check_set(name, each, config, folders):
    """A set has one origin, and its task and file can be used."""
    key = f"contrast.sets.{name}"
    if ("task" in each) == ("file" in each):
        raise ConfigError(
            f"{key} needs either task or file; found: {', '.join(k for k in ('task', 'file') if k in each) or 'none'}"
        )
    for what in ("task", "behaviour"):
        if each.get(what):
            checks.known_tasks(f"{key}.{what}", [each[what]], config)
            custom, block = config["custom_tasks"].get(each[what]), config["contrast"]
            if custom:
                custom_files.check(
                    each[what], custom, config, folders, block["models"], block["examples"], "contrast.examples"
                )
    if "file" in each and each["cluster"] == "words":
        raise ConfigError(f"{key}.cluster is 'words', which needs a task; give pairs of a file a column cluster")
    if "task" in each:
        if not each["paired"]:
            raise ConfigError(f"{key}.paired is false, but prompts of a task are pairs")
        if each["second"] is not None:
            raise ConfigError(
                f"{key}.second is {each['second']!r}, which has no effect on prompts of a task; take it out"
            )
        if each["bos"] != "auto":
            raise ConfigError(
                f"{key}.bos is {each['bos']!r}, which has no effect on prompts of a task; set bos of the task (task_options, custom_tasks)"
            )
        if each["first"] is not None and each["task"] not in config["custom_tasks"]:
            check_class(key, each, config)
        return
    if each["paired"] and each["first"] is not None:
        raise ConfigError(
            f"{key}.first is {each['first']!r}, but pairs of a file have their first text in the column first; take it out"
        )
    if not each["paired"]:
        for side in ("first", "second"):
            if not each[side]:
                raise ConfigError(f"{key} has no {side}, the value of the column set that distinguishes unpaired texts")
        if each["first"] == each["second"]:
            raise ConfigError(
                f"{key}.first and second are both {each['first']!r}; they must be two values of the column set"
            )
    check_texts(key, paths.readable_file(each["file"], f"{key}.file"), each, config)


def check_class(key, each, config):
    """The class whose texts come first must be one of two, and the other prompt of each pair of the other class.

    A class is a variant with an answer of its own, whose wrong answer is that of the other class.
    """
    from circuit_reuse.prompts.generate import generate

    task, first = each["task"], each["first"]
    made = [
        prompt for *_, prompt in generate(task, 64, config["seed"], options=tasks.settings(task, config)["options"])
    ]
    answers = {(prompt.variant, prompt.answer, prompt.distractor) for prompt in made}
    classes = sorted({variant for variant, *_ in answers})
    if len(answers) != 2 or len(classes) != 2 or len({frozenset(pair) for _, *pair in answers}) != 1:
        raise ConfigError(
            f"{key}.first is {first!r}, but pairs of {task} are not of two classes of texts, each with an answer of its own; "
            "leave first out, and the clean prompts come first"
        )
    if first not in classes:
        raise ConfigError(
            f"{key}.first is {first!r}; the classes of {task} are {', '.join(classes)}{errors.nearest(first, classes)}"
        )


def check_texts(key, path, each, config):
    """The texts of a file must be readable, enough, and fit into every local model."""
    # Only where a file is given: the Snakefile is read often, and numpy takes a while.
    from circuit_reuse.data import examples
    from circuit_reuse.stats import clusters
    from circuit_reuse.studies.contrast import texts

    block, share = config["contrast"], config["examples"]["held_out_share"]
    sides = None if each["paired"] else (each["first"], each["second"])
    try:
        rows, repeats = texts.rows_of_file(path, share, sides)
    except ValueError as problem:
        raise ConfigError(f"{key}.file: {problem}") from None
    if repeats:
        errors.note(
            f"{key}.file: {repeats} rows of {each['file']} repeat another row and are counted once; {len(rows)} are left"
        )
    note_identical(key, each["file"], rows if sides is None else [])
    train = [row for row in rows if row["split"] == "train"]
    counts = [len(train)] if sides is None else [sum(r["set"] == side for r in train) for side in sides]
    if min(counts) < texts.FEWEST:
        raise ConfigError(
            f"{key}.file has {min(counts)} train {'pairs' if sides is None else 'texts of a set'}; use at least {texts.FEWEST}, "
            f"and at least {clusters.FEWEST} for a p and intervals"
        )
    for model in block["models"]:
        folder = sources.folder(model, config["model_sources"][model])
        if folder is None:
            continue
        try:
            reader = examples.reader(folder, tasks.BOS.get(each["bos"], each["bos"]))
        except examples.ReaderError as problem:
            raise ConfigError(f"{key}.bos is {each['bos']!r}: {problem}") from None
        tokenizer = reader.tokenizer
        most = fingerprint.positions(folder)
        padding = len(tokenizer.encode(block["filler"], add_special_tokens=False).ids) * block["longest"]
        padding = padding if "padded" in block["controls"] else 0
        for row in train:
            for column in ("first", "second") if sides is None else ("text",):
                # Only texts of the second set are padded (texts.condition).
                second = column == "second" if sides is None else row["set"] == sides[1]
                added = padding if second else 0
                tokens = tokenizer.encode(row[column], add_special_tokens=False).ids
                length = len(tokens) + int(reader.bos is not None)
                reason = replace(reader, positions=None).unfit(tokens)
                if reason:
                    raise ConfigError(
                        f"{key}.file, id {row['id']!r}: {column} cannot be used with {model}: {reason.replace('the prompt', 'the text')}"
                    )
                if most is not None and length + added > most:
                    more = f" and up to {added} of padding" if added else ""
                    raise ConfigError(
                        f"{key}.file, id {row['id']!r}: {column} has {length} tokens{more}, and {model} has "
                        f"{most} positions; shorten the text, or lower contrast.longest"
                    )


def note_identical(key, file, pairs):
    """Refuse pairs that are all of one text twice, and warn of some; pairs: rows with first and second."""
    same = [row for row in pairs if row["first"] == row["second"]]
    if same and len(same) == len(pairs):
        raise ConfigError(
            f"{key}.file: first and second are the same text in every row of {file}, so there is nothing to compare"
        )
    if same:
        errors.note(
            f"{key}.file: first and second are the same text in {len(same)} of {len(pairs)} rows of {file}, which add no difference; the first "
            f"is of id {same[0]['id']!r}"
        )


def check_scorings(block):
    """Names of scorings must be free, and settings must fit together."""
    errors.member("contrast.reference", block["reference"], "contrast.scorings", block["scorings"])
    for name, scoring in block["scorings"].items():
        key = f"contrast.scorings.{name}"
        if name in TAKEN:
            raise ConfigError(f"{key}: this name is taken; choose another")
        if scoring["mlp_threshold"] is not None and "published" not in scoring["rules"]:
            raise ConfigError(
                f"{key}.mlp_threshold is {scoring['mlp_threshold']}, which only the rule published uses; its rules are {', '.join(scoring['rules'])}"
            )


def check_tests(config):
    """Tests that could never show anything."""
    block, alpha = config["contrast"], config["tests"]["alpha"]
    checks.check_least_p("contrast.flips", block["flips"], 1, alpha)
    # One q for all circuits by difference, and one for those by attribution or from files, over models and sets (summary.all_tables).
    by_difference = sum(len(scoring["rules"]) for scoring in block["scorings"].values())
    tested = sum(behaviour(each) is not None for each in block["sets"].values()) * len(block["models"])
    most = tested * max(by_difference, 2, len(block["circuits"]))
    checks.check_least_p("contrast.random_sets", block["random_sets"], most, alpha, by_difference)


def check_budgets(block, spaces):
    """The input must fit into every budget."""
    for model, space in spaces.items():
        for key, values in (("budget", [block["budget"]]), ("budgets", block["budgets"])):
            for value in values:
                try:
                    found = budget.resolve(value, space) if space else 0
                except budget.BudgetError as problem:
                    raise ConfigError(f"contrast.{key}, model {model}: {problem}") from None
                total = components.total_cost(space) if space else 0
                if found > total:
                    raise ConfigError(
                        f"contrast.{key}: {value:g} is more than the {total} dimensions that all of {model} costs"
                    )


def check_circuits(config, spaces):
    """Circuit files must be of the models that they are for; returns {name: Space}, where it is known."""
    block, found = config["contrast"], {}
    for name, each in block["circuits"].items():
        key = f"contrast.circuits.{name}"
        path = paths.readable(each["file"], f"{key}.file")
        for model in each["models"]:
            errors.member(f"{key}.models", model, "contrast.models", block["models"])
        shapes = [Space(**each["shape"])] if "shape" in each else []
        shapes += [spaces[model] for model in each["models"]]
        for shape in shapes or [None]:
            if shape is None and each["models"]:
                # The files of a hub model are not there yet; the job checks it.
                continue
            try:
                read = circuit_files.read(path, shape, each.get("keep"))
            except circuit_files.CircuitFileError as problem:
                hint = "" if shape else f" ({key}.shape, or {key}.models)"
                raise ConfigError(f"{key}.file: {problem}{hint if 'shape' in str(problem) else ''}") from None
            if not set(read.nodes) - {"input"}:
                raise ConfigError(f"{key}.file: there is no head and no MLP in the circuit of {each['file']}")
            found[name] = read.shape
    return found


def check_pairs(block, spaces, shapes):
    """Both circuits of a comparison must be there, and of models of one shape.

    spaces: {model: Space or None};  shapes: {circuit of a file: Space}
    """
    known = {
        "model": block["models"],
        "set": list(block["sets"]),
        "scoring": [*block["scorings"], block["attribution"]],
        "rule": budget.RULES,
        "condition": ["real", *block["controls"], "half_1", "half_2"],
    }
    for name, pair in block["replicate"]["pairs"].items():
        sizes = []
        for side, chosen in pair.items():
            key = f"contrast.replicate.pairs.{name}.{side}"
            if isinstance(chosen, str):
                errors.member(key, chosen, "contrast.circuits", block["circuits"])
                sizes.append(shapes.get(chosen))
                continue
            for what, value in chosen.items():
                if what not in SIDE:
                    raise ConfigError(f"{key}: unknown key {what}; allowed: {', '.join(SIDE)}")
                if value not in known[what]:
                    raise ConfigError(
                        f"{key}.{what} is {value!r}; allowed: {', '.join(known[what])}"
                        + errors.nearest(value, known[what])
                    )
            scoring = chosen.get("scoring", block["reference"])
            rules = block["scorings"][scoring]["rules"] if scoring in block["scorings"] else ["ratio", "knapsack"]
            if chosen.get("rule", rules[0]) not in rules:
                raise ConfigError(f"{key}.rule is {chosen['rule']!r}; {scoring} has {', '.join(rules)}")
            if scoring not in block["scorings"] and chosen.get("condition", "real") != "real":
                raise ConfigError(
                    f"{key}.condition is {chosen['condition']!r}; circuits of {scoring} are of real texts only"
                )
            sizes.append(spaces[chosen.get("model", block["models"][0])])
        if None not in sizes and sizes[0] != sizes[1]:
            reported = " and ".join(f"{each.layers} layers of {each.heads} heads" for each in sizes)
            raise ConfigError(
                f"contrast.replicate.pairs.{name}: the circuits are of models of two shapes, {reported}, and cannot be "
                "compared; choose the model of a run's circuit by `model`"
            )
