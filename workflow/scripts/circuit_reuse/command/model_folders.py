"""Models that a command names: by a folder, or by a name among those that the project has."""

from pathlib import Path

from circuit_reuse.data import fingerprint

RESOURCES = Path(__file__).resolve().parents[4] / "resources"


def folder_named(name):
    """The folder of a model: as given, or of that name among those that the project holds or has fetched.

    raises: ModelError that names those that there are
    """
    places = [
        Path(name),
        *(base / kind / name for base in (Path("resources"), RESOURCES) for kind in ("models", "hub")),
    ]
    for place in places:
        if (place / "config.json").is_file():
            return place
    known = sorted(
        {path.parent.name for base in (Path("resources"), RESOURCES) for path in base.glob("*/*/config.json")}
    )
    raise fingerprint.ModelError(
        f"model not found: {name}; give the folder of one in Hugging Face format, or one of {', '.join(known) or 'none here'}"
    )
