"""Models from the hub: what is fetched is what is on record. A small hub on this machine stands for the real one."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from circuit_reuse import fingerprint
from support import MODELS, PROJECT

SOURCE, COMMIT = MODELS / "tiny-gpt2-small", "a" * 40
FETCH = """
import sys
sys.path.insert(0, "workflow/scripts")
from circuit_reuse import fetching
try:
    print(fetching.fetch("me/tiny", "main", sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None))
except ValueError as problem:
    sys.exit(f"told: {problem}")
"""


class Hub(BaseHTTPRequestHandler):
    """The calls of the hub's protocol that a download makes."""

    files, altered = {}, {}

    def log_message(self, *arguments):
        pass

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, body):
        path = self.path.split("?")[0]
        if path.startswith("/api/models/me/tiny/tree"):
            content, headers = json.dumps(self.tree()).encode(), {"Content-Type": "application/json"}  # fmt: skip
        elif path.startswith("/api/models/me/tiny"):
            content, headers = (
                json.dumps(self.record()).encode(),
                {"Content-Type": "application/json"},
            )
        else:
            name = path.rsplit("/", 1)[1]
            if name not in self.files:
                self.send_response(404)
                self.send_header("X-Error-Code", "EntryNotFound")
                self.end_headers()
                return
            content = self.altered.get(name, self.files[name])
            headers = {
                "ETag": f'"{hashlib.sha256(self.files[name]).hexdigest()}"',
                "X-Repo-Commit": COMMIT,
            }
        self.send_response(200)
        for key, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(key, value)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def tree(self):
        """The list of files."""
        record = self.record()["siblings"]
        found = []
        for each in record:
            entry = {"type": "file", "path": each["rfilename"], "size": each["size"], "oid": each["blobId"]}  # fmt: skip
            if "lfs" in each:
                entry["lfs"] = {"oid": each["lfs"]["sha256"], "size": each["size"], "pointerSize": 130}  # fmt: skip
            found.append(entry)
        return found

    def record(self):
        """What the hub knows of the repository."""
        siblings = []
        for name, content in self.files.items():
            entry = {"rfilename": name, "size": len(content)}
            entry["blobId"] = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
            if name.endswith(".safetensors"):
                entry["lfs"] = {
                    "sha256": hashlib.sha256(content).hexdigest(),
                    "size": len(content),
                    "pointerSize": 130,
                }
            siblings.append(entry)
        return {
            "id": "me/tiny",
            "modelId": "me/tiny",
            "sha": COMMIT,
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
    Hub.altered = {}
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def fetch(hub, folder, *more):
    """Fetch in a process of its own, which reads the address of the hub when it starts."""
    env = os.environ | {
        "HF_ENDPOINT": hub,
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
        "HF_HOME": str(folder.parent / "home"),
    }
    return subprocess.run(
        [sys.executable, "-c", FETCH, str(folder), *more],
        cwd=PROJECT,
        env=env,
        capture_output=True,
        text=True,
    )


def test_a_model_is_fetched_by_commit_with_its_hashes_and_without_code_or_pickles(hub, tmp_path):
    folder = tmp_path / "tiny"
    done = fetch(hub, folder)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() == COMMIT
    assert fingerprint.fingerprint(folder) == fingerprint.fingerprint(SOURCE)
    assert not list(folder.glob("*.bin")) and not list(folder.glob("*.py"))
    origin = json.loads((folder / "origin.json").read_text())
    weights = hashlib.sha256((SOURCE / "model.safetensors").read_bytes()).hexdigest()
    assert (
        origin["commit"] == COMMIT and origin["files"]["model.safetensors"] == f"sha256:{weights}"
    )


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_file_that_is_not_the_one_on_record_is_refused(hub, tmp_path, name):
    good = Hub.files[name]
    Hub.altered = {name: good[:-1] + bytes([good[-1] ^ 1])}
    done = fetch(hub, tmp_path / "tiny")
    assert (
        done.returncode
        and "told: " in done.stderr
        and name in done.stderr
        and "on record" in done.stderr
    )
    assert not (tmp_path / "tiny").exists()
    # The damaged file does not stay for the next try.
    Hub.altered = {}
    assert fetch(hub, tmp_path / "tiny").returncode == 0


def test_another_version_than_the_config_asks_for_is_refused(hub, tmp_path):
    done = fetch(hub, tmp_path / "tiny", "0" * 16)
    assert done.returncode and "another version" in done.stderr and not (tmp_path / "tiny").exists()
    assert fetch(hub, tmp_path / "tiny", fingerprint.fingerprint(SOURCE)).returncode == 0


def test_what_is_left_of_another_download_is_not_mixed_in(hub, tmp_path):
    left = tmp_path / f".tiny.{COMMIT[:12]}.partial"
    left.mkdir()
    (left / "model-00001-of-00002.safetensors").write_bytes(b"of another version")
    assert fetch(hub, tmp_path / "tiny").returncode == 0
    assert fingerprint.fingerprint(tmp_path / "tiny") == fingerprint.fingerprint(SOURCE)
