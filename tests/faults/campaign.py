"""The default study killed at twenty random moments: are the results those of a run that nobody disturbed?

    make faults

Clones the project twice, runs one in peace and kills the other (kill -9 of the whole process group) again and
again, each run going on where the last one was cut off.  Writes what happened into docs/reliability.md.
"""

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness import Job, differing, digests, killed_at_random

PROJECT = Path(__file__).resolve().parents[2]
PAGE = PROJECT / "docs" / "reliability.md"
KILLS, SEED = 20, 0
BEGIN, END = "<!-- written by make faults -->", "<!-- end -->"


def clone(folder, name):
    """The project as committed, with nothing run."""
    path = Path(folder) / name
    subprocess.run(["git", "clone", "--quiet", str(PROJECT), str(path)], check=True)
    return path


def finished(text):
    """How many jobs a run says it finished."""
    return len(re.findall(r"^Finished jobid", text, re.MULTILINE))


def campaign(folder):
    """Run, kill, compare; returns what happened as rows for the page."""
    clean, run = (clone(folder, name) for name in ("clean", "killed"))
    began = time.monotonic()
    peace = Job(clean)
    assert peace.wait(7200) == 0, peace.text[-3000:]
    calm = time.monotonic() - began
    print(f"undisturbed: {finished(peace.text)} jobs in {calm:.0f} s", flush=True)

    moments, done, tracebacks = [], 0, 0
    for job, seconds in killed_at_random(run, KILLS, 3, 2 * calm / KILLS, SEED):
        done += finished(job.text)
        tracebacks += job.text.count("Traceback (most recent call last)")
        if seconds is not None:
            moments.append(seconds)
            print(f"killed after {seconds:.1f} s, {done} jobs finished so far", flush=True)
    assert job.process.returncode == 0, job.text[-3000:]
    one, other = digests(clean), digests(run)
    again = Job(run)
    again.wait(600)
    return {
        "jobs of an undisturbed run": finished(peace.text),
        "runs that were alive when they were killed": f"{len(moments)} of {KILLS}",
        "seconds between start and kill": f"{min(moments):.0f} to {max(moments):.0f}",
        "jobs finished over all runs": done,
        "tracebacks in what the runs printed": tracebacks,
        "results compared byte for byte": len(one),
        "results that differ": len(differing(one, other)),
        "their names": ", ".join(differing(one, other)) or "none",
        "jobs that one more run has to do": 0 if "Nothing to be done" in again.text else finished(again.text),
    }


def write(rows):
    """Put the table into the page, between its marks."""
    table = "| what | count |\n|---|---|\n" + "".join(f"| {k} | {v} |\n" for k, v in rows.items())
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n\n{table}\n{END}{after}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="circuit-reuse-faults-") as place:
        outcome = campaign(place)
    write(outcome)
    print("\n".join(f"{k}: {v}" for k, v in outcome.items()))
    sys.exit(1 if outcome["results that differ"] else 0)
