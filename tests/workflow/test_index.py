"""The page of results, opened in a real browser."""

import csv
import json
import re
import shutil
import subprocess
import sys

import index_page
import pytest
import yaml
from browser import Page, installed
from circuit_reuse.report import latex
from circuit_reuse.studies.registry import STUDIES
from workflow_config import PROJECT, copied

# Each id stands once.
ONCE = (
    "(ids => ids.length > 0 && ids.length === new Set(ids).size)([...document.querySelectorAll('[id]')].map(e => e.id))"
)
ARTEFACTS = PROJECT / "tests" / "artefacts"


@pytest.fixture(scope="module")
def path(project):
    """The page that the tiny run wrote at its end."""
    return project.folder / "results" / "index.html"


@pytest.fixture(scope="module")
def page(path, tmp_path_factory):
    """It in a browser."""
    if not installed():
        pytest.skip("no Chromium to open the page in")
    opened = Page(tmp_path_factory.mktemp("browser"))
    opened.open(path.as_uri())
    yield opened
    opened.close()


def test_it_is_one_small_file_with_every_finding_and_links_to_what_is_there(project, path):
    text = path.read_text()
    assert path.stat().st_size < 6_000_000
    for name in STUDIES:
        about = json.loads((project.folder / f"results/tables/{name}/overview.json").read_text())
        assert all(index_page.html.escape(sentence) in text for sentence in about["sentences"])
    links = re.findall(r"href='([^'#]+)'", text)
    assert len(links) > 100 and not [link for link in links if re.match(r"\w+:", link)]
    missing = [link for link in links if not (path.parent / link).is_file()]
    assert not missing and {f"tables/{name}/results.tex" for name in STUDIES} <= set(links)


def test_nothing_is_asked_of_the_network_and_nothing_goes_wrong(page):
    assert page.errors == []
    assert all(url.startswith(("file:", "data:")) for url in page.requests)
    ARTEFACTS.mkdir(exist_ok=True)
    page.picture(ARTEFACTS / "index_start.png")


def test_rows_are_sorted_and_filtered(page):
    rows = "[...document.querySelectorAll('table.sorts')[0].tBodies[0].rows]"
    total = page.run(f"{rows}.length")
    page.run("(f => { f.value = 'ioi'; f.dispatchEvent(new Event('input')) })(document.getElementById('all-filter'))")
    shown = page.run(f"{rows}.filter(row => !row.hidden).map(row => row.cells[1].textContent)")
    assert 0 < len(shown) < total and set(shown) == {"ioi"}
    assert page.run("document.getElementById('all-count').textContent") == f"{len(shown)} of {total} rows"
    head = "document.querySelectorAll('table.sorts')[0].tHead.rows[0].cells[7]"
    for way, sign in (("ascending", 1), ("descending", -1)):
        page.run(f"{head}.firstElementChild.click()")
        assert page.run(f"{head}.getAttribute('aria-sort')") == way
        values = page.run(f"{rows}.map(row => row.cells[7].dataset.value).filter(value => value !== '').map(Number)")
        assert values == sorted(values, reverse=sign < 0) and len(values) > 4


def test_what_needs_no_mouse_or_eyes_is_there(page):
    assert page.run("[...document.querySelectorAll('th')].every(head => head.querySelector('button'))")
    assert page.run("[...document.querySelectorAll('input')].every(field => field.closest('label'))")
    assert page.run(ONCE)


def test_text_from_tables_is_escaped(project, tmp_path):
    results = tmp_path / "results" / "tables" / "reuse"
    results.mkdir(parents=True)
    evil = "<script>alert(1)</script>"
    about = {
        "sentences": [evil],
        "models": {evil: {"fingerprint": "x", "parameters": 1, "layers": 1, "heads": 1, "rounding": ""}},
    }
    (results / "overview.json").write_text(json.dumps(about))
    (results / "summary.csv").write_text(f"model,task,effect\n{evil},ioi,1.5\n")
    config = yaml.safe_load((project.folder / "config" / "config.yaml").read_text())
    text = index_page.write(config | {"model_sources": {}}, tmp_path).read_text()
    assert evil not in text and index_page.html.escape(evil) in text
    assert "alert(1)" in text and sys.getsizeof(text) < 100_000


