"""One page in which every node of a model's circuits can be looked at: a study's data in a template without network.

Data: model; about (what lines and frames mean); unit of the edges' effects; tasks [{id, title, colour}], whose circuits they are; nodes
(`node`); edges {task: [`edge`]}; and, where there is attention to show, read [{id, title}] and labels {task: names of positions}.
"""

import json
from pathlib import Path

from circuit_reuse.data import components
from circuit_reuse.report import palette

PLACE = "/*DATA*/"
TEMPLATE = Path(__file__).resolve().parents[3] / "report" / "circuits.html"
COLOURS = (palette.ORANGE, palette.SKY, palette.GREEN, palette.PURPLE, palette.YELLOW, palette.BLUE, palette.VERMILION)
FINAL = "logits"


def write(path, data):
    """Write the page of some data."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(page(TEMPLATE.read_text(encoding="utf-8"), data), encoding="utf-8")


def page(template, data):
    """The template with its data; nothing in the data can end the script that holds it."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return template.replace(PLACE, text)


def row_of(name):
    """The row of a node from the top: heads of a layer above its MLP."""
    if name in ("input", FINAL):
        return -1 if name == "input" else 10**6
    layer, head = components.place(name)
    return 2 * layer + (head is None)


def node(name, tasks, facts, tokens=(), patterns=None):
    """A head or an MLP.

    tasks:    whose circuits hold it;  facts: [[what, {task: value as text}]], the task "" for all
    tokens:   [[title, words]];  patterns: {task: attention in per cent, row by row}
    """
    about = {"id": name, "row": row_of(name), "tasks": list(tasks), "facts": facts}
    return about | {"tokens": list(tokens), "patterns": patterns or {}}


def edges(writer, reader, effect, kept=True):
    """The edges into every component that reads by a reader; effect: in the page's unit."""
    part = components.part_of(reader)
    # Three digits, whatever the unit: effects in probabilities are hundredths.
    about = {"part": part, "effect": float(f"{float(effect):.3g}"), "kept": bool(kept)}
    return [{"from": writer, "to": each} | about for each in components.components_of(reader)]


def coloured(titles):
    """The tasks of a page, {id: title}, each with a colour of its own as long as there are any: those of the palette, then darker ones."""
    colours = [*COLOURS, *map(darker, COLOURS), *[palette.GREY_60] * len(titles)]
    return [
        {"id": task, "title": title, "colour": colour}
        for (task, title), colour in zip(titles.items(), colours, strict=False)
    ]


def darker(colour):
    """A colour, #rrggbb, at half its lightness."""
    return "#" + "".join(f"{int(colour[place : place + 2], 16) // 2:02x}" for place in (1, 3, 5))


def signed(value, digits=2):
    """A number with its sign, a dash where there is none."""
    return "-" if value is None or value != value else f"{value:+.{digits}f}"
