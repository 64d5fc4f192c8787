"""A job: what a rule gives to the function that it runs, and what many of these functions do with it."""

from functools import cached_property
from types import SimpleNamespace

from circuit_reuse.data import csv_tables, examples, fingerprint, tables


class Job:
    """What a rule gives to the function that it runs.

    input, output: paths or lists of paths by name, as attributes
    params:        all parameters of the rule;  cfg, compute: its blocks of settings, None without them
    wildcards:     model, task, method and the like, as attributes
    threads, log:  processor threads, a logger
    """

    def __init__(self, input, output, params, wildcards, threads, log):
        self.input, self.output = SimpleNamespace(**input), SimpleNamespace(**output)
        self.params, self.wildcards = SimpleNamespace(**params), SimpleNamespace(**wildcards)
        self.cfg, self.compute = params.get("cfg"), params.get("compute")
        self.threads, self.log = threads, log

    @cached_property
    def about(self):
        """The description of the model that the job runs or reads of."""
        return fingerprint.read_description(self.input.about)

    @property
    def space(self):
        """The component space of the model, from its description."""
        return fingerprint.space_of(self.about)

    @cached_property
    def model(self):
        """The fingerprint of the one model that the inputs come from; None if they come from none."""
        if isinstance(getattr(self.input, "about", None), str):
            return self.about["fingerprint"]
        paths = [path for value in vars(self.input).values() for path in ([value] if isinstance(value, str) else value)]
        found = {tables.provenance(path).get("model") for path in paths if path.endswith(".parquet")} - {None}
        return found.pop() if len(found) == 1 else None

    def write(self, path, schema, rows, left_out=None, **settings):
        """A table with its provenance: the job's settings, the model's fingerprint, versions.

        rows: a list of dicts, or a DataFrame of which the schema's columns are taken
        """
        if not isinstance(rows, list):
            rows = rows[schema.names]
        about = {"cfg": self.cfg, "of": vars(self.wildcards)} | ({"model": self.model} if self.model else {}) | settings
        tables.write(path, schema, rows, left_out=left_out, **about)

    def write_csvs(self, frames, declared):
        """Tables for people, by the names of the outputs; declared: {name: {column: what it holds}}."""
        for name, frame in frames.items():
            csv_tables.write(getattr(self.output, name), frame, declared[name])


def used(examples, split):
    """The rows of an examples table that are used in a split."""
    return examples[examples["used"] & (examples["split"] == split)]


def splits(path, cfg, task):
    """The used examples of a task: train and held out, those that have a mean to be replaced by.

    raises: LeftOut if a split has fewer than cfg["min_valid"]
    """
    return splits_of(tables.read(path, tables.EXAMPLES), cfg, task)


def splits_of(table, cfg, task):
    """The same of the examples table; cfg: min_valid, replacement."""
    train, held_out = replaceable_splits(table[table["used"]], cfg["replacement"])
    used = table.assign(used=table["example"].isin([*train["example"], *held_out["example"]]))
    lengths = table["used"] & ~used["used"]
    used.loc[lengths, "reason"] = "no train prompt has its length, so it has no mean; use another replacement"
    examples.enough_of_each(used, cfg["min_valid"], task)
    return train, held_out


def replaceable_splits(used, replacement):
    """Train and held-out examples; under means, held-out ones of a length that train has."""
    train, held_out = (used[used["split"] == split] for split in ("train", "held_out"))
    if replacement == "mean":
        held_out = held_out[held_out["length"].isin(set(train["length"]))]
    return train.reset_index(drop=True), held_out.reset_index(drop=True)