def test_what_an_earlier_config_left_is_not_shown_as_this_run_s(project, tmp_path):
    """A figure and a table that are not asked for now, and the pages of a model that left; what is asked for is."""
    for path in ("tables/reuse/overview.json", "tables/reuse/stability.csv", "tables/reuse/fine_grained.csv"):
        (tmp_path / "results" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "results" / path).write_text('{"sentences": [], "models": {}}')
    config = yaml.safe_load((project.folder / "config" / "config.yaml").read_text()) | {"model_sources": {}}
    for model in (config["models"][0], "gone"):
        (tmp_path / "results" / "figures" / "reuse" / model).mkdir(parents=True)
        (tmp_path / "results" / "figures" / "reuse" / model / "circuits.html").write_text("")
    for name in ("generic", "layers"):
        (tmp_path / "results" / "figures" / "reuse" / f"{name}.png").write_text("")
    text = index_page.write(config, tmp_path, {"fine_grained", "generic"}).read_text()
    assert "stability.csv" in text and "fine_grained.csv" not in text
    assert "reuse-layers" in text and "reuse-generic" not in text
    assert f"{config['models'][0]}/circuits.html" in text and "gone/circuits.html" not in text


def test_a_study_of_an_earlier_run_is_shown_with_its_own_config(project, tmp_path):
    """Captions have the numbers that the figures were drawn with, whatever was run since."""
    results = tmp_path / "results"
    for study in ("reuse", "contrast"):
        (results / "tables" / study).mkdir(parents=True)
        (results / "tables" / study / "overview.json").write_text('{"sentences": [], "models": {}}')
        (results / "figures" / study).mkdir(parents=True)
    for kind in ("svg", "png", "pdf"):
        (results / "figures" / "reuse" / f"effect_against_controls.{kind}").write_text("<svg></svg>")
    first = yaml.safe_load((project.folder / "config" / "config.yaml").read_text()) | {"model_sources": {}}
    first["cross_task"] = first["cross_task"] | {"top_k": 77}
    first["attribution"] = {"metric": "logit_difference"}
    first["figures"] = first["figures"] | {"formats": ["svg", "png"]}
    text = index_page.write(first, tmp_path, asked={"reuse"}).read_text()
    # A PDF that an earlier config asked for is not shown.
    assert (
        "K = 77" in text
        and "effect_against_controls.pdf" not in text
        and "earlier run" not in text.split("id='contrast'")[0]
    )
    # What the other study was made with is not on record, and the page says so.
    assert "whose config is not on record" in text.split("<section id='contrast'>")[1]
    second = first | {"cross_task": first["cross_task"] | {"top_k": 88}}
    text = index_page.write(second, tmp_path, asked={"contrast"}).read_text()
    reuse, contrast = text.split("<section id='contrast'>")
    assert "K = 77" in reuse and "K = 88" not in reuse and "Of an earlier run" in reuse
    assert "K = 77" in (results / "figures" / "reuse" / "captions.md").read_text()
    assert "The config of the reuse study" in contrast and "88" in contrast
    # A run of one figure leaves tables and sentences as they were, and the page says so.
    (tmp_path / "results" / "tables" / "reuse" / "results.tex").write_text("kept")
    text = index_page.write(second, tmp_path, asked={"reuse"}, part={"reuse"}).read_text()
    assert "was not asked for its tables and sentences" in text and "make run ARGS=reuse" in text
    assert (tmp_path / "results" / "tables" / "reuse" / "results.tex").read_text() == "kept"
    text = index_page.write(second, tmp_path, asked={"reuse"}).read_text()
    assert "was not asked for its tables and sentences" not in text
    assert "K = 88" in text and "K = 77" not in text


def test_scripts_in_a_figure_do_not_reach_the_page(tmp_path):
    (tmp_path / "a.svg").write_text("<svg><script>x()</script><foreignObject><p>x</p></foreignObject><g id='a'/></svg>")
    text = index_page.inlined(tmp_path / "a.svg", "f0", "T")
    assert "script" not in text and "foreignObject" not in text and "<g" in text


