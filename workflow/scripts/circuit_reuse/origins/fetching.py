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

WANTED = "config.json tokenizer* special_tokens_map.json chat_template.jinja vocab.json merges.txt *.safetensors *.safetensors.index.json".split()
# What is taken of the hub's conversion of a pickle.
WEIGHTS = "*.safetensors *.safetensors.index.json".split()
# Copies of the weights for other programs.
UNWANTED = ["*/*"]
BLOCK = 1 << 22
# Opens the hub's pull requests with converted weights.
CONVERTER = "SFconvertbot"


def run(job):
    """Make a public model of the hub ready: config, tokenizer and safetensors of one revision, nothing else."""
    source = job.cfg
    pin = pinned.Pin(source["hub"], source["revision"])
    # Which pull request it was is written down, too: the hub may get another.
    other = pinned.Pin(source["hub"], source["revision"] + "-conversion")
    conversion = (other.commit or True) if source.get("conversion", False) else None
    commit, conversion = fetch(
        source["hub"], source["revision"], job.output.folder, job.params.expected, pin.commit, conversion
    )
    pin.hold(commit)
    job.log.info("%s at %s is ready, commit %s%s", source["hub"], source["revision"], commit, pin.note)
    if conversion:
        other.hold(conversion)
        job.log.info("its weights are those of the hub's conversion, commit %s%s", conversion, other.note)


def fetch(name, revision, folder, expected=None, commit=None, conversion=None):
    """Make one revision of a model ready: links to the files in the cache, which are fetched if they are not there.

    HF_HOME, HF_HUB_CACHE, HF_HUB_OFFLINE and HF_TOKEN hold as everywhere; a commit that the cache has needs no network.

    expected: the fingerprint that it must have, if the config names one
    commit:   what the revision was when it was first fetched, if it was
    conversion: whether the hub's conversion may stand for weights that are a pickle only (`converted`): True, or its commit
    returns:  (the commit that the revision is, that of the conversion or None where it has safetensors itself)
    raises:   ModelError, in one line, if it cannot be had, has no safetensors weights or no tokenizer, if a file is not
              the one on record, or if it has another fingerprint; the folder is as before then
    """
    folder, snapshot = Path(folder), download(name, commit or revision)
    commit, snapshots = snapshot.name, [snapshot]
    if any(snapshot.glob("*.safetensors")):
        conversion = None
    elif not conversion:
        raise fingerprint.ModelError(
            f"{name} at {revision} has no safetensors weights, and pickles are not read: `conversion: true` beside it "
            "in model_sources takes the hub's own conversion of them, if there is one"
        )
    else:
        conversion = converted(name, commit) if conversion is True else conversion
        snapshots.append(download(name, conversion, WEIGHTS))
    files = {}
    for each, patterns in zip(snapshots, (WANTED, WEIGHTS), strict=False):
        files |= {path.name: path for path in sorted(each.iterdir()) if path.is_file() and wanted(path.name, patterns)}
    # Each against what its own commit has on record.
    hashes = {}
    for each in snapshots:
        hashes |= verify(name, each.name, [path for path in files.values() if path.parent == each])
    origin = {"hub": name, "revision": revision, "commit": commit, "files": hashes}
    origin |= {"conversion": conversion} if conversion else {}
    make_folder(folder, files, origin, expected)
    return commit, conversion


def make_folder(folder, files, origin, expected):
    """A model folder of links to files of the cache, complete or as it was before.

    files:  {name: path in the cache};  origin: what is written of where they come from
    raises: ModelError if the files make up no model, or one of another fingerprint than expected
    """
    partial = folder.with_name(f".{folder.name}.{origin['commit'][:12]}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        for file, path in files.items():
            link(path, partial / file)
        if not (partial / "tokenizer.json").is_file():
            build_tokenizer(partial)
        fingerprint.files(partial)
        fingerprint.check_intact(partial)
        # Reads all weights once more, so only if it is asked for.
        if expected and (found := fingerprint.fingerprint(partial)) != expected:
            raise fingerprint.ModelError(
                f"{origin['hub']} at {origin['revision']} has the fingerprint {found}, the config asks for {expected}: it is another "
                "version; name its commit as revision, or change the fingerprint"
            )
        text = json.dumps(origin, indent=1, sort_keys=True) + "\n"
        (partial / "origin.json").write_text(text, encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        partial.replace(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def wanted(name, patterns):
    """Whether a file is part of what is needed."""
    return any(fnmatch.fnmatch(name, pattern) for pattern in patterns)


def download(name, revision, patterns=tuple(WANTED)):
    """The folder of a revision in the cache; what is there already is not fetched again.

    patterns: of the files that are needed

    raises: ModelError, in one line, if it is neither in the cache nor to be had
    """
    from huggingface_hub import snapshot_download

    with one_line(name, revision, "model"):
        return Path(snapshot_download(name, revision=revision, allow_patterns=list(patterns), ignore_patterns=UNWANTED))


def converted(name, commit):
    """The commit of the hub's own conversion of a revision's pickled weights to safetensors.

    The hub's bot opens a pull request that adds safetensors.  One counts only if it holds the very pickles of the
    revision, by their hash, and was not closed unmerged; pickles are compared by what the hub has on record, and never fetched or
    read.  So that the tensors are those of the pickle rests on the hub's bot.
    raises: ModelError if there is none, or the hub cannot be asked
    """
    from huggingface_hub import HfApi

    with one_line(name, commit, "model"):
        about = HfApi().repo_info(name, revision=commit, files_metadata=True)
        pickles = {file: record for file, record in recorded(about).items() if is_pickle(file)}
        requests = HfApi().get_repo_discussions(name, author=CONVERTER, discussion_type="pull_request")
        for request in requests if pickles else ():
            if request.status == "closed":
                continue
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
            # The cache keeps a file below the commit, as the repository has it: snapshots/<commit>/<folder>/<file>.
            below = path.parts[path.parts.index(commit) + 1 :] if commit in path.parts else (path.name,)
            record = records.get("/".join(below), "")
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
