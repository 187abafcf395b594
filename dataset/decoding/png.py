"""What a PNG file promises of its pixels, which its decoder does not compare with what is there.

Pillow passes over the checksum of the pixels, and takes missing rows for black ones if the compressed data ends as it
should.
Layout as in the PNG specification, third edition: chunks in 5.3, filtered rows in 7.2, the passes of Adam7 in 8.2.
"""

import struct
import zlib
from collections.abc import Iterator
from itertools import islice

SIGNATURE_BYTES = 8
SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Samples of a pixel by colour type."""
WHOLE = ((0, 0, 1, 1),)
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""First column and row of each pass, and the steps to the next ones."""
AT_ONCE = 2**20
PIECES = (b"IDAT", b"fdAT", b"fcTL")
"""Chunks of which a whole file may have many."""


def pixels_are_damaged(encoded: bytes) -> bool:
    """True if a chunk of pixels does not have the checksum that stands behind it."""
    pixels = ((content, checksum) for name, content, checksum in _chunks(encoded) if name == b"IDAT")
    return any(zlib.crc32(content, zlib.crc32(b"IDAT")) != checksum for content, checksum in pixels)


def is_framed(encoded: bytes) -> bool:
    """True if the chunks go from the header, which is the first and stands there once, to the end (5.6).

    If bytes are missing in the midst of a chunk, they do not, and no checksum of that chunk can be compared.
    """
    names: list[bytes] = []
    for name, _, _ in _chunks(encoded):
        names.append(name)
        if name == b"IEND":
            return names[0] == b"IHDR" and names.count(b"IHDR") == 1
    return False


def count_chunks(encoded: bytes, most: int) -> tuple[int, int]:
    """How many chunks hold neither pixels nor frames, and how many there are, counted no further than `most`."""
    others = total = 0
    for name, _, _ in islice(_chunks(encoded), most):
        total += 1
        others += name not in PIECES
    return others, total


def lacks_rows(encoded: bytes) -> bool:
    """True if the compressed pixels end before all rows were there. Decompresses them: ask only where it may be so."""
    wanted = 0
    unpacked = zlib.decompressobj()
    for name, content, _ in _chunks(encoded):
        if name == b"IHDR":
            wanted = _filtered_bytes(bytes(content))
        if name == b"IDAT":
            wanted -= _unpacked_bytes(unpacked, content, wanted)
            if wanted <= 0:
                return False
    return wanted > 0


def _chunks(encoded: bytes) -> Iterator[tuple[bytes, memoryview, int]]:
    """Name, content and checksum of each whole chunk."""
    view = memoryview(encoded)
    place = SIGNATURE_BYTES
    while place + 12 <= len(encoded):
        length, name = struct.unpack_from(">I4s", encoded, place)
        end = place + 8 + length
        if end + 4 > len(encoded):
            return
        yield name, view[place + 8 : end], struct.unpack_from(">I", encoded, end)[0]
        place = end + 4


def _filtered_bytes(header: bytes) -> int:
    """The bytes of all rows before compression, each with the byte that names its filter."""
    width, height, bits, colour, _, _, interlaced = struct.unpack(">IIBBBBB", header)
    total = 0
    for left, top, right, down in ADAM7 if interlaced else WHOLE:
        columns, rows = -(-(width - left) // right), -(-(height - top) // down)
        if columns > 0 and rows > 0:
            total += rows * (1 + (columns * bits * SAMPLES[colour] + 7) // 8)
    return total


def _unpacked_bytes(unpacked: "zlib._Decompress", content: memoryview, most: int) -> int:
    """How many bytes come out of a part of the compressed data, in pieces that need little memory."""
    count = 0
    waiting: bytes | memoryview = content
    while count < most and not unpacked.eof:
        piece = unpacked.decompress(waiting, AT_ONCE)
        waiting = unpacked.unconsumed_tail
        count += len(piece)
        # All that went in can be used up while more than a piece is still to come out.
        if not waiting and len(piece) < AT_ONCE:
            break
    return count
