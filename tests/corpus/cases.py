"""The corpus: what should never be in a delivery, and much that may be in one though it looks odd.

Each case is a line of a table: its name, how it is made, the check that must tell of it (nothing if it is admitted
without a word), and what the report must say. The tables are in `image_cases.py` and `name_cases.py` (files in a class
folder), `row_cases.py` (rows of a manifest), `delivery_cases.py` and `mask_cases.py`. Nothing of it is kept as a file:
code makes it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

MARKUP = "<script>alert(1)</script><img src=x onerror=alert(1)>"


@dataclass(frozen=True)
class File:
    """Something in the class folder `cat` of a delivery of class folders."""

    name: str
    make: Callable[[Path], object]
    """Makes it, given its path. Raises `OSError` where the system does not allow such a thing."""
    verdict: str = ""
    sentence: str = ""
    """A regular expression for the detail that the report gives."""
    called: str = ""
    """File name in the folder; empty for the case's own name with `.png`."""
    unseen: bool = False
    """True if it must not even become a row."""


@dataclass(frozen=True)
class Row:
    """A row of a manifest with the columns path, label and note; its file is there unless a path is given."""

    name: str
    path: str = ""
    label: str = "cat"
    note: str = ""
    verdict: str = ""
    sentence: str = ""


@dataclass(frozen=True)
class Whole:
    """A delivery. It becomes a batch if `sentence` begins with `Admitted` or `Quarantined`, and must not otherwise."""

    name: str
    make: Callable[[Path], object]
    """Lays it out, given the path of its folder, which is not there yet."""
    sentence: str


def written(encoded: bytes | Callable[[], bytes]) -> Callable[[Path], object]:
    """What writes these bytes to a path; a function makes them only then, if they are many."""
    return lambda path: path.write_bytes(encoded if isinstance(encoded, bytes) else encoded())


def file_of(
    name: str, encoded: bytes | Callable[[], bytes], verdict: str = "", sentence: str = "", called: str = ""
) -> File:
    """A case that is an ordinary file."""
    return File(name, written(encoded), verdict, sentence, called)
