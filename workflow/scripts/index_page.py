"""results/index.html: what a run found, with its figures and tables, as one file that opens without a network.

Plumbing only, like start_page: written at the end of every run from the results that are there.
"""

import csv
import html
import json
import platform
import re
from pathlib import Path
from types import SimpleNamespace

import start_page
import study_configs
from circuit_reuse.studies.registry import STUDIES

REPORT = Path(__file__).resolve().parents[1] / "report"
# Figures that together are larger are linked, not put in, the last first.
MOST_BYTES = 5_500_000
# Columns of the table of results, from reuse/summary.csv.
COLUMNS = {
    "model": "model",
    "task": "task",
    "method": "method",
    "top_k": "K",
    "threshold": "threshold",
    "n_components": "components",
    "reuse": "reuse",
    "effect": "effect",
    "effect_low": "95 % from",
    "effect_high": "95 % to",
    "effect_random": "random circuits",
    "p_value": "p",
    "q_value": "q",
    "faithfulness": "kept alone",
    "n_examples": "n",
    "n_clusters": "clusters",
}


def write(config, folder, left=(), asked=STUDIES, part=()):
    """Write the page from what is in results/; returns its path, or None where no study has results yet.

    left, asked, part: as study_configs.read takes them
    """
    results = Path(folder) / "results"
    # A run that fetches a model, or describes it.
    if not start_page.overviews(folder):
        return None
    study_configs.keep(folder, asked, config, left)
    made = study_configs.read(folder, start_page.overviews(folder), asked, config, left, part)
    for name, of in made.items():
        write_captions(name, of.config, results / "figures" / name)
        if name not in part:
            write_results_table(name, of.config, results / "tables" / name)
    path = results / "index.html"
    partial = path.with_suffix(".partial")
    partial.write_text(page(config, made, Path(folder)), encoding="utf-8")
    partial.replace(path)
    return path


def write_captions(name, config, folder):
    """captions.md and captions.tex beside a study's figures: what each shows, and a LaTeX figure to copy."""
    from circuit_reuse.report import latex

    text, tex = [], ["% Each is complete: \\input this file, or copy one. Paths are relative to this folder.", ""]
    for each, title in STUDIES[name].figures.items():
        files = files_of(folder, each, config)
        if not files:
            continue
        words = f"{title}. {caption(name, each, config)}".strip()
        text += [f"**{each}**: {words}", ""]
        kind = "pdf" if "pdf" in files else "png"
        tex += [
            "\\begin{figure}",
            f"  \\includegraphics[width=\\linewidth]{{{each}.{kind}}}",
            f"  \\caption{{{latex.escape(words)}}}",
            f"  \\label{{fig:{name}-{each.replace('_', '-')}}}",
            "\\end{figure}",
            "",
        ]
    if text:
        (folder / "captions.md").write_text("\n".join(text), encoding="utf-8")
        (folder / "captions.tex").write_text("\n".join(tex), encoding="utf-8")


def files_of(folder, each, config):
    """{format: path} of a figure, in the formats that the config asks for."""
    return {
        path.suffix[1:]: path
        for path in sorted(folder.glob(f"{each}.*"))
        if path.suffix[1:] in config["figures"]["formats"]
    }


def write_results_table(name, config, folder):
    """results.tex beside a study's tables: its main results as a table for a paper."""
    from circuit_reuse.report import latex

    about = STUDIES[name].paper
    rows = rows_of(folder / about.file) if about else []
    # A table that says why it was left out has no such columns.
    rows = [row for row in rows if set(about.columns) <= set(row)]
    for column, value in about.rows(config).items() if rows else ():
        rows = [row for row in rows if row[column] == value or (value != "" and float(row[column]) == value)]
    path = folder / "results.tex"
    if not rows:
        return path.unlink(missing_ok=True)
    path.write_text(latex.results_table(rows, about.columns, about.caption(config), f"tab:{name}"), encoding="utf-8")


def page(config, made, folder):
    """The whole page; made: {study: study_configs.Made}"""
    results, found = folder / "results", start_page.overviews(folder)
    inside = chosen(results, made)
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">',
        f"<title>circuit-reuse: results</title><style>{(REPORT / 'index.css').read_text(encoding='utf-8')}</style></head><body>",
        "<h1>Which components do the task, is that real, and is the circuit shared?</h1>",
        "<p>Every sentence and every figure is drawn from the tables that are linked below it.</p>",
        "<nav aria-label='Studies'>",
        *(f"<a href='#{name}'>{STUDIES[name].title}</a>" for name in found),
        "<a href='#results'>All results</a><a href='#run'>What was run</a></nav>",
    ]
    for name, about in found.items():
        parts += study(name, about, made[name], results, inside)
    parts += [
        table_of_results(results),
        left_out(results, found),
        claims(results),
        what_was_run(config, folder, found, made),
    ]
    return "\n".join([*parts, f"<script>{(REPORT / 'index.js').read_text(encoding='utf-8')}</script></body></html>\n"])


