"""Fetch a public model from the Hugging Face hub through its cache, and check that it is what the hub has on record."""

import contextlib
import fnmatch
import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path

# The hub is asked for files; nothing about the user is sent.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

from circuit_reuse.data import fingerprint
from circuit_reuse.origins import pinned

WANTED = "config.json tokenizer* special_tokens_map.json vocab.json merges.txt *.safetensors *.safetensors.index.json".split()
# Copies of the weights for other programs.
UNWANTED = ["*/*"]
BLOCK = 1 << 22
# Opens the hub's pull requests with converted weights.
CONVERTER = "SFconvertbot"


def run(job):
    """Make a public model of the hub ready: config, tokenizer and safetensors of one revision, nothing else."""
    source, converted = job.cfg, job.cfg.get("conversion", False)
    # Of a conversion even a commit says too little: which pull request it was is written down, too.
    pin = pinned.Pin(source["hub"], source["revision"] + ("-conversion" if converted else ""))
    commit = fetch(
        source["hub"], source["revision"], job.output.folder, source.get("fingerprint"), pin.commit, converted
    )
    pin.hold(commit)
    job.log.info("%s at %s is ready, commit %s%s", source["hub"], source["revision"], commit, pin.note)


def fetch(name, revision, folder, expected=None, commit=None, conversion=False):
    """Make one revision of a model ready: links to the files in the cache, which are fetched if they are not there.

    HF_HOME, HF_HUB_CACHE, HF_HUB_OFFLINE and HF_TOKEN hold as everywhere; a commit that the cache has needs no network.

    expected: the fingerprint that it must have, if the config names one
    commit:   what the revision was when it was first fetched, if it was
    conversion: whether the hub's conversion may stand for weights that are a pickle only (`converted`)
    returns:  the commit that the revision, or its conversion, is
    raises:   ModelError, in one line, if it cannot be had, has no safetensors weights or no tokenizer, if a file is not
              the one on record, or if it has another fingerprint; the folder is as before then
    """
    folder = Path(folder)
    snapshot = download(name, commit or revision)
    if not any(snapshot.glob("*.safetensors")):
        if not conversion:
            raise fingerprint.ModelError(
                f"{name} at {revision} has no safetensors weights, and pickles are not read: `conversion: true` beside it "
                "in model_sources takes the hub's own conversion of them, if there is one"
            )
        snapshot = download(name, converted(name, snapshot.name))
    commit = snapshot.name
    paths = [path for path in sorted(snapshot.iterdir()) if path.is_file() and wanted(path.name)]
    files = verify(name, commit, paths)
    partial = folder.with_name(f".{folder.name}.{commit[:12]}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        for path in paths:
            link(path, partial / path.name)
        if not (partial / "tokenizer.json").is_file():
            build_tokenizer(partial)
        fingerprint.files(partial)
        fingerprint.check_intact(partial)
        # Reads all weights once more, so only if it is asked for.
        if expected and (found := fingerprint.fingerprint(partial)) != expected:
            raise fingerprint.ModelError(
                f"{name} at {revision} has the fingerprint {found}, the config asks for {expected}: it is another "
                "version; name its commit as revision, or change the fingerprint"
            )
        origin = {"hub": name, "revision": revision, "commit": commit, "files": files}
        text = json.dumps(origin, indent=1, sort_keys=True) + "\n"
        (partial / "origin.json").write_text(text, encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        partial.replace(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return commit


def wanted(name):
    """Whether a file is part of what a model needs."""
    return any(fnmatch.fnmatch(name, pattern) for pattern in WANTED)


def download(name, revision):
    """The folder of a revision in the cache; what is there already is not fetched again.

    raises: ModelError, in one line, if it is neither in the cache nor to be had
    """
    from huggingface_hub import snapshot_download

    with one_line(name, revision, "model"):
        return Path(snapshot_download(name, revision=revision, allow_patterns=WANTED, ignore_patterns=UNWANTED))


def converted(name, commit):
    """The commit of the hub's own conversion of a revision's pickled weights to safetensors.

    The hub's bot opens a pull request that adds safetensors.  One counts only if it holds the very pickles of the
    revision, by their hash; they are compared by what the hub has on record and never fetched.
    raises: ModelError if there is none
    """
    from huggingface_hub import HfApi

    with one_line(name, commit, "model"):
        pickles = {file: record for file, record in on_record(name, commit, "model").items() if is_pickle(file)}
        requests = HfApi().get_repo_discussions(name, author=CONVERTER, discussion_type="pull_request")
        for request in requests if pickles else ():
            about = HfApi().repo_info(name, revision=request.git_reference, files_metadata=True)
            files = recorded(about)
            if pickles.items() <= files.items() and any(file.endswith(".safetensors") for file in files):
                return about.sha
    raise fingerprint.ModelError(
        f"{name} at {commit} has pickled weights only, and no pull request of the hub's {CONVERTER} holds these very "
        "weights as safetensors: convert them where you trust them (save_pretrained), and give the folder as path"
    )


def is_pickle(name):
    """Whether a file of a repository holds pickled weights."""
    return any(fnmatch.fnmatch(name, pattern) for pattern in fingerprint.PICKLES)


@contextlib.contextmanager
def one_line(name, revision, what):
    """What the hub's library raises as a ModelError of one line that says what to do.

    what: model or dataset
    """
    from huggingface_hub import constants, errors

    try:
        yield
        return
    except errors.GatedRepoError:
        text = "is gated: accept its terms on the hub, and set HF_TOKEN to your token"
    except errors.RevisionNotFoundError:
        text = f"is not there: the hub has the {what}, but no such commit, tag or branch"
    except errors.RepositoryNotFoundError:
        text = f"is not there: the hub has no {what} of this name, or it is private (HF_TOKEN)"
    except errors.RemoteEntryNotFoundError as problem:
        text = f"has no such file: {str(problem).splitlines()[0]}"
    except (errors.LocalEntryNotFoundError, errors.HTTPError, ConnectionError) as problem:
        status = getattr(getattr(problem, "response", None), "status_code", None)
        why = "HF_HUB_OFFLINE is set" if constants.is_offline_mode() else "the hub cannot be reached"
        why = f"the hub answers with error {status}" if status else why
        text = (
            f"is not in the Hugging Face cache ({constants.HF_HUB_CACHE}), or not all of it, and {why}: run "
            "`snakemake fetch_models` where there is a network, or set HF_HOME or HF_HUB_CACHE to a cache that has it"
        )
    raise fingerprint.ModelError(f"{name} at {revision} {text}")


def verify(name, commit, paths, what="model"):
    """Compare each file with the hash that the hub has on record for it; returns {file: hash}.

    The cache stores a file under that hash: of files that the hub keeps apart their SHA-256, of others what git
    calls them by.  A damaged file is removed from the cache, so that the next run fetches it again.

    what:   model or dataset
    raises: ModelError for a file with another content
    """
    found = {}
    records = None
    for path in paths:
        record = path.resolve().name if path.is_symlink() else ""
        if len(record) not in (40, 64):
            # A cache without links, as on some systems.
            records = on_record(name, commit, what) if records is None else records
            record = records.get(path.name, "")
        kind = "git" if len(record) == 40 else "sha256"
        real = digest(path, hashlib.sha256()) if kind == "sha256" else git_digest(path)
        if record and real != record:
            path.resolve().unlink()
            path.unlink(missing_ok=True)
            raise fingerprint.ModelError(
                f"{path.name} of {name} is not the file that the hub has on record ({kind} {real}, there {record}): "
                "it was damaged on its way, or in the cache; it was removed, run again"
            )
        found[path.name] = f"{kind}:{real}"
    return found


def on_record(name, commit, what):
    """{file: hash} that the hub has on record; empty if it cannot be reached."""
    from huggingface_hub import HfApi, errors

    try:
        about = HfApi().repo_info(name, repo_type=what, revision=commit, files_metadata=True)
    except (errors.HTTPError, ConnectionError):
        return {}
    return recorded(about)


def recorded(about):
    """{file: hash} of what the hub says of a repository."""
    return {each.rfilename: each.lfs["sha256"] if each.lfs else each.blob_id for each in about.siblings}


def build_tokenizer(folder):
    """Older repositories keep the tokenizer in pieces: write the tokenizer.json that they make up.

    raises: ModelError if they make up none
    """
    from transformers import AutoTokenizer

    # Apart: written into the folder, a file would go through its link into the cache.
    with tempfile.TemporaryDirectory(dir=folder) as fresh:
        try:
            tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        except (ValueError, OSError, ImportError) as problem:
            raise fingerprint.ModelError(
                f"it has no tokenizer.json, and none can be built of what it has: {str(problem).splitlines()[0]}"
            ) from None
        tokenizer.save_pretrained(fresh)
        for path in Path(fresh).iterdir():
            if not (folder / path.name).exists():
                path.replace(folder / path.name)


def link(file, place):
    """A link to a file, or a copy where links cannot be made."""
    try:
        place.symlink_to(Path(file).absolute())
    except OSError:
        shutil.copyfile(file, place)


def git_digest(path):
    """What git calls a file by."""
    return digest(path, hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False))


def digest(path, state):
    """Hexadecimal digest of a file, read in blocks."""
    with path.open("rb") as stream:
        while block := stream.read(BLOCK):
            state.update(block)
    return state.hexdigest()
