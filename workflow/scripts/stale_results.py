"""Results of models that left the config: list them, and with --remove delete them.

    make clean-stale ARGS="--configfile config/my.yaml"      the same arguments as for make run

A model's results are kept when it is taken out of the config, so that putting it back runs nothing again.
"""

import argparse
import shutil
from pathlib import Path

import run_folder
import yaml

PROJECT = Path(__file__).resolve().parents[2]
CONFIGS = ("--config", "-C", "--profile", "--workflow-profile")


def left(models, folder):
    """{model: its folders of results} of the models that have results and are not among those given.

    models: names;  folder: in which the workflow runs
    """
    results = Path(folder) / "results"
    found = {}
    for about in sorted(results.glob("*/model.json")):
        name = about.parent.name
        if name not in models:
            places = [about.parent, results / "tables" / "reuse" / name, *(results / "figures").glob(f"*/{name}")]
            found[name] = [place for place in places if place.is_dir()]
    return found


def size(folders):
    """Bytes of all files in some folders."""
    return sum(path.stat().st_size for folder in folders for path in folder.rglob("*") if path.is_file())


def message(found):
    """What was found, in a sentence; empty if nothing."""
    if not found:
        return ""
    listed = ", ".join(f"{name} ({size(places) / 1e6:.0f} MB)" for name, places in found.items())
    return f"Results of models that are not in this config are kept: {listed}; make clean-stale with the ARGS of this run removes them."


def used_by(config):
    """Names of all models that the studies of a checked config use."""
    from circuit_reuse.studies.registry import STUDIES

    return {name for study in STUDIES.values() for name in study.models(config)}


def models_of(files):
    """The same of config/config.yaml with overlays, files.

    raises: ConfigError for a config that cannot be used
    """
    from circuit_reuse.studies.check import check
    from snakemake.utils import update_config

    config = yaml.safe_load((PROJECT / "config" / "config.yaml").read_text(encoding="utf-8"))
    for file in files:
        update_config(config, yaml.safe_load(Path(file).read_text(encoding="utf-8")) or {})
    check(config, PROJECT, Path.cwd())
    return used_by(config)


def main(given=None):
    """List what is left over, and remove it if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--configfile", "--configfiles", nargs="*", default=[])
    parser.add_argument("--remove", action="store_true")
    chosen, more = parser.parse_known_args(given)
    # A profile or --config may name models, too.
    setting = [option for option in more if option.split("=")[0] in CONFIGS]
    if setting:
        parser.error(
            f"{setting[0]} may change which models the config has; name all of it in files: --configfile a.yaml b.yaml"
        )
    found = left(models_of(chosen.configfile), Path.cwd())
    if chosen.remove and found:
        # Another run may be using the folder.
        try:
            run_folder.take(Path.cwd() / ".snakemake")
        except BlockingIOError as problem:
            parser.error(str(problem))
    for name, places in found.items():
        print(f"{'removed' if chosen.remove else 'left over'}: {name}, {size(places) / 1e6:.0f} MB")
        for place in places if chosen.remove else ():
            shutil.rmtree(place)
    if not found:
        print("Every model with results is in the config.")


if __name__ == "__main__":
    main()
