"""Pages of findings: Markdown as one HTML file."""

import re
from pathlib import Path

STYLE = """body { font: 15px/1.5 sans-serif; max-width: 72em; margin: 2em auto; padding: 0 1em; color: #222 }
table { border-collapse: collapse; margin: 1em 0 } td, th { padding: .2em .8em; text-align: left } td { white-space: nowrap }
th { border-bottom: 1px solid #888 } tr:nth-child(even) td { background: #f4f4f4 }"""


def write(job, text):
    """A page of findings, as Markdown and as HTML."""
    Path(job.output.findings).write_text(text)
    Path(job.output.page).write_text(page(text))


def bullets(text):
    """Sentences as a list, one a line."""
    return "\n".join(f"* {each}" for each in re.split(r"(?<=[.)])\s+(?=[A-Z`])", text))


def table(header, rows):
    """A Markdown table of cells; header: what stands above each column."""
    first, *rest = ("| " + " | ".join(map(str, cells)) + " |" for cells in (header, *rows))
    return "\n".join([first, "|" + "---|" * len(header), *rest])


def in_short(text, sentences, first=3):
    """A page of findings with its first sentences in a list under the heading, the others after them."""
    heading, _, rest = text.partition("\n")
    numbered = [f"{number}. {each}" for number, each in enumerate(sentences[:first], start=1)]
    more = [f"* {each}" for each in sentences[first:]]
    parts = [heading, "## In short", "\n".join(numbered), "\n".join(more), rest.strip()]
    return "\n\n".join(filter(None, parts)) + "\n"


def page(text):
    """The findings as one HTML page without scripts; names in the text are escaped."""
    from markdown_it import MarkdownIt

    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(text)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Findings</title>'
        f"<style>{STYLE}</style></head><body>\n{body}</body></html>\n"
    )