def test_every_figure_has_a_caption_as_text_and_as_latex_that_compiles(project, tmp_path):
    folder = project.folder / "results" / "figures" / "reuse"
    text, tex = ((folder / f"captions.{end}").read_text() for end in ("md", "tex"))
    drawn = {path.stem for path in folder.glob("*.png")}
    assert (
        {line.split("**")[1] for line in text.splitlines() if line}
        == drawn
        == set(re.findall(r"linewidth\]\{(\w+)\.png\}", tex))
    )
    assert "K = 3" in text
    compiled(tex.replace(r"\end{figure}", r"\end{figure}\clearpage"), folder, tmp_path)


@pytest.mark.parametrize("study", STUDIES)
def test_the_main_results_of_a_study_are_a_latex_table_that_compiles(project, tmp_path, study):
    folder, about = project.folder / "results" / "tables" / study, STUDIES[study].paper
    text = (folder / "results.tex").read_text()
    with (folder / about.file).open() as stream:
        rows = list(csv.DictReader(stream))
    assert set(about.columns) <= set(rows[0])
    lines = [line for line in text.splitlines() if line.endswith(r"\\")][1:]
    assert 0 < len(lines) <= len(rows) and all(line.count("&") == len(about.columns) - 1 for line in lines)
    # Of the reuse study those of one K and threshold, which the caption names.
    assert study != "reuse" or len(lines) < len(rows)
    compiled(text + r"\clearpage", folder, tmp_path)


def test_any_text_of_a_model_or_task_compiles_as_latex(tmp_path):
    every = [chr(code) for code in [*range(32, 0x2600), 0x4E2D, 0x1F600]]
    lines = [latex.escape("".join(every[at : at + 40])) for at in range(0, len(every), 40)]
    compiled("\\sloppy\n" + "\n\n".join(lines), tmp_path, tmp_path)
    assert latex.escape("größe ≤ 3 中") == "größe $\\leq$ 3 [U+4E2D]"


def compiled(body, folder, tmp_path):
    """Compile LaTeX with figures of a folder."""
    if not shutil.which("pdflatex"):
        pytest.skip("no LaTeX")
    before = (
        r"\documentclass{article}\usepackage{graphicx,booktabs}\begin{document}\graphicspath{{" + f"{folder}/" + "}}\n"
    )
    (tmp_path / "a.tex").write_text(before + body + r"\end{document}")
    done = subprocess.run(["pdflatex", "-halt-on-error", "a.tex"], cwd=tmp_path, capture_output=True)
    assert done.returncode == 0, done.stdout[-2000:].decode(errors="replace")


def test_marks_show_their_values_under_the_pointer(project, page, tmp_path):
    """Those of the table, in the browser: a title is what it shows for the mark that it lies in."""
    run = copied(project, tmp_path)
    run.snakemake("results/figures/reuse/effect_against_controls.svg", "--config", "figures={formats: [png, svg]}")
    page.open((run.folder / "results" / "index.html").as_uri())
    marks = "[...document.querySelectorAll('#reuse-effect_against_controls svg g > :has(title)')]"
    shown = page.run(f"{marks}.map(mark => mark.querySelector('title').textContent)")
    with (project.folder / "results" / "tables" / "reuse" / "summary.csv").open() as stream:
        effects = {f"{float(row['effect']):.3g}" for row in csv.DictReader(stream) if row["effect"]}
    # What is for readers who do not see it, and ids, of figures too.
    assert page.run(
        "(all => all.length > 0 && all.every(svg => svg.getAttribute('aria-label')))([...document.querySelectorAll('figure svg')])"
    )
    assert page.run(ONCE)
    assert shown and all(re.search(r": (\S+) ", text)[1] in effects for text in shown)
    assert page.run(f"{marks}.every(mark => mark.getBoundingClientRect().width > 0)")
    page.picture(ARTEFACTS / "index_figures.png")
