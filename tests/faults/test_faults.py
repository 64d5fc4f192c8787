"""What goes wrong on real machines: a run is cut off, and the next one finishes with the same bytes."""

import contextlib
import os
import re
import shutil
import signal
import time

import pytest
from harness import Job, differing, digests, killed_at_random, memory_limit, other_clock, small_disk, workers
from workflow_config import CONFIG, copied, copy_project

pytestmark = pytest.mark.long

# A part of the tiny run that has every kind of job: prompts, model, tables, figures.
ONE = {"models": ["tiny-gpt2-small"], "tasks": ["ioi"], "scaling": CONFIG["scaling"] | {"models": ["tiny-gpt2-small"]}}
TARGET = "reuse"


def fresh(folder):
    """The project before any run."""
    run = copy_project(folder)
    run.config(**ONE)
    return run


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """A run that nobody disturbed."""
    run = fresh(tmp_path_factory.mktemp("clean") / "run")
    run.snakemake(TARGET)
    return run


def same(run, clean):
    """Whether two runs have the same results, none more, none less; those that differ are printed."""
    if names := differing(digests(run.folder), digests(clean.folder)):
        print("different results:", *names)
    return not names


def one_line(text, words):
    """The line with some words, which is no part of a traceback."""
    assert "Traceback" not in text, text[-4000:]
    return next(line for line in text.splitlines() if words in line)


def test_runs_that_are_killed_at_random_moments_end_with_the_bytes_of_a_clean_one(clean, tmp_path):
    run = fresh(tmp_path / "run")
    runs = list(killed_at_random(run.folder, 5, 0.1, 10, 7, TARGET))
    assert sum(seconds is not None for _, seconds in runs) >= 3
    assert runs[-1][0].process.returncode == 0, runs[-1][0].text[-4000:]
    assert same(run, clean)


def test_a_job_that_the_system_kills_for_lack_of_memory_says_so_and_is_made_again(clean, tmp_path):
    run = fresh(tmp_path / "run")
    with memory_limit(2) as confine:
        if confine is None:
            pytest.skip("no memory control group may be made here")
        job = Job(run.folder, TARGET)
        # From here on jobs load a model, for which two megabytes are too few; all are put in, as some may just end.
        assert job.until("rule tokenise_examples:")
        while job.process.poll() is None and "killed from outside" not in job.text:
            for child in workers(job):
                with contextlib.suppress(OSError):
                    confine(child.pid)
            time.sleep(0.02)
        assert job.wait() != 0
    message = one_line(job.text, "killed from outside")
    assert "compute.batch_tokens" in message and "nothing finished is lost" in message
    run.snakemake(TARGET)
    assert same(run, clean)


def test_a_disk_that_fills_says_so_and_the_run_goes_on_when_there_is_room(clean, tmp_path):
    run = fresh(tmp_path / "run")
    needed = sum(path.stat().st_size for path in (clean.folder / "results").rglob("*") if path.is_file())
    with small_disk(run.folder / "results", 100) as grow:
        if grow is None:
            pytest.skip("no file system may be mounted here")
        assert needed > 100_000
        text = run.snakemake(TARGET, check=False)
        assert "no space left on the disk" in one_line(text, "no space left")
        kept = {path: path.stat().st_mtime_ns for path in (run.folder / "results").rglob("*.parquet")}
        assert kept
        grow(20_000)
        run.snakemake(TARGET)
        assert all(path.stat().st_mtime_ns == when for path, when in kept.items())
        assert same(run, clean)


def test_a_second_run_in_the_same_folder_ends_with_one_line_and_harms_nothing(clean, tmp_path):
    run = fresh(tmp_path / "run")
    first = Job(run.folder, TARGET)
    assert first.until("localrule write_prompts:")
    second = run.snakemake(TARGET, check=False)
    message = one_line(second, "another run is already using")
    assert str(first.process.pid) in message and "git worktree" in message
    assert "rule score_examples" not in second.split("another run")[1]
    assert first.wait() == 0 and same(run, clean)
    assert "Nothing to be done" in run.snakemake(TARGET)


def test_a_project_that_is_moved_has_nothing_to_do(clean, tmp_path):
    run = copied(clean, tmp_path)
    moved = tmp_path / "elsewhere" / "with a space"
    moved.parent.mkdir()
    shutil.move(run.folder, moved)
    run.folder = moved
    assert "Nothing to be done" in run.snakemake(TARGET)


def test_without_the_records_of_snakemake_results_stay_and_the_user_is_warned(clean, tmp_path):
    run = copied(clean, tmp_path)
    shutil.rmtree(run.folder / ".snakemake")
    text = run.snakemake(TARGET)
    assert "Nothing to be done" in text
    assert "--forceall" in one_line(text, "records of how the results were made are missing")
    assert same(run, clean)


def test_a_clock_that_jumps_a_year_ahead_and_back_changes_nothing(clean, tmp_path):
    environment = other_clock("+400d")
    if environment is None:
        pytest.skip("libfaketime is not installed")
    run = fresh(tmp_path / "run")
    ahead = Job(run.folder, TARGET, **environment)
    assert ahead.until("rule share_circuits:")
    ahead.kill()
    # What was written so far bears the time of a year ahead, too.
    future = time.time() + 400 * 86400
    for path in (run.folder / "results").rglob("*"):
        os.utime(path, (future, future))
    text = run.snakemake(TARGET)
    assert "Traceback" not in text and same(run, clean)
    assert "Nothing to be done" in run.snakemake(TARGET)


def test_a_run_that_is_stopped_by_hand_goes_on_where_it_was(clean, tmp_path):
    """Ctrl-C: jobs that had ended are not made again."""
    run = fresh(tmp_path / "run")
    job = Job(run.folder, "--cores", "1", TARGET)
    # In the middle of the only job: what Snakemake puts in front of each script is not ours to keep silent.
    assert job.until(lambda: list((run.folder / "logs" / "share_circuits").rglob("*.log")))
    os.killpg(job.process.pid, signal.SIGINT)
    job.wait()
    assert "KeyboardInterrupt" not in job.text
    before = {path: path.stat().st_mtime_ns for path in (run.folder / "results").rglob("scores/*/*.parquet")}
    run.snakemake(TARGET)
    assert before and all(path.stat().st_mtime_ns == when for path, when in before.items())
    assert same(run, clean) and not re.findall(r"\.\w+\.parquet\.\d+", str(list((run.folder / "results").rglob("*"))))
