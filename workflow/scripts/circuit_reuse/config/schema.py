"""The schema of the config: types, ranges and unknown keys, defaults, and the names of registries."""

import copy
import math
import re
from pathlib import Path

from circuit_reuse.config.errors import ConfigError, as_number, nearest
from circuit_reuse.config.repeated import misread
from circuit_reuse.engine.replacements import REPLACEMENTS
from circuit_reuse.methods.registry import EFFECT_METHODS, METHODS

MOST_SHARDS = 1000
SCHEMA = Path(__file__).resolve().parents[3] / "schemas" / "config.schema.yaml"
# Whose names the schema lists.
REGISTRIES = {"methods": METHODS, "effect_methods": EFFECT_METHODS, "replacements": REPLACEMENTS}


def check_shards(config):
    """A plan of too many jobs takes hours to draw up."""
    for part, key in (("examples", "count"), ("scaling", "examples")):
        count, size = config[part][key], config[part]["shard_size"]
        if count > MOST_SHARDS * size:
            raise ConfigError(
                f"{part}.{key} is {count}, in {-(-count // size)} shards of {part}.shard_size {size}: at most "
                f"{MOST_SHARDS} shards can be planned; set {part}.shard_size to {-(-count // MOST_SHARDS)} or more"
            )


def read_schema():
    """The schema of the config, with the names of registries where it says {registry: methods}."""
    import yaml

    # The parser in C, where there is one, takes a tenth of the time.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return listed(yaml.load(SCHEMA.read_text(), Loader=loader))


def listed(part):
    """A part of the schema with enumerations from the registries."""
    if isinstance(part, dict):
        names = {"enum": list(REGISTRIES[part["registry"]])} if isinstance(part.get("registry"), str) else {}
        return {key: listed(value) for key, value in part.items() if not (names and key == "registry")} | names
    return [listed(item) for item in part] if isinstance(part, list) else part


def check_schema(config):
    """Types, ranges and unknown keys; defaults are filled in."""
    import jsonschema

    schema = read_schema()
    drop(config, schema)
    numbered(config, schema)
    check_values(config)
    # JSON takes 3.0 for an integer; what counts by it does not.
    draft = jsonschema.Draft202012Validator
    whole = draft.TYPE_CHECKER.redefine("integer", lambda _, x: type(x) is int)
    validator = jsonschema.validators.extend(draft, type_checker=whole)(schema)
    # Several mistakes in one place are one, its type if that is wrong, and each has a line.
    found = {}
    for error in validator.iter_errors(config):
        place = str(list(error.path))
        if place not in found or found[place].validator != "type":
            found[place] = error
    if found:
        raise ConfigError("\n".join(explain(found[place]) for place in sorted(found)))
    fill(config, schema)


def numbered(value, part):
    """Numbers that Snakemake's --config gives as text, where the schema takes no text; the value, changed in place.

    part: the schema of the value
    """
    kinds = part.get("type", [])
    if isinstance(value, str):
        taken = {kinds} if isinstance(kinds, str) else set(kinds)
        if not taken & {"integer", "number", "boolean"} or "string" in taken or "enum" in part:
            return value
        import yaml

        if misread(value):
            return value
        try:
            found = yaml.safe_load(value)
        except yaml.YAMLError:
            return value
        return found if isinstance(found, (int, float)) else value
    if isinstance(value, dict):
        inner = part.get("additionalProperties")
        for key, item in value.items():
            below = part.get("properties", {}).get(key, inner)
            if isinstance(below, dict):
                value[key] = numbered(item, below)
    elif isinstance(value, list) and isinstance(part.get("items"), dict):
        value[:] = [numbered(item, part["items"]) for item in value]
    return value


def check_values(value, where=""):
    """Numbers must be finite, as no limit of the schema is broken by a NaN, and text without NUL."""
    if isinstance(value, str) and "\0" in value:
        raise ConfigError(f"{where} is {value!r}; it must be text without NUL characters")
    if isinstance(value, str) and re.search("[\ud800-\udfff]", value):
        raise ConfigError(f"{where} is {value!r}; it must be text, and holds half of a character")
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{where} is {value}; it must be a finite number")
    for key in value if isinstance(value, dict) else ():
        if not isinstance(key, str):
            place = f"{where}: " if where else ""
            raise ConfigError(f"{place}the name {key!r} is no text, as YAML reads it; write it in quotes")
        check_values(key, f"{where}: the name".removeprefix(": "))
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inner:
        check_values(item, f"{where}.{key}".strip("."))


def drop(config, schema):
    """Take out entries that an overlay sets to null in a map of names, such as custom_tasks or contrast.sets."""
    for key, part in schema.get("properties", {}).items():
        if not isinstance(config.get(key), dict):
            continue
        inner = part.get("additionalProperties")
        if isinstance(inner, dict):
            for name in [name for name, value in config[key].items() if value is None]:
                del config[key][name]
        drop(config[key], part)


def fill(config, schema):
    """Put the schema's defaults where a key is missing."""
    for key, part in schema.get("properties", {}).items():
        if key not in config and "default" in part:
            config[key] = copy.copy(part["default"])
        if isinstance(config.get(key), dict):
            fill(config[key], part)
            inner = part.get("additionalProperties")
            if isinstance(inner, dict):
                for value in config[key].values():
                    fill(value, inner)


def explain(error):
    """One sentence for a schema error."""
    where = ".".join(map(str, error.absolute_path)) or "the config"
    if error.validator == "additionalProperties":
        known = sorted(error.schema.get("properties", {}))
        extra = next(key for key in error.instance if key not in known)
        full = f"{where}.{extra}" if error.absolute_path else str(extra)
        return f"unknown key {full}: allowed are {', '.join(known)}{nearest(extra, known)}"
    value = error.instance
    if error.validator == "enum":
        allowed = list(map(str, error.validator_value))
        return f"{where} is {value!r}; allowed: {', '.join(allowed)}{nearest(value, allowed)}"
    if error.validator == "required":
        missing = [key for key in error.validator_value if key not in value]
        return f"{where} has no {missing[0]}, which is needed"
    if error.validator == "oneOf" and "custom_tasks" in where:
        return f"{where} needs either file or sequence; found: {', '.join(value) or 'none'}"
    if error.validator == "oneOf" and "model_sources" in where:
        if where.endswith(".package"):
            return f"{where} is {value!r}; it must be the name of a package, or a list of {{name, version, file}}"
        return (
            f"{where} needs either path, or hub and revision (or revisions), or package and sha256; found: "
            f"{', '.join(value) or 'none'}"
        )
    limits = {
        "minimum": "at least",
        "maximum": "at most",
        "exclusiveMinimum": "more than",
        "exclusiveMaximum": "less than",
        "type": "of type",
        "pattern": "of the form",
        "minItems": "a list of at least this length:",
        "contains": "a list with",
    }
    if error.validator in limits:
        wanted = error.validator_value
        wanted = wanted.get("const") if isinstance(wanted, dict) else wanted
        kinds = str(wanted) if error.validator == "type" else ""
        hint = as_number(value, "number" not in kinds) if "number" in kinds or "integer" in kinds else ""
        return f"{where} is {value!r}; it must be {limits[error.validator]} {wanted}{hint}"
    if error.validator == "maxLength":
        return f"{where}: the name {value[:30]!r}... has {len(value)} characters; at most {error.validator_value} are allowed"
    if error.validator == "uniqueItems":
        twice = next((item for place, item in enumerate(value) if item in value[:place]), value[0])
        return f"{where} has {twice!r} twice; take one out"
    return f"{where}: {error.message}"
