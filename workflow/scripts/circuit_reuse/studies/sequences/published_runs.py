"""What a run has to set beside a published number of GPT-2 small.

A run with the published circuits has the very component.  A run without them, of another model, has circuits of its own: there
the component of the same rank stands in its place, or the same layer for an MLP, and the row is of that model.
"""

import pandas as pd

from circuit_reuse.data.gather import pick

# The model of the published numbers, by its name in model_sources.
MODEL = "gpt2"


class PublishedRun:
    """Numbers of a run, by what was published.

    model:  whose they are: of GPT-2 if it was run, else of the first other model; None without a run
    stands_in: whether it is another model, with its own circuits
    """

    def __init__(self, tables, published):
        """tables: {cross, importance, ov} as `sequences` writes them, or empty;  published: {task: components}, the published circuits."""
        importance = tables.get("importance")
        self.model, self.stands_in, self.published = None, False, {}
        self.cross = self.inside = self.single = self.ov = None
        if importance is None or not len(importance):
            return
        # Without circuits of a file there is no such column.
        importance = importance.assign(circuit=importance.get("circuit"))
        self.stands_in = MODEL not in set(importance["model"])
        self.model = str(importance["model"].iloc[0]) if self.stands_in else MODEL
        mine = importance[importance["model"] == self.model]
        self.single = mine[mine["circuit"].isna()]
        self.inside = self.single[self.single["in_circuit"] == True] if self.stands_in else mine  # noqa: E712  (True, False and None)
        for (task, name), rows in mine[mine["circuit"].notna()].groupby(["task", "circuit"]):
            if set(rows["component"]) == set(published.get(task, ())):
                self.published[task] = name
        self.cross = of_model(tables.get("cross"), self.model)
        ov = of_model(tables.get("ov"), self.model)
        if ov is not None:
            self.ov = ov[(ov["sign"] == 1) & (ov["stream"] == "published") & ov["position"].isna()]

    def circuit(self, task):
        """The name of a task's circuit: of another model its own, of GPT-2 the published one, whatever its file is called; None without it."""
        return task if self.stands_in else self.published.get(task)

    def score(self, task, data):
        """Score of a task's circuit on the data of a task, share of the intact model's."""
        return first(self.cross, "score", circuit=self.circuit(task), target=data)

    def drop(self, task, name, published):
        """(change of the score without a component of the circuit, component).

        published: {component: number} of the task, by whose order a component stands in
        """
        whose = {"task": task} if self.stands_in else {"circuit": self.circuit(task)}
        return self.of(self.inside, whose, "in_circuit_drop", name, published)

    def from_full(self, task, name, published=None):
        """(change of the score when a component is removed from the intact model, component)."""
        return self.of(self.single, {"task": task}, "from_full", name, published)

    def next_score(self, task, kind, name, published):
        """(share of tokens that a head copies or continues, head)."""
        return self.of(self.ov, {"task": task, "kind": kind}, "share", name, published)

    def of(self, table, whose, column, name, published):
        """The value of a component in the rows of these values, or of the head of the same rank where another model stands in."""
        if not has(table, column, *whose):
            return None, None
        rows = pick(table, **whose)
        if self.stands_in and published:
            ascending = sum(published.values()) < 0
            heads = rows[rows["component"].str.contains("h")].dropna(subset=[column])
            heads = heads.sort_values(column, ascending=ascending, kind="stable")
            place = sorted(published, key=published.get, reverse=not ascending).index(name)
            if place >= len(heads):
                return None, None
            name = heads["component"].iloc[place]
        return first(rows, column, component=name), name


def of_model(table, model):
    """The rows of a model; None without the table."""
    return None if table is None else table[table["model"] == model]


def has(table, *columns):
    """Whether a table is there, with these columns."""
    return table is not None and {*columns} <= {*table}


def first(table, column, **where):
    """The first value of a column in the rows with these values; None without one."""
    values = pick(table, **where)[column] if has(table, column, *where) else ()
    return None if not len(values) or pd.isna(values.iloc[0]) else float(values.iloc[0])
