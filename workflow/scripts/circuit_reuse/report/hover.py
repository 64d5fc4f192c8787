"""Values under the pointer: in an SVG, each mark of a figure can have a title, which browsers show."""

import html
import re

from matplotlib.artist import Artist

NAME = "values-{}"


def values(artist, texts):
    """Give the marks of a line or of a scatter plot a text each, in the order in which they were drawn."""
    artist.hover_values = list(texts)


def named(figure):
    """Give every artist with values a name in the SVG; returns {name: texts}."""
    found = {}
    for artist in figure.findobj(lambda each: isinstance(each, Artist) and hasattr(each, "hover_values")):
        name = NAME.format(len(found))
        artist.set_gid(name)
        found[name] = artist.hover_values
    return found


def write(path, texts):
    """Put the titles into an SVG file that was just saved.

    texts: of `named`;  a group whose marks are not as many as its texts (some lie outside of the axes) keeps none
    """
    if not texts:
        return
    content = path.read_text(encoding="utf-8")
    for name, mine in texts.items():
        begin = content.find(f'<g id="{name}">')
        if begin >= 0:
            end = end_of_group(content, begin)
            content = content[:begin] + titled(content[begin:end], mine) + content[end:]
    path.write_text(content, encoding="utf-8")


def titled(group, texts):
    """A group of marks with a title each; as it is if these are not as many.

    Marks are copies of one shape (use), or, where there are few, shapes of their own (path).
    """
    kind = "use" if "<use" in group else "path"
    pieces = re.split(rf"(<{kind}\b[^>]*)/>", group)
    if len(pieces) != 2 * len(texts) + 1:
        return group
    found = pieces[0]
    for mark, text, rest in zip(pieces[1::2], texts, pieces[2::2], strict=True):
        found += f"{mark}><title>{html.escape(text)}</title></{kind}>{rest}"
    return found


def end_of_group(content, begin):
    """Where the group that begins there ends."""
    depth = 0
    for tag in re.finditer(r"<(/?)g\b[^>]*?(/?)>", content[begin:]):
        depth += 0 if tag[2] else -1 if tag[1] else 1
        if depth == 0:
            return begin + tag.end()
    return len(content)
