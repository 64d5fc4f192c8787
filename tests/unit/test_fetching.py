"""Models from the hub: what is fetched is what is on record. A small hub on this machine stands for the real one."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from circuit_reuse.data import fingerprint
from circuit_reuse.origins import pinned
from support import MODELS, PROJECT

SOURCE, COMMIT = MODELS / "tiny-gpt2-small", "a" * 40
# The hub's conversion of pickled weights: a pull request, and its commit.
PULL, PULLED = "refs%2Fpr%2F3", "b" * 40
FETCH_FILE = """
import json, sys
sys.path.insert(0, "workflow/scripts")
from circuit_reuse.origins import dataset_files
try:
    print(*dataset_files.fetch(sys.argv[2], sys.argv[3], sys.argv[4], sys.argv[1]))
except ValueError as problem:
    sys.exit(f"error: {problem}")
"""
FETCH = """
import sys
sys.path.insert(0, "workflow/scripts")
from circuit_reuse.origins import fetching
try:
    kind, value = (sys.argv[4:] or ["expected="])[0].split("=")
    print(*filter(None, fetching.fetch(sys.argv[2], sys.argv[3], sys.argv[1], **{kind: value or (kind == "conversion" or None)})))
except ValueError as problem:
    sys.exit(f"error: {problem}")
"""


class Hub(BaseHTTPRequestHandler):
    """The calls of the hub's protocol that a download makes."""

    files, altered, asked, gated = {}, {}, [], False
    pull, author, status = None, "SFconvertbot", "open"

    def log_message(self, *arguments):
        pass

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, body):
        path = self.path.split("?")[0]
        self.asked.append(path)
        if self.gated:
            self.send_response(403)
            self.send_header("X-Error-Code", "GatedRepo")
            self.end_headers()
            return
        if not path.startswith(("/api/models/me/tiny", "/me/tiny", "/datasets/me/tiny")):
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.end_headers()
            return
        if "/revision/nowhere" in path:
            self.send_response(404)
            self.send_header("X-Error-Code", "RevisionNotFound")
            self.end_headers()
            return
        if path.endswith("/discussions"):
            content, headers = json.dumps(self.discussions()).encode(), {"Content-Type": "application/json"}
        elif path.startswith("/api/models/me/tiny/tree"):
            content, headers = json.dumps(self.tree()).encode(), {"Content-Type": "application/json"}
        elif path.startswith("/api/models/me/tiny"):
            content, headers = (json.dumps(self.record()).encode(), {"Content-Type": "application/json"})
        else:
            name = path.rsplit("/", 1)[1]
            if name not in self.there():
                self.send_response(404)
                self.send_header("X-Error-Code", "EntryNotFound")
                self.end_headers()
                return
            content = self.altered.get(name, self.there()[name])
            commit = COMMIT if self.there() is self.files else PULLED
            headers = {"ETag": f'"{hashlib.sha256(self.there()[name]).hexdigest()}"', "X-Repo-Commit": commit}
        self.send_response(200)
        for key, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(key, value)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def there(self):
        """The files of the revision that is asked for."""
        return self.pull if self.pull and (PULL in self.path or PULLED in self.path) else self.files

    def discussions(self):
        """The pull requests, of which those of one author are asked for."""
        asked = f"author={self.author}" in self.path
        about = {"num": 3, "title": "Adding safetensors", "status": self.status, "isPullRequest": True}
        about |= {"author": {"name": self.author}, "repo": {"name": "me/tiny", "type": "model"}}
        about |= {"createdAt": "2023-03-01T00:00:00.000Z"}
        found = [about] if self.pull and asked else []
        return {"discussions": found, "count": len(found), "start": 0}

    def tree(self):
        """The list of files."""
        record = self.record()["siblings"]
        found = []
        for each in record:
            entry = {"type": "file", "path": each["rfilename"], "size": each["size"], "oid": each["blobId"]}
            if "lfs" in each:
                entry["lfs"] = {"oid": each["lfs"]["sha256"], "size": each["size"], "pointerSize": 130}
            found.append(entry)
        return found

    def record(self):
        """What the hub knows of the repository."""
        siblings = []
        for name, content in self.there().items():
            entry = {"rfilename": name, "size": len(content)}
            entry["blobId"] = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
            if name.endswith((".safetensors", ".bin")):
                entry["lfs"] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
            siblings.append(entry)
        return {
            "id": "me/tiny",
            "modelId": "me/tiny",
            "sha": COMMIT if self.there() is self.files else PULLED,
            "siblings": siblings,
            "tags": [],
            "private": False,
            "downloads": 0,
        }


