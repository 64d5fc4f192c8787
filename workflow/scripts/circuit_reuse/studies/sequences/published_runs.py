"""What a run has to set beside a published number of GPT-2 small.

A run with the published circuits has the very component.  A run without them, of another model, has circuits of its own: there
the component of the same rank stands in its place, or the same layer for an MLP, and the row is of that model.
"""

import pandas as pd


class PublishedRun:
    """Numbers of a run, by what was published.

    model:  whose they are; None without a run
    stands_in: whether it is another model with its own circuits
    """

    def __init__(self, tables):
        """tables: {cross, importance, ov} as `sequences` writes them, or empty."""
        self.cross, importance, ov = (tables.get(name) for name in ("cross", "importance", "ov"))
        self.model, self.stands_in = None, False
        if importance is None or not len(importance):
            self.cross = self.inside = self.single = self.ov = None
            return
        of_file = importance["circuit"].notna() & importance["circuit"].astype(str).str.startswith("published: ")
        self.stands_in = not of_file.any()
        self.model = str(importance[of_file | self.stands_in]["model"].iloc[0])
        mine = importance[importance["model"] == self.model]
        own = mine[mine["circuit"].isna()]
        self.single = own
        self.inside = own[own["in_circuit"] == True] if self.stands_in else mine[of_file]  # noqa: E712
        self.cross = self.cross[self.cross["model"] == self.model] if self.cross is not None else None
        self.ov = None
        if ov is not None:
            rows = ov[(ov["model"] == self.model) & (ov["sign"] == 1) & (ov["stream"] == "published")]
            self.ov = rows[rows["position"].isna()]

    def circuit(self, task):
        """The name of a task's circuit."""
        return task if self.stands_in else f"published: {task}"

    def score(self, task, data):
        """Score of a task's circuit on the data of a task, share of the intact model's."""
        return first(self.cross, "score", circuit=self.circuit(task), target=data)

    def drop(self, task, name, published):
        """(change of the score without a component of the circuit, component).

        published: {component: number} of the task, by whose order a component stands in
        """
        rows = chosen(self.inside, task=task) if self.stands_in else chosen(self.inside, circuit=self.circuit(task))
        return self.of(rows, "in_circuit_drop", name, published)

    def from_full(self, task, name, published=None):
        """(change of the score when a component is removed from the intact model, component)."""
        return self.of(chosen(self.single, task=task), "from_full", name, published)

    def next_score(self, task, kind, name, published):
        """(share of tokens that a head copies or continues, head)."""
        return self.of(chosen(self.ov, task=task, kind=kind), "share", name, published)

    def of(self, rows, column, name, published):
        """The value of a component, or of the head of the same rank where another model stands in."""
        if rows is None or column not in rows:
            return None, None
        if self.stands_in and published:
            ascending = sum(published.values()) < 0
            heads = rows[rows["component"].str.contains("h")].dropna(subset=[column])
            heads = heads.sort_values(column, ascending=ascending, kind="stable")
            place = sorted(published, key=published.get, reverse=not ascending).index(name)
            if place >= len(heads):
                return None, None
            name = heads["component"].iloc[place]
        return first(rows, column, component=name), name


def chosen(table, **where):
    """The rows of a table with these values; None without the table or a column."""
    for name, value in where.items():
        if table is None or name not in table:
            return None
        table = table[table[name] == value]
    return table


def first(table, column, **where):
    """The first value of a column in the rows with these values; None without one."""
    rows = chosen(table, **where)
    if rows is None or column not in rows or not len(rows) or pd.isna(rows[column].iloc[0]):
        return None
    return float(rows[column].iloc[0])
