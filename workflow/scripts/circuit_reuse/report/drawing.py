"""Draw many figures in a few processes."""

import multiprocessing
from pathlib import Path

from circuit_reuse.report import style


def draw(figures, outputs, settings, processes, log):
    """Draw every figure whose files are among the outputs; files of none of the figures are left.

    figures:  {file name without ending: function that returns a figure}
    settings: formats, dpi
    raises:   RuntimeError if a process failed
    """
    paths = sorted({Path(path).with_suffix("") for path in outputs if Path(path).stem in figures})

    # Forked, so that every process has the tables already; each takes the next figure that none has taken.
    context = multiprocessing.get_context("fork")
    taken = context.Value("i", 0)

    def some():
        while True:
            with taken.get_lock():
                place, taken.value = taken.value, taken.value + 1
            if place >= len(paths):
                return
            path = paths[place]
            style.save(figures[path.name](), path, settings["formats"], settings["dpi"])

    workers = [context.Process(target=some) for _ in range(1, processes)]
    for worker in workers:
        worker.start()
    some()
    for worker in workers:
        worker.join()
        if worker.exitcode:
            raise RuntimeError(f"a process that drew figures failed with status {worker.exitcode}")
    log.info("drew %d figures", len(paths))
