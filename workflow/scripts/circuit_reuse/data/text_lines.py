"""Files of ordinary text: one text a line."""

from pathlib import Path


def read_lines(path):
    """The lines of a text file in UTF-8, without surrounding spaces and without empty or repeated ones.

    raises: ValueError that names the file and the line that is not UTF-8
    """
    found = {}
    for number, line in enumerate(Path(path).read_bytes().splitlines(), 1):
        try:
            text = line.decode("utf-8-sig").strip()
        except UnicodeDecodeError:
            raise ValueError(f"{path}, line {number}: not UTF-8; save the file in that encoding") from None
        if text:
            found.setdefault(text, None)
    return list(found)
