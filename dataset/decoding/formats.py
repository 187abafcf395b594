"""The formats of image files: by which first bytes they are known, and what a file says of itself."""

from typing import NamedTuple

STARTS = {
    "PNG": (b"\x89PNG\r\n\x1a\n",),
    "JPEG": (b"\xff\xd8\xff",),
    "WEBP": (b"RIFF",),
    "BMP": (b"BM",),
    "TIFF": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    "GIF": (b"GIF87a", b"GIF89a"),
}
"""The formats that are read, by Pillow's names, and the first bytes of their files."""
OTHERS = {
    b"8BPS": "Photoshop",
    b"\0\0\1\0": "ICO",
    b"\0\0\0\x0cjP": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",
    b"\xff\x0a": "JPEG XL",
    b"\0\0\0\x0cJXL": "JPEG XL",
    b"%PDF": "PDF",
    b"<svg": "SVG",
    b"DDS ": "DDS",
    b"qoif": "QOI",
}
"""Formats that a person may take for readable: naming them helps more than saying that they are no images."""


class Header(NamedTuple):
    """What a file says of itself before it is decoded. `format`: a key of `STARTS`; `mode`: Pillow's name."""

    format: str = ""
    mode: str = ""
    width: int = 0
    height: int = 0
    """As the picture is seen, that is after turning; 0 if unknown."""
    frames: int = 0


class BadImage(ValueError):
    """A file that is no usable image. `problem` is one word for programs, `detail` one clause for a person."""

    def __init__(self, problem: str, detail: str, header: Header | None = None) -> None:
        super().__init__(f"{problem}: {detail}")
        self.problem = problem
        self.detail = detail
        self.header = header or Header()


def recognise(encoded: bytes) -> str:
    """The format that a file's first bytes claim, a key of `STARTS`. Raises `BadImage`: empty, not-an-image, format."""
    if not encoded:
        raise BadImage("empty", "the file has no bytes")
    for kind, starts in STARTS.items():
        if encoded.startswith(starts) and (kind != "WEBP" or encoded[8:12] == b"WEBP"):
            return kind
    other = next((name for start, name in OTHERS.items() if encoded.startswith(start)), "")
    if encoded[4:8] == b"ftyp":
        other = "HEIF, AVIF or video"
    if other:
        raise BadImage("format", f"its format is {other}; readable are {', '.join(STARTS)}")
    raise BadImage("not-an-image", "its first bytes are those of no image format")
