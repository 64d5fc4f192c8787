"""What a branch or tag of the hub was when it was first fetched, so that later runs have the same commit.

One small file each in resources/pinned, to be committed with a study's config; without it, the hub's newest is fetched.
"""

import json
import re
from pathlib import Path

FOLDER = Path("resources", "pinned")
COMMIT = re.compile(r"[0-9a-f]{40}")


class Pin:
    """The record of one revision of a repository.

    kind:   model or dataset, which may have one name
    commit: what it was when it was first fetched, None before that, or where the revision is a commit itself
    """

    def __init__(self, name, revision, folder=FOLDER, kind="model"):
        self.name, self.revision = name, revision
        called = "" if kind == "model" else f"{kind}--"
        self.path = Path(folder) / f"{called}{name.replace('/', '--')}@{revision.replace('/', '--')}.json"
        self.commit = None
        if not COMMIT.fullmatch(revision) and self.path.is_file():
            self.commit = json.loads(self.path.read_text(encoding="utf-8"))["commit"]

    @property
    def note(self):
        """Where the commit comes from, as the end of a line of a log; empty if nothing was pinned before."""
        return f", as {self.path} says; remove that file to take what the hub has now" if self.commit else ""

    def hold(self, commit):
        """Write what the revision is, unless it is a commit itself or was written before."""
        if self.commit or COMMIT.fullmatch(self.revision):
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        record = {"hub": self.name, "revision": self.revision, "commit": commit}
        self.path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
