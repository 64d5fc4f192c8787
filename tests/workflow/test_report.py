"""The report as a reader sees it: opened in a real browser, every figure looked at."""

import json
import re
from pathlib import Path

import pytest
from browser import Page, installed
from workflow_config import PROJECT

# Pictures of the last run of these tests, to look at.
ARTEFACTS = PROJECT / "tests" / "artefacts"


@pytest.fixture(scope="module")
def report(project):
    """The report of the tiny run."""
    path = project.folder / "report.html"
    project.snakemake("--report", path)
    return path


@pytest.fixture(scope="module")
def page(report, tmp_path_factory):
    """The report in a browser."""
    if not installed():
        pytest.skip("no Chromium to open the report in")
    opened = Page(tmp_path_factory.mktemp("browser"))
    opened.open(report.as_uri())
    opened.until("typeof app === 'object' && document.querySelector('#rulegraph svg, #rulegraph canvas') !== null")
    yield opened
    opened.close()


def test_nothing_is_loaded_from_elsewhere_and_all_is_inside(report):
    for part in ("multiplot_reuse_vs_threshold", "Reuse against threshold", "(table)", "sign flips"):
        assert part in report.read_text()
    assert not re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="https?://', report.read_text())


def test_the_first_page_tells_what_was_found_and_what_was_run(page, project):
    shown = page.run("document.querySelector('.prose').innerText")
    flat = " ".join(shown.split())
    told = sorted(project.folder.glob("results/tables/*/overview.json"))
    assert len(told) == 5
    for path in told:
        about = json.loads(path.read_text())
        assert 1 <= len(about["sentences"]) <= 12
        assert path.parent.name.capitalize() in shown
        for sentence in about["sentences"]:
            assert " ".join(sentence.split()) in flat
        for name, model in about["models"].items():
            assert name in flat and model["fingerprint"] in flat
    assert re.search(r"Python 3\.\d+.*torch 2\.13\.0", flat)
    jobs = int(re.search(r"(\d+) jobs, .+ of work in all, between 20", flat)[1])
    assert jobs > 50
    # Nothing of it is out of sight above the page.
    assert page.run("document.querySelector('.prose').getBoundingClientRect().top") >= 0
    ARTEFACTS.mkdir(exist_ok=True)
    page.picture(ARTEFACTS / "report_start.png")


def test_links_of_the_first_page_lead_to_figures(page):
    links = page.run("[...document.querySelectorAll('.prose a')].map(a => decodeURIComponent(a.href))")
    paths = [re.search(r"showResultInfo\('(.+)'\)", link)[1] for link in links]
    assert len(paths) >= 10 and page.run(f"{json.dumps(paths)}.every(path => path in results)")
    page.run("document.querySelector('.prose a').click()")
    page.until(f"app.state.resultPath === {json.dumps(paths[0])}")


def test_every_figure_and_page_loads_and_has_a_caption(page):
    ARTEFACTS.mkdir(exist_ok=True)
    found = page.run(
        "Object.entries(results).map(([path, r]) => [path, r.mime_type, r.caption, Object.keys(r.labels || {}).length])"
    )
    assert len(found) > 60
    for path, _, caption, labels in found:
        words = re.sub("<[^>]+>", " ", caption or "").split()
        assert len(words) >= 6, f"{path} has no caption"
        assert "{{" not in caption and "System Message" not in caption and labels, path
    pictures = [path for path, kind, *_ in found if kind.startswith("image/")]
    assert len(pictures) > 40
    for number, path in enumerate(pictures):
        page.run(f"app.setView({{content: 'img', contentPath: results[{json.dumps(path)}].data_uri}})")
        page.until(
            "(() => {const i = document.querySelector('div.p-3 > img'); return i && i.complete && "
            f"i.src === results[{json.dumps(path)}].data_uri}})()"
        )
        size = page.run(
            "(() => {const i = document.querySelector('div.p-3 > img'); return [i.naturalWidth, i.naturalHeight]})()"
        )
        assert min(size) >= 50, path
        if number % 10 == 0:
            page.picture(ARTEFACTS / f"report_{Path(path).stem}.png")


def test_every_page_in_the_report_opens(page):
    """Findings and the interactive page of circuits, as they are embedded."""
    found = page.run("Object.entries(results).filter(([_, r]) => r.mime_type === 'text/html').map(([path]) => path)")
    assert len(found) >= 5
    for path in found:
        page.run(f"app.setView({{content: 'html', contentPath: results[{json.dumps(path)}].data_uri}})")
        page.until("document.querySelector('iframe') !== null")
        source = page.run("document.querySelector('iframe').src")
        # What is in the frame, read from what it was given.
        text = page.run(f"fetch({json.dumps(source)}).then(answer => answer.text())")
        assert "<html" in text and "</html>" in text and len(text) > 1000, path


def test_the_report_can_be_searched_and_browsed(page):
    page.run("app.setView({navbarMode: 'searchresults', searchTerm: 'effect_against'})")
    page.until(
        "document.body.innerText.includes('effect_against_controls') || document.body.innerText.includes('Shared circuits among')"
    )
    for category in page.run("Object.keys(categories)"):
        page.run(f"app.showCategory({json.dumps(category)})")
        page.until(f"app.state.category === {json.dumps(category)}")


def test_no_error_and_no_request_left_the_page(page):
    """Last, after all that was opened above."""
    page.run("new Promise(done => setTimeout(() => done(1), 300))")
    assert page.errors == []
    away = [url for url in page.requests if not url.startswith(("file:", "data:", "blob:", "about:"))]
    assert away == []


def test_what_a_user_calls_a_task_is_shown_and_not_run():
    import start_page
    from docutils.core import publish_parts

    name = "a_b* `x`_ |y| <script>\n\n.. raw:: html\n\n   <script>alert(1)</script>\n\n`z <javascript:alert(2)>`__"
    for text, safe in ((start_page.escape(name), True), (name, False)):
        body = publish_parts(text, writer_name="html", settings_overrides={"report_level": 5})["html_body"]
        assert ("<script>" not in body and "href" not in body) == safe
    assert "a_b*" in publish_parts(start_page.escape(name), writer_name="html")["html_body"]
