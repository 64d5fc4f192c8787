"""What a person sees of a run: few lines, how far it is, how long still, and why it failed."""

import io
import json
import logging
import re
from types import SimpleNamespace

import pytest
from snakemake_logger_plugin_circuit_reuse.screen import Screen, spelled


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Run:
    """Records as Snakemake makes them, with a clock that the test moves."""

    def __init__(self, stream, tmp_path):
        self.now, self.stream = 0.0, stream
        (tmp_path / "durations.json").write_text(json.dumps({"score": 10, "share": 2}))
        self.screen = Screen(stream, tmp_path / "durations.json", tmp_path / "note", None, lambda: self.now, 80)
        self.log("resources_info", cores=2)
        self.log("run_info", stats={"score": 4, "share": 2, "total": 6})

    def log(self, event=None, level=logging.INFO, text="", **about):
        record = SimpleNamespace(event=event, levelno=level, getMessage=lambda: text, **about)
        self.screen.take(record)

    def job(self, number, rule, seconds, **wildcards):
        self.log("job_info", jobid=number, rule_name=rule, wildcards=wildcards)
        self.now += seconds
        self.log("job_finished", job_id=number)
        self.log("progress", done=number, total=6)

    def text(self):
        return self.stream.getvalue()


def test_without_a_terminal_there_is_a_line_every_half_minute(tmp_path):
    run = Run(io.StringIO(), tmp_path)
    assert run.text() == "6 jobs, at least 22 s left.\n"
    for number in range(1, 6):
        run.job(number, "score" if number < 5 else "share", 16, model="m", task=f"t{number}")
    run.job(6, "share", 1)
    lines = run.text().splitlines()
    assert 4 <= len(lines) <= 5 and lines[-1] == "6 jobs in 81 s."
    # By the time of the jobs of this run, not of the default one: two of 16 s and two of 2 s on two cores.
    assert "2 of 6 jobs (33 %), at least 18 s left" in run.text()
    assert "\x1b" not in run.text()


def test_on_a_terminal_two_lines_stay_and_are_gone_at_the_end(tmp_path):
    run = Run(Terminal(), tmp_path)
    run.log("job_info", jobid=1, rule_name="score", wildcards={"model": "m", "task": "ioi"})
    (tmp_path / "note").write_text("score m ioi eap-ig:  50%|#####     | 4/8 [00:02<00:02]")
    run.screen.show()
    shown = run.text().rpartition("\x1b[J")[2]
    assert shown.startswith("[....") and "eap-ig:  50%" in shown and max(map(len, shown.splitlines())) < 80
    run.log("job_finished", job_id=1)
    run.log("job_info", jobid=2, rule_name="score", wildcards={"model": "m", "task": "digits"})
    # The note of a job that has ended is not shown.
    assert run.text().rpartition("\x1b[J")[2].splitlines()[1] == "score m digits"
    run.log("progress", done=6, total=6)
    assert run.text().rpartition("\x1b[J")[2] == "6 jobs in 0 s.\n"
    run.screen.show()
    assert run.text().endswith("6 jobs in 0 s.\n")


def test_a_failed_job_is_named_with_its_log_and_no_traceback_follows(tmp_path):
    run = Run(io.StringIO(), tmp_path)
    run.log("job_info", jobid=1, rule_name="score", wildcards={"model": "m"})
    run.log("job_error", logging.ERROR, jobid=1, rule_name="score", log=["logs/score/m.log"])
    run.log(
        "error",
        logging.ERROR,
        "RuleException:\nCalledProcessError in file x, line 23:\nCommand 'set -euo'",
        exception="RuleException",
    )
    assert "score m failed (log: logs/score/m.log)" in run.text() and "Command" not in run.text()


def test_a_mistake_in_the_config_is_shown_without_the_places_in_the_code(tmp_path):
    run = Run(io.StringIO(), tmp_path)
    text = 'WorkflowError in file "/p/rules/common.smk", line 47:\nseed is \'x\'; it must be of type integer\n  File "/p/rules/common.smk", line 47, in <module>\n'
    text += "  Base directory: /p\n  Config file(s): [x]"
    run.log("error", logging.ERROR, text, exception="WorkflowError")
    assert run.text().splitlines()[1:] == ["seed is 'x'; it must be of type integer"]


def test_warnings_are_shown_and_chatter_is_not(tmp_path):
    run = Run(io.StringIO(), tmp_path)
    run.log(None, logging.WARNING, "8 pairs are left out")
    run.log(None, logging.INFO, "Using shell: /usr/bin/bash")
    run.log("shellcmd", shellcmd="ls")
    assert run.text().splitlines()[1:] == ["8 pairs are left out"]