@pytest.fixture
def hub(monkeypatch):
    """A hub with one model, and what else no one should want."""
    names = ("config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors")
    Hub.files = {name: (SOURCE / name).read_bytes() for name in names} | {
        "pytorch_model.bin": b"pickle",
        "modeling_x.py": b"code",
    }
    Hub.altered, Hub.asked, Hub.gated, Hub.pull, Hub.author = {}, [], False, None, "SFconvertbot"
    Hub.status = "open"
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def fetch(hub, folder, *more, name="me/tiny", revision="main", script=FETCH, **environment):
    """Fetch in a process of its own, which reads the address of the hub and of the cache when it starts."""
    env = os.environ | {
        "HF_ENDPOINT": hub,
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
        "HF_HOME": str(folder.parent / "home"),
    }
    return subprocess.run(
        [sys.executable, "-c", script, str(folder), name, revision, *more],
        cwd=PROJECT,
        env=env | environment,
        capture_output=True,
        text=True,
    )


# Nothing listens there.
NOWHERE = "http://127.0.0.1:9"


def test_a_model_is_fetched_by_commit_with_its_hashes_and_without_code_or_pickles(hub, tmp_path):
    folder = tmp_path / "tiny"
    done = fetch(hub, folder)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() == COMMIT
    assert fingerprint.fingerprint(folder) == fingerprint.fingerprint(SOURCE)
    assert not list(folder.glob("*.bin")) and not list(folder.glob("*.py"))
    origin = json.loads((folder / "origin.json").read_text())
    weights = hashlib.sha256((SOURCE / "model.safetensors").read_bytes()).hexdigest()
    assert origin["commit"] == COMMIT and origin["files"]["model.safetensors"] == f"sha256:{weights}"


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_file_that_is_not_the_one_on_record_is_refused(hub, tmp_path, name):
    good = Hub.files[name]
    Hub.altered = {name: good[:-1] + bytes([good[-1] ^ 1])}
    done = fetch(hub, tmp_path / "tiny")
    assert done.returncode and "error: " in done.stderr and name in done.stderr and "on record" in done.stderr
    assert not (tmp_path / "tiny").exists()
    # The damaged file does not stay for the next try.
    Hub.altered = {}
    assert fetch(hub, tmp_path / "tiny").returncode == 0


def test_another_version_than_the_config_asks_for_is_refused(hub, tmp_path):
    done = fetch(hub, tmp_path / "tiny", "expected=" + "0" * 16)
    assert done.returncode and "another version" in done.stderr and not (tmp_path / "tiny").exists()
    assert fetch(hub, tmp_path / "tiny", f"expected={fingerprint.fingerprint(SOURCE)}").returncode == 0


def test_what_is_left_of_another_download_is_not_mixed_in(hub, tmp_path):
    left = tmp_path / f".tiny.{COMMIT[:12]}.partial"
    left.mkdir()
    (left / "model-00001-of-00002.safetensors").write_bytes(b"of another version")
    assert fetch(hub, tmp_path / "tiny").returncode == 0
    assert fingerprint.fingerprint(tmp_path / "tiny") == fingerprint.fingerprint(SOURCE)


def test_the_folder_holds_links_into_the_cache_that_hf_home_names(hub, tmp_path):
    assert fetch(hub, tmp_path / "tiny").returncode == 0
    for path in (tmp_path / "tiny").iterdir():
        if path.name != "origin.json":
            assert path.is_symlink() and path.readlink().is_relative_to(tmp_path / "home" / "hub")
    assert not any(path.startswith(".") for path in os.listdir(tmp_path))


def test_a_model_that_the_cache_has_is_not_fetched_again(hub, tmp_path):
    assert fetch(hub, tmp_path / "tiny").returncode == 0
    Hub.asked.clear()
    assert fetch(hub, tmp_path / "again", revision=COMMIT).returncode == 0
    assert Hub.asked == [], Hub.asked
    # A branch may have moved, which only the hub knows.
    assert fetch(hub, tmp_path / "once more").returncode == 0
    assert Hub.asked and not any("resolve" in path for path in Hub.asked)


@pytest.mark.parametrize("offline", ["0", "1"])
@pytest.mark.parametrize("revision", ["main", COMMIT])
def test_a_model_that_the_cache_has_needs_no_network(hub, tmp_path, revision, offline):
    assert fetch(hub, tmp_path / "tiny").returncode == 0
    Hub.asked.clear()
    address = hub if offline == "1" else NOWHERE
    done = fetch(address, tmp_path / "again", revision=revision, HF_HUB_OFFLINE=offline)
    assert done.returncode == 0 and done.stdout.strip() == COMMIT, done.stderr[-2000:]
    assert Hub.asked == []
    assert fingerprint.fingerprint(tmp_path / "again") == fingerprint.fingerprint(SOURCE)


