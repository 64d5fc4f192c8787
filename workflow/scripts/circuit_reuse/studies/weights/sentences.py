"""What the weight study found in a few sentences, for the first page and the end of a run."""

from circuit_reuse.data.gather import pick
from circuit_reuse.report.numbers import MOST, interval, more, p_text

# Columns that the sentences use, by table; a table without rows may lack some.
COLUMNS = {
    "interpretations": "model task interpretation in_words",
    "tests": "model task control difference difference_low difference_high q_value q_less",
}


def sentences(found, cfg):
    """The interpretation of each circuit, with the difference that it rests on."""
    tests = found["tests"]
    for row in found["interpretations"].head(MOST).to_dict("records"):
        size = pick(tests, model=row["model"], task=row["task"], control=cfg["matched"]).iloc[0]
        q = size[asked(row["interpretation"])]
        yield (
            f"{cfg['titles'].get(row['task'], row['task'])} in {row['model']}: {row['in_words']}. On average over the sweep, from none of the circuit's weights to all, removing them costs "
            f"{interval(size, 'difference')} nats more than removing as many of the matched control (95 % over clusters of prompts); "
            f"ranked among random masks against controls of their own: {p_text('q', q)}."
        )
    yield more(found["interpretations"])


def asked(interpretation):
    """The column with the q of what an interpretation says: that a circuit's weights matter more, or less."""
    return "q_less" if interpretation == "less" else "q_value"
