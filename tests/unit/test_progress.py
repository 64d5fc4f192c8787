"""Long work says how far it is, how fast, and how long still; short work says nothing."""

import logging

import pytest
from circuit_reuse.engine import progress


@pytest.fixture
def clock(monkeypatch):
    """Time as tqdm sees it, moved by hand."""
    now = [1000.0]
    monkeypatch.setattr(progress.tqdm, "_time", lambda self: now[0], raising=False)
    monkeypatch.setattr("tqdm.std.time", lambda: now[0])
    monkeypatch.setenv(progress.VARIABLE, "score_examples tiny ioi")
    return now


def run(clock, seconds, caplog):
    caplog.set_level(logging.INFO)
    for _ in progress.bar(range(100), desc="examples", unit="example"):
        clock[0] += seconds
    return [record.message for record in caplog.records if record.name == "progress"]


def test_long_work_without_a_terminal_writes_lines_with_rate_and_time_left(clock, caplog, capsys):
    lines = run(clock, 4, caplog)
    # 400 seconds, a line every half minute.
    assert 8 <= len(lines) <= 15
    assert all(line.startswith("score_examples tiny ioi examples:") for line in lines)
    middle = lines[len(lines) // 2]
    assert "s/example" in middle and "/100 [" in middle and "<0" in middle
    assert capsys.readouterr().err.splitlines() == lines


def test_short_work_is_silent(clock, caplog, capsys):
    assert run(clock, 0.01, caplog) == [] and capsys.readouterr().err == ""