def test_another_program_s_cache_is_used(hub, tmp_path):
    assert fetch(hub, tmp_path / "tiny").returncode == 0
    (tmp_path / "elsewhere").mkdir()
    done = fetch(NOWHERE, tmp_path / "elsewhere" / "tiny", HF_HUB_CACHE=str(tmp_path / "home" / "hub"))
    assert done.returncode == 0, done.stderr[-2000:]


def test_pickled_weights_are_read_from_the_hub_s_own_conversion_of_the_same_file(hub, tmp_path):
    whole = dict(Hub.files)
    Hub.files.pop("model.safetensors")
    done = fetch(hub, tmp_path / "tiny")
    assert done.returncode and "has no safetensors weights" in done.stderr and "conversion: true" in done.stderr
    done = fetch(hub, tmp_path / "tiny", "conversion=")
    assert done.returncode and "no pull request of the hub's SFconvertbot" in done.stderr
    # Since the pull request the revision has got another config; weights alone are taken of the request.
    Hub.pull = whole | {"config.json": b"{}", "tokenizer.json": b"{}"}
    done = fetch(hub, tmp_path / "tiny", "conversion=")
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == [COMMIT, PULLED]
    origin = json.loads((tmp_path / "tiny" / "origin.json").read_text())
    assert (origin["commit"], origin["conversion"]) == (COMMIT, PULLED)
    # Both commits known, and in the cache: no network is needed.
    again = fetch(NOWHERE, tmp_path / "again", f"conversion={PULLED}", revision=COMMIT, HF_HUB_OFFLINE="1")
    assert again.returncode == 0, again.stderr[-2000:]
    assert fingerprint.fingerprint(tmp_path / "tiny") == fingerprint.fingerprint(SOURCE)
    assert not any("pytorch_model.bin" in path for path in Hub.asked)


@pytest.mark.parametrize("fault", ["other weights", "another author", "closed"])
def test_a_conversion_of_other_weights_or_by_anyone_else_is_refused(hub, tmp_path, fault):
    Hub.pull = dict(Hub.files)
    Hub.files.pop("model.safetensors")
    if fault == "other weights":
        Hub.pull["pytorch_model.bin"] = b"another pickle"
    elif fault == "closed":
        Hub.status = "closed"
    else:
        Hub.author = "somebody"
    done = fetch(hub, tmp_path / "tiny", "conversion=")
    assert done.returncode and "no pull request" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "tiny").exists()


@pytest.mark.parametrize("offline", ["0", "1"])
def test_without_a_network_one_line_says_what_is_missing_and_what_to_do(hub, tmp_path, offline):
    done = fetch(NOWHERE, tmp_path / "tiny", HF_HUB_OFFLINE=offline)
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode and len(lines) == 1 and done.stderr.strip().endswith(lines[0])
    hints = ["me/tiny at main", "HF_HOME", "fetch_models"]
    hints.append("HF_HUB_OFFLINE is set" if offline == "1" else "cannot be reached")
    assert all(hint in lines[0] for hint in hints), lines[0]
    assert "Traceback" not in done.stderr and not list(tmp_path.glob("*tiny*"))


def test_half_a_model_in_the_cache_is_not_taken_for_all_of_it(hub, tmp_path):
    assert fetch(hub, tmp_path / "tiny").returncode == 0
    next((tmp_path / "home").rglob("snapshots/*/tokenizer_config.json")).unlink()
    done = fetch(NOWHERE, tmp_path / "again", HF_HUB_OFFLINE="1")
    assert done.returncode and "not all of it" in done.stderr
    assert fetch(hub, tmp_path / "again").returncode == 0


def test_a_file_damaged_in_the_cache_is_found_without_a_network_and_fetched_again(hub, tmp_path):
    assert fetch(hub, tmp_path / "tiny").returncode == 0
    weights = (tmp_path / "tiny" / "model.safetensors").resolve()
    content = weights.read_bytes()
    weights.chmod(0o644)
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    done = fetch(NOWHERE, tmp_path / "again", revision=COMMIT)
    assert done.returncode and "model.safetensors" in done.stderr and "on record" in done.stderr
    with pytest.raises(fingerprint.ModelError, match=r"model\.safetensors is a link to .* which is gone"):
        fingerprint.files(tmp_path / "tiny")
    assert fetch(hub, tmp_path / "again", revision=COMMIT).returncode == 0
    assert fingerprint.fingerprint(tmp_path / "again") == fingerprint.fingerprint(SOURCE)


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ({"name": "me/other"}, "me/other at main is not there: the hub has no model of this name"),
        ({"revision": "nowhere"}, "me/tiny at nowhere is not there: the hub has the model, but no such"),
    ],
)
def test_what_the_hub_does_not_have_is_reported_in_one_line(hub, tmp_path, what, words):
    done = fetch(hub, tmp_path / "tiny", **what)
    assert done.returncode and f"error: {words}" in done.stderr and "Traceback" not in done.stderr


