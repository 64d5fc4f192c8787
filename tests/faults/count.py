"""How many broken inputs the tests hold, into docs/reliability.md: python tests/faults/count.py."""

import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
PAGE = PROJECT / "docs" / "reliability.md"
BEGIN, END = "<!-- written by tests/faults/count.py -->", "<!-- end -->"


def text():
    """The table."""
    for folder in ("tests/faults", "tests/workflow", "tests", "workflow/scripts"):
        sys.path.insert(0, str(PROJECT / folder))
    import test_broken_input as broken
    import test_random_files as files

    rows = {
        "configs, by hand": len(broken.CONFIGS),
        "configs, by hypothesis: any value at any place": f"{broken.FUZZED} in each run, at any of {len({path for _, path in broken.PLACES}):,} places",
        "files of prompts": len(broken.TASK_FILES),
        "model folders": len(broken.MODELS),
        "circuit files": len(broken.CIRCUITS),
        "files of texts": len(broken.TEXT_FILES),
        "tables, circuit files, head tables, tokenizers, by hypothesis": f"{files.FUZZED} of each of six kinds in each run",
        "model folders, by hypothesis: a tensor or a value of the config": f"{files.LOADED} in each run, each loaded and compared with the plain model",
    }
    return "| what is broken | how many |\n|---|---|\n" + "".join(f"| {k} | {v} |\n" for k, v in rows.items())


def page():
    """docs/reliability.md with the table as it is now."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    return f"{before}{BEGIN}\n\n{text()}\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    PAGE.write_text(page())