def chosen(results, made):
    """The figures that are put into the page, {path: SVG}: those to begin with first, as far as there is room."""
    order = [(name, each) for name in made for each in STUDIES[name].first]
    order += [(name, each) for name in made for each in sorted(STUDIES[name].figures) if (name, each) not in order]
    inside, size = {}, 0
    for number, (name, each) in enumerate(pair for pair in order if pair[1] not in made[pair[0]].left):
        path = files_of(results / "figures" / name, each, made[name].config).get("svg")
        if path:
            svg = inlined(path, f"f{number}", STUDIES[name].figures[each])
            if size + len(svg.encode()) <= MOST_BYTES:
                size += len(svg.encode())
                inside[path] = svg
    return inside


def study(name, about, made, results, inside):
    """A study: what it asks, what it found, its figures and its tables."""
    whole, config, left = STUDIES[name], made.config, made.left
    yield f"<section id='{name}'><h2>{whole.title}</h2><p>{html.escape(whole.question)}</p>"
    if made.note:
        yield f"<p class='links'>{made.note}</p>"
    sentences = [f"<li>{html.escape(text)}</li>" for text in about["sentences"]]
    yield f"<ul>{''.join(sentences[:3])}</ul>"
    if sentences[3:]:
        yield f"<details><summary>{more_of(sentences[3:], 'finding')}</summary><ul>{''.join(sentences[3:])}</ul></details>"
    more = [(results / "tables" / name / "findings.html", "All findings, in words")]
    places = [name, *whole.models(config)]
    more += [
        (path, f"Interactive: {path.stem}, {path.parent.name}")
        for path in sorted((results / "figures" / name).rglob("*.html"))
        # Pages of models that left the config are kept, but not of this run.
        if path.parent.name in places
    ]
    links = [
        f"<a href='{path.relative_to(results)}'>{html.escape(title)}</a>" for path, title in more if path.is_file()
    ]
    yield f"<p>{' '.join(links)}</p>" if links else ""
    there = [each for each in whole.figures if each not in left and files_of(results / "figures" / name, each, config)]
    first = [each for each in whole.first if each in there]
    rest = [each for each in there if each not in first]
    for each in first:
        yield figure(name, each, config, results, inside)
    if rest:
        yield f"<details><summary>{more_of(rest, 'figure')}</summary>"
        for each in rest:
            yield figure(name, each, config, results, inside)
        yield "</details>"
    yield "<p class='links'>Tables (CSV): "
    for table, (file, title) in whole.tables.items():
        if table in left:
            continue
        path = results / "tables" / name / file.replace("{tasks}", "_".join(whole.block(config).get("tasks", ())))
        if path.is_file():
            yield f"<a href='tables/{name}/{path.name}' title='{html.escape(title)}'>{path.name}</a> "
    if (results / "tables" / name / "results.tex").is_file():
        yield f"<a href='tables/{name}/results.tex' title='The main results as a table for a paper'>results.tex</a>"
    yield "</p></section>"


def more_of(things, word):
    """How many more there are, in words."""
    return f"{len(things)} more {word}{'' if len(things) == 1 else 's'}"


def figure(name, each, config, results, inside):
    """A figure with its caption and links to its files; a small picture's place is a link where there is no room."""
    files = files_of(results / "figures" / name, each, config)
    title, svg = STUDIES[name].figures[each], files.get("svg")
    links = " ".join(f"<a href='figures/{name}/{path.name}'>{kind.upper()}</a>" for kind, path in files.items())
    why = "too large for this page" if svg else "in this page with svg in figures.formats"
    drawn = inside.get(svg) or f"<p>{html.escape(title)}: {why}.</p>"
    module = f"workflow/scripts/circuit_reuse/studies/{name}/figures.py"
    text = f"<strong>{html.escape(title)}.</strong> {html.escape(caption(name, each, config))}"
    return f"<figure id='{name}-{each}'>{drawn}<figcaption>{text}<br><span class='links'>{links}, drawn in {module}</span></figcaption></figure>"


def inlined(path, prefix, title):
    """A figure's SVG to stand in a page: its ids its own, its title for those who do not see it."""
    text = path.read_text(encoding="utf-8")
    text = re.sub(r"^.*?(?=<svg)", "", text, flags=re.DOTALL)
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<(script|foreignObject)\b.*?</\1>", "", text, flags=re.DOTALL)
    # Ids that something points at get short ones of the page's own; others go.
    pointed = dict.fromkeys(re.findall(r"url\(#([^)]+)\)", text) + re.findall(r'href="#([^"]+)"', text))
    short = {each: f"{prefix}-{number}" for number, each in enumerate(pointed)}
    text = re.sub(r' id="([^"]+)"', lambda found: f' id="{short[found[1]]}"' if found[1] in short else "", text)
    text = re.sub(r"url\(#([^)]+)\)", lambda found: f"url(#{short[found[1]]})", text)
    text = re.sub(r'href="#([^"]+)"', lambda found: f'href="#{short[found[1]]}"', text)
    text = re.sub(r">\s+<", "><", text)
    # A hundredth of a point is finer than any screen.
    text = re.sub(r'\b(?:d|x|y)="[^"]+"', lambda place: re.sub(r"-?\d+\.\d{3,}", rounded, place[0]), text)
    return re.sub(r"<svg\b", f'<svg role="img" aria-label="{html.escape(title)}"', text, count=1)


