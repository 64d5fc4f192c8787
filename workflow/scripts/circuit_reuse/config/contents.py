"""What files of the user hold, so that one that was exchanged for an older one (mv, cp -p, tar, rsync -a) is seen as changed.

Snakemake compares times alone: a file that is older than the results made from the one before it counts as unchanged.
"""

import hashlib
import os
from functools import cache
from pathlib import Path

# Bytes that are read at each end of a file that is larger than both ends: weights have gigabytes, and are asked about at every start.
END = 1 << 22


def content_hash(paths):
    """A hash of files by their names and what they hold, as `files <12 hexadecimal digits>`; None for no file.

    Of a file above 8 MB its size and the first and last 4 MB count: a change between them alone is seen by its time.  A file that is not
    there counts as empty, as the checks and Snakemake say so.
    """
    if not paths:
        return None
    parts = [f"{Path(path).name} {file_hash(str(path))}" for path in sorted(paths, key=str)]
    return f"files {hashlib.sha256(chr(10).join(parts).encode()).hexdigest()[:12]}"


@cache
def file_hash(path):
    """The same for one file, once in a process."""
    try:
        with open(path, "rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            digest = hashlib.sha256(str(size).encode())
            digest.update(stream.read(END if size > 2 * END else size))
            if size > 2 * END:
                stream.seek(-END, os.SEEK_END)
                digest.update(stream.read())
            return digest.hexdigest()
    except OSError:
        return ""