def test_rules_that_have_not_run_yet_are_taken_to_be_as_much_slower_as_the_others(tmp_path):
    (tmp_path / "d.json").write_text(json.dumps({"a": 1, "b": 2, "c": 3, "d": 10}))
    now = [0.0]
    screen = Screen(io.StringIO(), tmp_path / "d.json", clock=lambda: now[0])
    screen.take(SimpleNamespace(event="run_info", stats={"a": 1, "b": 1, "c": 1, "d": 3}, levelno=logging.INFO))
    for job, (rule, seconds) in enumerate((("a", 5), ("b", 10), ("c", 15))):
        screen.take(SimpleNamespace(event="job_info", jobid=job, rule_name=rule, wildcards={}, levelno=logging.INFO))
        now[0] += seconds
        screen.take(SimpleNamespace(event="job_finished", job_id=job, levelno=logging.INFO))
    assert screen.left() == ", about 2 min left"  # three of ten seconds, five times as slow


def test_jobs_of_a_large_model_that_go_first_say_how_long_its_others_take_and_not_those_of_a_small_one(tmp_path):
    """The longest jobs begin a run; what is left is mostly short."""
    (tmp_path / "d.json").write_text(json.dumps(dict.fromkeys("abcd", 1)))
    kinds = (
        {f"{rule} large": [1, 100] for rule in "abc"}
        | {"d large": [2, 100]}
        | {f"{rule} small": [10, 1] for rule in "abcd"}
    )
    (tmp_path / "plan").write_text(json.dumps(kinds))
    now, left = [0.0], {}
    for plan in (tmp_path / "plan", None):
        screen = Screen(io.StringIO(), tmp_path / "d.json", plan=plan, clock=lambda: now[0])
        stats = dict.fromkeys("abc", 11) | {"d": 12}
        screen.take(SimpleNamespace(event="run_info", stats=stats, levelno=logging.INFO))
        for job, rule in enumerate("abc"):
            about = {"jobid": job, "rule_name": rule, "wildcards": {"model": "large"}}
            screen.take(SimpleNamespace(event="job_info", levelno=logging.INFO, **about))
            now[0] += 200
            screen.take(SimpleNamespace(event="job_finished", job_id=job, levelno=logging.INFO))
        left[plan is not None] = screen.left()
    # Twice as slow as expected: two of 200 s, and forty of 2 s.
    assert left[True] == f", about {spelled(480)} left"
    # Without what is expected of each model, all would take as long.
    assert left[False] == f", about {spelled(42 * 200)} left"


def test_a_run_is_as_slow_as_what_waited_for_imports_only_once_more_has_run(tmp_path):
    (tmp_path / "d.json").write_text(json.dumps({"a": 1, "b": 1, "c": 1, "d": 100}))
    now = [0.0]
    screen = Screen(io.StringIO(), tmp_path / "d.json", clock=lambda: now[0])
    stats = {"a": 1, "b": 1, "c": 1, "d": 3}
    screen.take(SimpleNamespace(event="run_info", stats=stats, levelno=logging.INFO))
    for job, rule in enumerate("abc"):
        screen.take(SimpleNamespace(event="job_info", jobid=job, rule_name=rule, wildcards={}, levelno=logging.INFO))
        now[0] += 30
        screen.take(SimpleNamespace(event="job_finished", job_id=job, levelno=logging.INFO))
    assert screen.left() == ", at least 5 min left"


def test_a_job_that_runs_longer_than_expected_does_not_use_up_the_time_of_the_others(tmp_path):
    (tmp_path / "d.json").write_text(json.dumps({"a": 10, "b": 100}))
    now = [0.0]
    screen = Screen(io.StringIO(), tmp_path / "d.json", clock=lambda: now[0])
    screen.take(SimpleNamespace(event="run_info", stats={"a": 1, "b": 6}, levelno=logging.INFO))
    screen.take(SimpleNamespace(event="job_info", jobid=1, rule_name="a", wildcards={}, levelno=logging.INFO))
    now[0] += 300
    # Six of a hundred seconds, and the one that has run for 300 instead of ten as long again.
    assert screen.left() == ", at least 15 min left"


def test_an_unknown_rule_leaves_no_guess_of_the_time(tmp_path):
    screen = Screen(io.StringIO(), None)
    screen.take(SimpleNamespace(event="run_info", stats={"new": 9, "total": 9}, levelno=logging.INFO))
    assert screen.stream.getvalue() == "9 jobs.\n"


@pytest.mark.parametrize(("seconds", "words"), [(3, "3 s"), (89, "89 s"), (91, "2 min"), (7200, "2.0 h")])
def test_times_in_words(seconds, words):
    assert spelled(seconds) == words and re.match(r"\d", words)