def rounded(number):
    """A coordinate of a figure, to a hundredth of a point."""
    return f"{float(number[0]):.2f}".rstrip("0").rstrip(".")


def caption(name, each, config):
    """A figure's caption, with the numbers of this run's config; empty where there is none."""
    from jinja2 import TemplateError
    from jinja2.sandbox import SandboxedEnvironment

    path = REPORT / f"{name}_{each}.rst"
    if not path.is_file():
        return ""
    try:
        text = (
            SandboxedEnvironment()
            .from_string(path.read_text(encoding="utf-8"))
            .render(snakemake=SimpleNamespace(config=config))
        )
    except TemplateError:
        return ""
    # What is left of the markup: emphasis, literals, escapes.
    return " ".join(re.sub(r"[`*]|:\w+:|\\(?=\W)", "", text).split())


def rows_of(path):
    """The rows of a CSV as dicts; none if it is not there or says why it was left out."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as stream:
        return [row for row in csv.DictReader(stream) if None not in row.values()]


def table(columns, rows, name, label):
    """A table to sort by its heads and to filter by words."""
    heads = "".join(
        f"<th scope='col'><button type='button'>{html.escape(title)}</button></th>" for title in columns.values()
    )
    lines = []
    for row in rows:
        cells = (row.get(key) or "" for key in columns)
        lines.append(
            "<tr>"
            + "".join(f"<td data-value='{html.escape(each)}'>{html.escape(shortened(each))}</td>" for each in cells)
            + "</tr>"
        )
    return (
        f"<p><label>Filter: <input type='search' id='{name}-filter' placeholder='words, such as ioi eap-ig'></label> "
        f"<span id='{name}-count' role='status'></span></p><div class='wide'><table class='sorts' data-filter='{name}-filter' "
        f"data-count='{name}-count'><caption class='links'>{html.escape(label)}</caption><thead><tr>{heads}</tr></thead>"
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def shortened(text):
    """A number to three digits; any other text as it is."""
    try:
        return f"{float(text):.3g}" if "." in text or "e" in text.lower() else text
    except ValueError:
        return text


def table_of_results(results):
    """All pairs of model and task of the reuse study."""
    rows = rows_of(results / "tables" / "reuse" / "summary.csv")
    if not rows:
        return "<section id='results'></section>"
    label = "Shared circuits of every model, task, K and threshold: effect of removing them with its interval, rank test among random circuits of the same layers (q)"
    return f"<section id='results'><h2>All results</h2>{table(COLUMNS, rows, 'all', label)}</section>"


def left_out(results, found):
    """What was left out of the studies, and why."""
    rows = [row for name in found for row in rows_of(results / "tables" / name / "skipped.csv")]
    if not rows:
        return "<section id='left-out'><h2>Left out</h2><p>Nothing was left out.</p></section>"
    columns = {name: name for name in ("study", "model", "task", "usable", "needed")} | {"reason": "why"}
    return f"<section id='left-out'><h2>Left out</h2>{table(columns, rows, 'left', 'Tasks that a model cannot do, by study')}</section>"


def claims(results):
    """Links to the pages of claims of papers, where they were made."""
    pages = sorted((results / "tables" / "papers").glob("*.html"))
    links = " ".join(f"<a href='tables/papers/{path.name}'>{path.stem}</a>" for path in pages)
    return f"<section id='papers'><h2>Published claims</h2><p>{links}</p></section>" if links else ""


def what_was_run(config, folder, found, made):
    """Models, versions, and the configs with their defaults."""
    content = start_page.content(config, folder)
    models = {name: model for about in found.values() for name, model in about["models"].items()}
    places = {name: source for of in made.values() for name, source in of.config["model_sources"].items()}
    configs = {"The config": config} | {
        f"The config of the {name} study": of.config for name, of in made.items() if of.config is not config
    }
    rows = [
        {
            "model": name,
            "source": start_page.source((places | config["model_sources"]).get(name, {})),
            **{key: str(value) for key, value in about.items()},
        }
        for name, about in sorted(models.items())
    ]
    names = "model source parameters layers heads rounding fingerprint".split()
    columns = {name: name for name in names if any(row.get(name) for row in rows)}
    shown = "".join(
        f"<details><summary>{title}, with its defaults</summary><pre>{html.escape(text_of(each))}</pre></details>"
        for title, each in configs.items()
    )
    return (
        f"<section id='run'><h2>What was run</h2>{table(columns, rows, 'models', 'Models')}"
        f"<p>{html.escape(content['time'].replace(chr(92), ''))}. Python {platform.python_version()}, {html.escape(', '.join(start_page.versions()))}.</p>{shown}</section>"
    )


def text_of(config):
    """A config as text."""
    return json.dumps({key: value for key, value in config.items() if key != "start_page"}, indent=1, default=str)
