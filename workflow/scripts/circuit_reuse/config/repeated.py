"""What YAML readers take otherwise than it was written, without a word: keys that are there twice, and two kinds of numbers.

Of a key that a block has twice they keep the last and ignore a block further up.  0100 is read as 64, to the base of 8, and 1:40 as
100, to that of 60.
"""

import re
from pathlib import Path

from circuit_reuse.config.errors import ConfigError


def check_repeated(paths):
    """Refuse config files with a key twice in one block, or a number that is read as another; raises ConfigError with a line for each."""
    found = [problem for path in dict.fromkeys(map(str, paths)) for problem in repeated(path)]
    if found:
        raise ConfigError("\n".join(found))


def misread(text):
    """Whether YAML reads a number as one to the base of 8 or of 60."""
    return bool(re.fullmatch(r"[-+]?(0[0-7_]+|[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?)", text))


def repeated(path):
    """A sentence for every key that a YAML (or JSON) file has twice, and for every number that is misread; none for a file that is no YAML."""
    import yaml

    try:
        root = yaml.compose(
            Path(path).read_text(encoding="utf-8-sig"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        )
    except (yaml.YAMLError, OSError, UnicodeDecodeError, RecursionError):
        # Snakemake has its own words for these.
        return
    below, seen = [(root, "")], set()
    while below:
        node, where = below.pop()
        if id(node) in seen:
            # An anchor may stand within itself.
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            below += [(item, where) for item in node.value]
        if isinstance(node, yaml.ScalarNode) and number(node) and misread(node.value):
            meant = "without the colon" if ":" in node.value else re.sub(r"(?<!\d)0+(?=\d)", "", node.value)
            yield (
                f"{path}, line {node.start_mark.line + 1}: {where.strip('.')} is {node.value}, which YAML reads as {yaml.safe_load(node.value)}; "
                f"write {meant}, or put it in quotes if it is text"
            )
        if not isinstance(node, yaml.MappingNode):
            continue
        lines = {}
        for key, value in node.value:
            name = f"{where}.{key.value}".strip(".")
            line = key.start_mark.line + 1
            if name in lines and key.value != "<<":
                yield f"{path}, line {line}: {name} is also set in line {lines[name]}, which would be ignored; put both under one key"
            lines.setdefault(name, line)
            below += [(key, name), (value, name)]


def number(node):
    """Whether a node of YAML is a number without quotes."""
    return not node.style and node.tag in ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
