"""The directories of a TIFF file, looked at before a decoder does: how many pages there are, in how many pieces.

A few bytes of such a file can keep a decoder busy for hours or fill the memory: Pillow's time to count pages grows with
their number squared, and it makes a record of 300 bytes of each piece (strip or tile), however small the picture is.
Layout as in TIFF 6.0, section 2, and as in BigTIFF (version 43).
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

MOST_PIECES = 250_000
"""A picture of 50 million pixels in the smallest tiles, 16 x 16, has 195,313."""

STRIP_OFFSETS, TILE_OFFSETS = 273, 324
COMPRESSION, TILE_WIDTH, TILE_LENGTH = 259, 322, 323
UNPACKED = 1
SHORT = 3


@dataclass(frozen=True)
class TiffLayout:
    """Where things stand in a file: `struct` formats with their byte order."""

    count: str
    """Number of a directory's entries."""
    entry: str
    """Tag, type, number of values, and the value or its place."""
    place: str
    """Where the next directory lies; 0 is none."""
    first: int
    """Where the place of the first directory stands."""


def pages(encoded: bytes) -> int:
    """The number of directories, at least 1. Raises `EOFError` if one of them lies beyond the file's end."""
    return max(1, sum(1 for _ in _directories(encoded, _layout(encoded))))


def is_cut(encoded: bytes) -> bool:
    """True if a directory, which says where the pixels of a page are, lies beyond the file's end."""
    try:
        pages(encoded)
    except EOFError:
        return True
    return False


def pieces(encoded: bytes) -> int:
    """The number of strips or tiles that the first directory claims; 0 if it is not there."""
    return max((count for tag, _, count, _ in _entries(encoded) if tag in (STRIP_OFFSETS, TILE_OFFSETS)), default=0)


def packed_tile(encoded: bytes) -> int:
    """The pixels of one tile of the first directory if tiles are compressed, and so unpacked whole; else 0."""
    layout = _layout(encoded)
    values = {tag: _value(layout, kind, field) for tag, kind, _, field in _entries(encoded)}
    if values.get(COMPRESSION, UNPACKED) == UNPACKED:
        return 0
    return values.get(TILE_WIDTH, 0) * values.get(TILE_LENGTH, 0)


def _entries(encoded: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Tag, type, number of values and value or its place, for each entry of the first directory that is there."""
    layout = _layout(encoded)
    try:
        place, entries = next(_directories(encoded, layout), (0, 0))
    except EOFError:
        return
    size = struct.calcsize(layout.entry)
    start = place + struct.calcsize(layout.count)
    yield from struct.iter_unpack(layout.entry, encoded[start : start + entries * size])


def _value(layout: TiffLayout, kind: int, field: int) -> int:
    """The one number that stands in a field, at its beginning: a short of two bytes, or what fills it."""
    packed = struct.pack(layout.place, field)
    order = layout.place[0]
    return int(struct.unpack_from(f"{order}{'H' if kind == SHORT else 'I'}", packed)[0])


def _layout(encoded: bytes) -> TiffLayout:
    order = "<" if encoded.startswith(b"II") else ">"
    if encoded[2:4] in (b"+\0", b"\0+"):
        return TiffLayout(f"{order}Q", f"{order}HHQQ", f"{order}Q", 8)
    return TiffLayout(f"{order}H", f"{order}HHII", f"{order}I", 4)


def _directories(encoded: bytes, layout: TiffLayout) -> Iterator[tuple[int, int]]:
    """Place and number of entries of each directory, each once: a file may lead back to where it came from."""
    seen: set[int] = set()
    place = _number(encoded, layout.place, layout.first)
    while place and place not in seen:
        seen.add(place)
        entries = _number(encoded, layout.count, place)
        end = place + struct.calcsize(layout.count) + entries * struct.calcsize(layout.entry)
        cut_behind = 0 <= len(encoded) - end < struct.calcsize(layout.place)
        # All that is missing then is where a further page would be; the pictures are complete.
        following = 0 if cut_behind else _number(encoded, layout.place, end)
        yield place, entries
        place = following


def _number(encoded: bytes, form: str, place: int) -> int:
    if place + struct.calcsize(form) > len(encoded):
        raise EOFError("the file is truncated: a directory lies beyond its end")
    number: int = struct.unpack_from(form, encoded, place)[0]
    return number
