"""Write requirements.lock from what is installed, and the same pins into envs/."""

import re
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

PROJECT = Path(__file__).resolve().parents[2]
HEAD = "# Every package of the environment, pinned; `make lock` writes it anew.\n"


def name_of(text):
    """A package name as PyPI compares it."""
    return re.sub(r"[-_.]+", "-", text).lower()


def closure(roots):
    """{name: version} of requirements and all that they need here."""
    found, pending = {}, [Requirement(root) for root in roots]
    while pending:
        requirement = pending.pop()
        distribution = metadata.distribution(requirement.name)
        key = (name_of(requirement.name), tuple(sorted(requirement.extras)))
        if key in found:
            continue
        found[key] = distribution.version.split("+")[0]
        for text in distribution.requires or []:
            needed = Requirement(text)
            extras = [{"extra": extra} for extra in ("", *requirement.extras)]
            if needed.marker is None or any(needed.marker.evaluate(extra) for extra in extras):
                pending.append(needed)
    return {name: version for (name, _), version in sorted(found.items())}


def main():
    """Pin the closure of pyproject.toml's dependencies and test tools."""
    import tomllib

    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    pins = closure(project["dependencies"] + project["optional-dependencies"]["test"])
    lines = [f"{name}=={version}\n" for name, version in pins.items()]
    (PROJECT / "requirements.lock").write_text(HEAD + "".join(lines))
    for path in (PROJECT / "envs").glob("*.yaml"):
        text = re.sub(
            r"      - ([a-z0-9-]+)==\S+",
            lambda m: f"      - {m[1]}=={pins[m[1]]}",
            path.read_text(),
        )
        path.write_text(text)


if __name__ == "__main__":
    main()
