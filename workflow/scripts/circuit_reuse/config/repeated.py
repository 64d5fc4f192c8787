"""Keys that a config file has twice: YAML readers keep the last and ignore a block further up."""

from pathlib import Path

from circuit_reuse.config.errors import ConfigError


def check_repeated(paths):
    """Refuse config files in which a key stands twice in one block; raises ConfigError with a line for each."""
    found = [problem for path in dict.fromkeys(map(str, paths)) for problem in repeated(path)]
    if found:
        raise ConfigError("\n".join(found))


def repeated(path):
    """A sentence for every key that a YAML (or JSON) file has twice; none for a file that is no YAML."""
    import yaml

    try:
        root = yaml.compose(
            Path(path).read_text(encoding="utf-8-sig"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        )
    except (yaml.YAMLError, OSError, UnicodeDecodeError):
        # Snakemake has its own words for these.
        return
    below = [(root, "")]
    while below:
        node, where = below.pop()
        if isinstance(node, yaml.SequenceNode):
            below += [(item, where) for item in node.value]
        if not isinstance(node, yaml.MappingNode):
            continue
        lines = {}
        for key, value in node.value:
            name = f"{where}.{key.value}".strip(".")
            line = key.start_mark.line + 1
            if name in lines and key.value != "<<":
                yield f"{path}, line {line}: {name} is also set in line {lines[name]}, which would be ignored; put both under one key"
            lines.setdefault(name, line)
            below.append((value, name))
