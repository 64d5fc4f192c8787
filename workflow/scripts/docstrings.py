"""Docstrings of this project as Markdown, for the reference in the documentation.

Here an argument or result is a line `name: what it is`, with what goes on indented; Markdown would run such
lines together, so they become a list.
"""

import re

import griffe

FIELD = re.compile(r"([a-z_][\w, ]*?): +(.+)")


def listed(text):
    """A docstring with its fields as a list."""
    lines, fields, literal = [], False, False
    for line in text.split("\n"):
        match = FIELD.fullmatch(line)
        literal = line.startswith("    ") and not fields
        if match and not literal:
            if not fields and lines and lines[-1]:
                lines.append("")
            # Several short ones may share a line.
            for part in re.split(r";  (?=[a-z_][\w, ]*: )", line):
                name, what = FIELD.fullmatch(part).groups()
                lines.append(f"- **{name}**: {what}")
            fields = True
        elif fields and line.startswith(" "):
            lines.append(f"  {line.strip()}")
        else:
            fields = fields and not line.strip()
            lines.append(line)
    return "\n".join(lines)


class Fields(griffe.Extension):
    """Rewrites every docstring that is collected."""

    def on_object(self, *, obj, **kwargs):
        """Called by griffe for each module, class and function."""
        if obj.docstring:
            obj.docstring.value = listed(obj.docstring.value)