def test_a_gated_model_says_how_to_get_it(hub, tmp_path):
    Hub.gated = True
    done = fetch(hub, tmp_path / "tiny")
    assert done.returncode and "error: me/tiny at main is gated" in done.stderr
    assert "HF_TOKEN" in done.stderr and "Traceback" not in done.stderr


def test_a_tokenizer_built_of_pieces_is_the_folder_s_own_and_the_cache_stays_as_it_was(hub, tmp_path):
    """Older repositories have vocab.json and merges.txt; written through a link, it would change the cache."""
    whole = json.loads(Hub.files.pop("tokenizer.json"))
    settings = json.loads(Hub.files["tokenizer_config.json"]) | {"tokenizer_class": "GPT2Tokenizer"}
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in whole["model"]["merges"]]
    Hub.files |= {
        "vocab.json": json.dumps(whole["model"]["vocab"]).encode(),
        "merges.txt": "\n".join(["#version: 0.2", *merges]).encode(),
        "tokenizer_config.json": json.dumps(settings).encode(),
    }
    done = fetch(hub, tmp_path / "tiny")
    assert done.returncode == 0, done.stderr[-2000:]
    built = tmp_path / "tiny" / "tokenizer.json"
    assert built.is_file() and not built.is_symlink()
    assert (tmp_path / "tiny" / "tokenizer_config.json").read_bytes() == Hub.files["tokenizer_config.json"]


def test_where_links_cannot_be_made_files_are_copied(tmp_path, monkeypatch):
    from pathlib import Path

    from circuit_reuse.origins import fetching

    def refuse(*_):
        raise OSError("links are not allowed here")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    fetching.link(SOURCE / "config.json", tmp_path / "config.json")
    assert not (tmp_path / "config.json").is_symlink()
    assert (tmp_path / "config.json").read_bytes() == (SOURCE / "config.json").read_bytes()


def test_a_file_of_a_dataset_is_fetched_by_commit_and_checked_against_the_record(hub, tmp_path):
    Hub.files["0000.parquet"] = b"PAR1 rows PAR1"
    path, file = tmp_path / "mine.parquet", "default/test/0000.parquet"
    done = fetch(hub, path, file, script=FETCH_FILE, revision="refs/convert/parquet")
    assert done.returncode == 0, done.stderr[-2000:]
    record = hashlib.sha256(Hub.files["0000.parquet"]).hexdigest()
    assert done.stdout.split() == [COMMIT, f"sha256:{record}"] and path.read_bytes() == Hub.files["0000.parquet"]
    assert not path.is_symlink()
    # By commit it needs no network any more.
    Hub.asked.clear()
    assert fetch(NOWHERE, tmp_path / "again", file, script=FETCH_FILE, revision=COMMIT).returncode == 0
    for other, words in ((("nothing.parquet",), "has no such file"), ((file, "x"), "")):
        done = fetch(hub, tmp_path / "other", *other, script=FETCH_FILE)
        assert (done.returncode != 0) == bool(words) and words in done.stderr and "Traceback" not in done.stderr
    Hub.altered = {"0000.parquet": b"PAR1 other PAR"}
    done = fetch(hub, tmp_path / "new" / "mine.parquet", file, script=FETCH_FILE, HF_HUB_CACHE=str(tmp_path / "empty"))
    assert done.returncode and "on record" in done.stderr and not (tmp_path / "new" / "mine.parquet").exists()


def test_a_branch_is_held_to_the_commit_that_it_was_at_first(tmp_path):
    first = pinned.Pin("me/tiny", "refs/convert/parquet", tmp_path)
    assert first.commit is None and first.note == ""
    first.hold(COMMIT)
    again = pinned.Pin("me/tiny", "refs/convert/parquet", tmp_path)
    assert again.commit == COMMIT and str(again.path) in again.note
    again.hold("b" * 40)
    assert pinned.Pin("me/tiny", "refs/convert/parquet", tmp_path).commit == COMMIT
    assert pinned.Pin("me/tiny", "main", tmp_path).commit is None
    assert pinned.Pin("me/tiny", "refs/convert/parquet", tmp_path, "dataset").commit is None
    pinned.Pin("me/other", COMMIT, tmp_path).hold(COMMIT)
    assert [path.name for path in tmp_path.iterdir()] == [again.path.name]
