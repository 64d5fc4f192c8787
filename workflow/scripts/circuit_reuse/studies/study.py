"""What a study is: one object that rules, checks, the first page, the documentation and plans read.

Imported by the Snakefile: standard library only.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module


@dataclass(frozen=True)
class PaperTable:
    """The main results of a study, as a table for a paper.

    file:    of its tables (CSV)
    columns: {name: heading}, in order
    text:    what the table shows, with {places} for `rows`
    rows:    a function of the config to {column: value} of the rows that are shown; all without it
    """

    file: str
    columns: dict[str, str]
    text: str
    rows: Callable = lambda config: {}

    def caption(self, config):
        """What the table shows, with the settings of the run."""
        return self.text.format(
            **{name: format(value, "g" if value else "") for name, value in self.rows(config).items()}
        )


@dataclass(frozen=True)
class Study:
    """A study, described once.

    name:      its target, its block of the config, its folder of results and of code
    question:  what it asks
    figures:   {file name: title}
    tables:    {name of the output: (file, title)}; one without a title is not in the report
    first:     figures to begin with
    reads:     tables that its sentences are drawn from
    results:   a function of the config to [(path, (model, task))]: what each pair of model and task gives,
               so that what was left out can be listed
    settings:  a function of the config and {task: title} to what its sentences need of the config
    shards:    what the names of its shards of examples begin with
    schemas:   {table: where its Parquet files lie}; the schemas themselves are in its module `schemas`
    paper:     its main results as a table for a paper, if it has one
    details:   what writes the details of its page of findings: its summary, its module `findings` (from the tables of `reads`), or none
    """

    name: str
    question: str
    figures: dict[str, str]
    tables: dict[str, tuple[str, str]]
    first: tuple[str, ...]
    reads: tuple[str, ...]
    results: Callable
    settings: Callable
    shards: str
    schemas: dict[str, str] = field(default_factory=dict)
    paper: PaperTable | None = None
    details: str = "none"

    @property
    def title(self):
        """Its name as a heading."""
        return self.name.capitalize()

    def block(self, config):
        """Its block of the config."""
        return config[self.name]

    def models(self, config):
        """Names of the models that it runs."""
        return self.block(config)["models"]

    def slots(self, config):
        """Number of examples of a task, and examples in a shard."""
        block = self.block(config)
        return block["examples"], block.get("shard_size", block["examples"])

    def module(self, name):
        """One of its modules, such as checks or findings."""
        return import_module(f"circuit_reuse.studies.{self.name}.{name}")

    def file(self, table, config):
        """Path of a table for people, by the name of the output."""
        file = self.tables[table][0].replace("{tasks}", "_".join(self.block(config).get("tasks", ())))
        return f"<results>/tables/{self.name}/{file}"


def pairs(models, tasks, path):
    """[(path, (model, task))] of all models and tasks; path has the places {model} and {task}."""
    return [(path.format(model=model, task=task), (model, task)) for model in models for task in tasks]
