"""The lines of a run: two that stay on a terminal, one every half minute elsewhere.  Standard library only."""

import json
import logging
import re
import shutil
import statistics
import threading
import time

SECONDS = 30
# Without a terminal, lines come no oftener than this share of the time that has gone by: a run of hours is not a page of them.
LINES = 20
BAR = 24
# Of jobs that run at once, so many are named.
NAMED = 3
# Rules that must have run, and their share of all work, before their times say how much slower this run is than expected:
# the first jobs wait for imports.
SOME, SHARE = 3, 0.05
NOTHING = "Nothing to be done"


class Screen:
    """What a run has done, and how it is shown.

    stream:    where to;  durations: file of {rule: seconds} of the default run, for rules that have not run yet
    note:      file with the last line of progress of a job
    plan:      file of {"rule model": [jobs, seconds of each]} of this run, which knows how long a job of each model takes; it is there
               once the first job begins, or never
    """

    def __init__(self, stream, durations=None, note=None, plan=None, clock=time.monotonic, width=None):
        self.stream, self.note, self.plan, self.clock, self.width = stream, note, plan, clock, width
        self.live = bool(getattr(stream, "isatty", lambda: False)())
        self.known = json.loads(durations.read_text()) if durations and durations.is_file() else {}
        self.counts, self.seconds, self.running, self.about = {}, {}, {}, {}
        self.done = self.total = self.cores = 0
        self.failed, self.shown, self.lines, self.over = 0, 0.0, 0, False
        self.began = clock()
        self.lock = threading.Lock()
        self.timer = None

    def take(self, record):
        """One record of Snakemake's log."""
        event = str(getattr(record, "event", "") or "")
        with self.lock:
            act = getattr(self, f"on_{event.rpartition('.')[2].lower()}", None) if event else None
            if act:
                act(record)
            elif record.levelno >= logging.WARNING or NOTHING in record.getMessage():
                self.say(record.getMessage())

    def on_run_info(self, record):
        """The plan: how many jobs of each rule."""
        stats = dict(record.stats)
        self.total = stats.pop("total", sum(stats.values()))
        if not self.counts:
            self.counts = stats
            self.say(f"{jobs(self.total)}{self.left()}.")
            self.tick()

    def on_resources_info(self, record):
        """How many cores there are."""
        self.cores = int(getattr(record, "cores", None) or self.cores)

    def on_job_info(self, record):
        """A job begins."""
        if not self.about and self.plan and self.plan.is_file():
            planned = json.loads(self.plan.read_text(encoding="utf-8"))
            self.counts = {kind: count for kind, (count, _) in planned.items()}
            self.known = {kind: seconds for kind, (_, seconds) in planned.items()}
        wildcards = record.wildcards or {}
        kind = f"{record.rule_name} {wildcards.get('model', '')}".strip()
        kind = kind if kind in self.counts else record.rule_name
        self.about[record.jobid] = (kind, " ".join([record.rule_name, *map(str, wildcards.values())]))
        self.running[record.jobid] = self.clock()
        self.show()

    def on_job_finished(self, record):
        """A job ended well."""
        began = self.running.pop(record.job_id, None)
        kind = self.about.get(record.job_id, ("", ""))[0]
        if began is not None:
            self.seconds.setdefault(kind, []).append(self.clock() - began)
            self.counts[kind] = self.counts.get(kind, 1) - 1

    def on_progress(self, record):
        """How many jobs are done."""
        self.done, self.total = record.done, record.total
        if self.done == self.total:
            self.end(f"{jobs(self.total)} in {spelled(self.clock() - self.began)}.")
        else:
            self.show()

    def on_job_error(self, record):
        """A job failed: its own message has said why; here stand its place in the workflow and its log."""
        self.failed += 1
        self.running.pop(record.jobid, None)
        name = self.about.get(record.jobid, ("", record.rule_name))[1]
        logs = ", ".join(map(str, record.log or ())) or "no log"
        self.say(f"{name} failed (log: {logs}). Running jobs will be completed; finished results are kept.")

    def on_error(self, record):
        """Why the run ends: a message, without the places in Snakemake's code and ours where it was raised."""
        if not self.failed:
            lines = [
                line
                for line in record.getMessage().splitlines()
                if not re.match(r"\s*(File |Base dir|Run dir|Working dir|Config )", line)
            ]
            text = re.sub(r"^\w*(Error|Exception) in file .*?, line \d+:$", "", "\n".join(lines), flags=re.MULTILINE)
            self.say(text.strip())

    def on_shellcmd(self, record):
        """No job runs a command that a user would want to see."""

    on_job_started = on_debug_dag = on_rulegraph = on_workflow_started = on_group_info = on_group_error = on_shellcmd

    def slowness(self):
        """How many times longer jobs take than expected, all that have run together; None before a few have.

        Together, since jobs of a small model beside a large one end first and say little of what is left.
        """
        ran = {kind: found for kind, found in self.seconds.items() if self.known.get(kind)}
        done = sum(self.known[kind] * len(found) for kind, found in ran.items())
        ahead = sum(self.known.get(kind, 0) * count for kind, count in self.counts.items())
        if len(ran) < SOME or done < SHARE * (done + ahead):
            return None
        return sum(map(sum, ran.values())) / done

    def expected(self, kind, slowness):
        """Seconds of a job of a rule, or of a rule and a model: the mean of this run, else as expected times how much slower it is."""
        if kind in self.seconds:
            return statistics.mean(self.seconds[kind])
        return None if kind not in self.known else self.known[kind] * (slowness or 1)

    def left(self):
        """How long still, in words; nothing where too little is known.

        A job that runs longer than expected is taken to be half done.
        """
        slowness, running = self.slowness(), {}
        for job, began in self.running.items():
            running.setdefault(self.about.get(job, ("", ""))[0], []).append(self.clock() - began)
        total = known = 0.0
        for kind, count in self.counts.items():
            seconds, began = self.expected(kind, slowness), running.get(kind, [])
            known += count if seconds is not None else 0
            seconds = seconds or 0.0
            total += max(count - len(began), 0) * seconds
            total += sum(seconds - each if each < seconds else each for each in began if seconds)
        if not total or known < 0.5 * sum(self.counts.values()):
            return ""
        # A larger model takes longer than that of the default run.
        word = "about" if slowness else "at least"
        return f", {word} {spelled(total / max(self.cores, 1))} left"

    def summary(self):
        """How far the run is, in one line."""
        share = self.done / self.total if self.total else 0
        return f"{self.done} of {self.total} jobs ({100 * share:.0f} %){self.left()}"

    def names(self):
        """What runs."""
        found = [self.about[job][1] for job in self.running if job in self.about]
        more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
        return ", ".join(found[:NAMED]) + more

    def show(self):
        """Draw the lines again, or print one if half a minute went by."""
        if self.over or not self.total:
            return
        if self.live:
            self.draw()
        elif (
            self.clock() - self.shown >= max(SECONDS, (self.clock() - self.began) / LINES)
            and self.clock() - self.began >= SECONDS / 2
        ):
            self.shown = self.clock()
            running = self.names()
            self.stream.write(f"{self.summary()}{'; ' + running if running else ''}\n")
            self.stream.flush()

    def draw(self):
        """Two lines that stay: a bar with how far the run is, and what runs or last said how far it is."""
        width = (self.width or shutil.get_terminal_size().columns) - 1
        full = round(BAR * self.done / self.total) if self.total else 0
        text = self.last_note() or self.names()
        self.wipe()
        lines = [f"[{'#' * full}{'.' * (BAR - full)}] {self.summary()}"[:width], text[:width]]
        self.stream.write("\n".join(lines) + "\n")
        self.stream.flush()
        self.lines = len(lines)

    def last_note(self):
        """The last line of progress of a job, if it is of one that runs."""
        try:
            text = self.note.read_text(encoding="utf-8") if self.note else ""
        except OSError:
            return ""
        return text if any(text.startswith(self.about[job][1]) for job in self.running if job in self.about) else ""

    def wipe(self):
        """Take the lines off the terminal."""
        if self.lines:
            self.stream.write(f"\x1b[{self.lines}A\x1b[J")
            self.lines = 0

    def say(self, text):
        """A message that stays above the lines."""
        if text:
            self.wipe()
            self.stream.write(text.rstrip() + "\n")
            self.stream.flush()
            if self.live:
                self.show()

    def tick(self):
        """Draw again every second, or write a line when it is time, since jobs may take long."""
        if not self.over:
            self.timer = threading.Timer(1.0 if self.live else SECONDS / 2, self.ticked)
            self.timer.daemon = True
            self.timer.start()

    def ticked(self):
        """Some time went by."""
        with self.lock:
            self.show()
        self.tick()

    def end(self, text=""):
        """The last line; nothing is drawn after it."""
        if not self.over:
            self.over = True
            if self.timer:
                self.timer.cancel()
            self.wipe()
            if text:
                self.stream.write(text + "\n")
            self.stream.flush()


def jobs(number):
    """A number of jobs in words."""
    return "1 job" if number == 1 else f"{number} jobs"


def spelled(seconds):
    """A time in words."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
