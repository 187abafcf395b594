"""Image files that take far more work or memory to decode than they are worth: refused before they are decoded."""

from PIL import Image as Pillow

# Relative: these files go into every logged model, where there is no package `dataset`.
from . import jpeg, png, tiff
from .formats import BadImage, Header

MOST_EXIF_PARTS = 64
"""Segments of a JPEG file in which EXIF lies, 64 KB each; one is usual, and one more for each preview."""
MOST_SCANS = 5_000
"""Of a JPEG file; ten are usual. By chance, their marker may also stand in what a camera puts behind a picture."""
MOST_PASSES = 5_000_000_000
"""Pixels of a JPEG file times its scans; about four seconds. A hundred scans of the largest picture that is allowed."""
MOST_CHUNKS = 1_000
"""Of a PNG file, those of its pixels and frames left out; a handful is usual, and some take a decoder a millisecond."""
MOST_PIECES = 500_000
"""Of a PNG file, all of its chunks: its pixels stand in pieces of 8 KB and more, a picture of 64 MB has 8,000."""
MOST_FRAMES = 1000
"""Frames or pages are counted so far: to count on costs time, and that a file has several is all that matters."""


def refuse_bombs(encoded: bytes, header: Header) -> None:
    """Refuse what keeps a decoder busy for hours or fills the memory, however few its pixels or bytes are."""
    if header.format == "JPEG":
        # Pillow appends one part of EXIF to the others, which takes time that grows with their number squared.
        _refuse_more(encoded.count(b"Exif\0\0"), MOST_EXIF_PARTS, "parts of EXIF", header)
        # Each scan, of a few bytes, passes over every pixel.
        _refuse_more(encoded.count(b"\xff\xda"), MOST_SCANS, "scans", header)
        if excess := jpeg.excess(encoded):
            raise BadImage("unreadable", f"the JPEG file is damaged ({excess})", header)
    if header.format == "PNG":
        others, pieces = png.count_chunks(encoded, MOST_PIECES)
        _refuse_more(others, MOST_CHUNKS, "chunks", header)
        _refuse_more(pieces, MOST_PIECES - 1, "pieces", header)
    if header.format == "TIFF":
        _refuse_more(tiff.pieces(encoded), tiff.MOST_PIECES, "strips or tiles", header)


def refuse_too_many(file: Pillow.Image, header: Header, max_pixels: int) -> None:
    """Refuse more pixels than are allowed, as the header tells them."""
    if file.width * file.height > max_pixels:
        size = f"{file.width} x {file.height} pixels"
        raise BadImage("too-many-pixels", f"{size}, more than the {max_pixels} that are allowed", header)


def refuse_slow(file: Pillow.Image, header: Header, encoded: bytes, max_pixels: int) -> None:
    """Refuse what takes far more work or memory than its picture has pixels."""
    if header.format == "JPEG" and file.info.get("progressive"):
        scans = encoded.count(b"\xff\xda")
        if scans * file.width * file.height > MOST_PASSES:
            passes = f"{scans} scans of {file.width} x {file.height} pixels"
            raise BadImage("unreadable", f"the JPEG file is damaged ({passes})", header)
    if header.format == "TIFF" and (tile := tiff.packed_tile(encoded)) > max_pixels:
        raise BadImage(
            "too-many-pixels", f"a tile of {tile} pixels, more than the {max_pixels} that are allowed", header
        )


def _refuse_more(number: int, most: int, what: str, header: Header) -> None:
    if number > most:
        raise BadImage("unreadable", f"the {header.format} file is damaged ({number} {what})", header)


def frames(file: Pillow.Image, encoded: bytes) -> int:
    """Number of frames or pages, counted no further than `MOST_FRAMES`."""
    # A camera's MPO file is a JPEG with previews or depth behind it; those are no frames of an animation.
    if file.format == "MPO":
        return 1
    # For these two Pillow walks through the whole file; of a million pages it makes as many lists.
    if file.format == "TIFF":
        return min(tiff.pages(encoded), MOST_FRAMES)
    if file.format == "GIF" and _has_many_frames(encoded):
        return MOST_FRAMES
    return min(int(getattr(file, "n_frames", 1)), MOST_FRAMES)


def _has_many_frames(gif: bytes) -> bool:
    """True if a GIF file has `MOST_FRAMES` frames or more (GIF89a, sections 15 to 24), found without unpacking any."""
    place, frames = 13 + _colours(gif, 10), 0
    while place < len(gif) and gif[place] != 0x3B and frames < MOST_FRAMES:
        if gif[place] == 0x2C:
            frames += 1
            place = _behind_blocks(gif, place + 11 + _colours(gif, place + 9))
        else:
            place = _behind_blocks(gif, place + 2) if gif[place] == 0x21 else place + 1
    return frames >= MOST_FRAMES


def _colours(gif: bytes, place: int) -> int:
    """Bytes of the colour table that the flags at `place` announce."""
    flags = gif[place] if place < len(gif) else 0
    return 3 << ((flags & 7) + 1) if flags & 128 else 0


def _behind_blocks(gif: bytes, place: int) -> int:
    while place < len(gif) and gif[place]:
        place += 1 + gif[place]
    return place + 1
