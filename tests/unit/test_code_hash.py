"""The code hash: what must rerun a stage, and what must not."""

import pytest
from circuit_reuse.config import staleness
from circuit_reuse.config.contents import END, content_hash, file_hash


@pytest.fixture
def project(tmp_path, monkeypatch):
    package = tmp_path / "circuit_reuse"
    package.mkdir()
    (tmp_path / "a.py").write_text("import job\nfrom circuit_reuse import used\n\ndef main():\n    used.f()\n")
    (tmp_path / "job.py").write_text("x = 1\n")
    (package / "used.py").write_text("def f():\n    from circuit_reuse.deep import g\n    return g()\n")
    (package / "deep.py").write_text("def g():\n    return 1\n")
    (package / "unused.py").write_text("y = 2\n")
    monkeypatch.setattr(staleness, "SCRIPTS", tmp_path)
    return tmp_path


def hash_now(*scripts):
    staleness.code_hash.cache_clear()
    staleness.parse.cache_clear()
    staleness.project_file.cache_clear()
    staleness.known.cache_clear()
    return staleness.code_hash(*scripts)


@pytest.mark.parametrize(
    ("file", "old", "new", "changes"),
    [
        ("circuit_reuse/deep.py", "return 1", "return 2", True),
        ("circuit_reuse/deep.py", "    return 1", "    # why\n    return 1", False),
        ("circuit_reuse/deep.py", "    return 1", '    """What."""\n    return 1', False),
        ("circuit_reuse/deep.py", "def g():\n", "\n\ndef g( ):\n", False),
        ("circuit_reuse/unused.py", "2", "3", False),
        ("job.py", "1", "2", False),
        ("a.py", "used.f()", "used.f(3)", True),
    ],
)
def test_what_changes_the_hash(project, file, old, new, changes):
    before = hash_now("a.py")
    path = project / file
    path.write_text(path.read_text().replace(old, new))
    assert (hash_now("a.py") != before) == changes


def test_a_docstring_beside_code_that_changed_still_changes(project):
    path = project / "circuit_reuse" / "deep.py"
    path.write_text('def g():\n    """A."""\n    return 1\n')
    before = hash_now("a.py")
    path.write_text('def g():\n    """B."""\n    return 2\n')
    assert hash_now("a.py") != before


def test_modules_named_by_a_rule_count(project):
    before = hash_now("a.py", "circuit_reuse/unused.py")
    (project / "circuit_reuse" / "unused.py").write_text("y = 4\n")
    assert hash_now("a.py", "circuit_reuse/unused.py") != before


def test_what_is_remembered_is_what_is_read_and_damage_to_it_is_no_harm(project, monkeypatch):
    """With the records of an earlier run, without, and with broken ones."""
    monkeypatch.chdir(project)
    fresh = hash_now("a.py")
    (project / ".snakemake").mkdir()
    assert hash_now("a.py") == fresh
    staleness.remember()
    kept = (project / ".snakemake" / staleness.KNOWN).read_text()
    monkeypatch.setattr(staleness, "read", None)  # not called again
    assert hash_now("a.py") == fresh
    monkeypatch.undo()
    monkeypatch.setattr(staleness, "SCRIPTS", project)
    monkeypatch.chdir(project)
    for broken in ("", "[1]", kept[: len(kept) // 2]):
        (project / ".snakemake" / staleness.KNOWN).write_text(broken)
        assert hash_now("a.py") == fresh


def test_what_is_remembered_of_a_file_is_not_used_when_it_has_changed(project, monkeypatch):
    monkeypatch.chdir(project)
    (project / ".snakemake").mkdir()
    before = hash_now("a.py")
    staleness.remember()
    path = project / "circuit_reuse" / "deep.py"
    path.write_text(path.read_text().replace("return 1", "return 2"))
    assert hash_now("a.py") != before


@pytest.mark.parametrize("place", [0, 10, -1])
@pytest.mark.parametrize("size", [100, 2 * END, 2 * END + 11])
def test_a_changed_byte_changes_the_hash_of_a_file(tmp_path, size, place):
    content = bytearray(size)
    path = tmp_path / "file"
    path.write_bytes(content)
    before = content_hash([path])
    content[place] = 1
    path.write_bytes(content)
    file_hash.cache_clear()
    assert content_hash([path]) != before


def test_no_file_has_no_hash_and_a_lost_one_is_left_to_the_checks(tmp_path):
    assert content_hash([]) is None
    assert content_hash([tmp_path / "gone"]).startswith("files ")
