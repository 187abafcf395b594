"""Image files: broken, disguised, oversized, and whole ones of every kind."""

import io
import struct
import zipfile
import zlib
from collections.abc import Callable

from PIL import Image as Pillow

from tests.corpus.cases import MARKUP, File, file_of
from tests.corpus.files import (
    FORMATS,
    LONG,
    chunks,
    exif,
    gif,
    gif_frame,
    grey_tiff,
    hollow_png,
    interlaced_png,
    picture,
    png_header,
    png_of,
    png_with,
    save,
    sixteen_bit,
    whole,
)

# Broken files

BREAKS_OF: dict[str, dict[str, tuple[str, str]]] = {
    "header": {
        "PNG": ("file-unreadable", "damaged"), "WEBP": ("file-unreadable", "damaged"),
        # Its header claims more pixels, or more bytes, than anything has.
        "GIF": ("file-too-large", "65535 x 65535 pixels"),
        **dict.fromkeys(("JPEG", "BMP", "TIFF"), ("file-truncated", "ends before the picture does")),
    },
    "middle": {
        "PNG": ("file-unreadable", "damaged"),
        # What follows is other noise, which no decoder can tell from the noise that was there.
        "JPEG": ("", ""), "GIF": ("", ""), "WEBP": ("", ""), "BMP": ("", ""), "TIFF": ("", ""),
    },
    "end": dict.fromkeys(FORMATS, ("file-truncated", "ends before the picture does")),
}  # fmt: skip
"""What the report must say of a file whose header or middle is overwritten, or whose last tenth is cut off."""

HEADERS = {"PNG": (8, 24), "JPEG": (4, 200), "GIF": (6, 30), "WEBP": (12, 40), "BMP": (6, 54), "TIFF": (4, 8)}
"""Part of each format's header that is overwritten with 0xff."""


def _broken(kind: str, where: str) -> bytes:
    encoded = bytearray(whole(kind, f"broken {where}"))
    if where == "end":
        return bytes(encoded[: len(encoded) * 9 // 10])
    start, end = HEADERS[kind] if where == "header" else (len(encoded) // 2, len(encoded) // 2 + 8)
    encoded[start:end] = b"\xff" * (end - start) if where == "header" else bytes(encoded[start:end])[::-1]
    return bytes(encoded)


BROKEN = tuple(
    file_of(f"{kind} broken at its {where}", _broken(kind, where), verdict, sentence)
    for where, kinds in BREAKS_OF.items()
    for kind, (verdict, sentence) in kinds.items()
)


STARTS = {"PNG": 8, "JPEG": 3, "GIF": 6, "WEBP": 12, "BMP": 2, "TIFF": 4}
"""First bytes by which a format is known."""


def _cut_at_powers_of_two() -> tuple[File, ...]:
    cases = []
    for kind in FORMATS:
        encoded = whole(kind, "cut")
        for size in (2**power for power in range(12) if 2**power < len(encoded)):
            known = size >= STARTS[kind]
            verdict, sentence = ("file-truncated", "ends before") if known else ("not-an-image", "no image format")
            cases.append(file_of(f"{kind} cut after {size} bytes", encoded[:size], verdict, sentence))
    return tuple(cases)


def _png_changed(change: Callable[[list[tuple[bytes, bytes]]], bytes], seed: str) -> bytes:
    return change(list(chunks(whole("PNG", seed))))


def _with_checksum_wrong(encoded: bytes, name: bytes) -> bytes:
    place = encoded.index(name)
    (length,) = struct.unpack_from(">I", encoded, place - 4)
    end = place + 4 + length
    return encoded[:end] + bytes([encoded[end] ^ 1]) + encoded[end + 1 :]


DAMAGED_PNG = (
    file_of(
        "PNG with a wrong checksum of its header",
        _with_checksum_wrong(whole("PNG", "crc 1"), b"IHDR"),
        "file-unreadable",
        "damaged",
    ),
    file_of(
        "PNG with a wrong checksum of its pixels",
        _with_checksum_wrong(whole("PNG", "crc 2"), b"IDAT"),
        "file-unreadable",
        "damaged",
    ),
    file_of(
        "PNG with a wrong checksum of a text",
        _with_checksum_wrong(png_with(whole("PNG", "crc 3"), (b"tEXt", b"k\0v")), b"tEXt"),
        "file-unreadable",
        "damaged",
    ),
    file_of(
        "PNG without pixels",
        _png_changed(lambda parts: png_of([parts[0], parts[-1]]), "no pixels"),
        "file-unreadable",
        "damaged",
    ),
    # Nothing is missing of the picture itself.
    file_of("PNG without its end", _png_changed(lambda parts: png_of(parts[:-1]), "no end")),
    file_of(
        "PNG with its pixels before its header",
        _png_changed(lambda parts: png_of(parts[::-1]), "reversed"),
        "file-unreadable",
        "damaged",
    ),
    file_of(
        "PNG with two headers",
        _png_changed(lambda parts: png_of([parts[0], png_header(2, 2), *parts[1:]]), "twice"),
        "file-unreadable",
        "damaged",
    ),
    file_of(
        "PNG of a chunk longer than the file",
        whole("PNG", "long")[:33] + b"\x7f\xff\xff\xffIDAT",
        "file-truncated",
        "ends before",
    ),
    file_of("PNG of no height", hollow_png(24, 0), "file-unreadable", "damaged"),
    file_of(
        "PNG with pixels for a third of its rows",
        png_of([png_header(24, 24), (b"IDAT", zlib.compress(bytes(73 * 8))), (b"IEND", b"")]),
        "file-truncated",
        "",
    ),
)


# Files that are two things at once, or something else than their name says


def _zipped(content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("../evil.txt", content)
    return file.getvalue()


def _gif_script() -> bytes:
    """Its width is `/*` and a comment holds the end of that comment and a program: a browser might run it."""
    encoded = gif((0x2A2F, 1280), [b"!\xfe\x10*/=alert(1)//   \0", gif_frame()])
    return encoded


DISGUISED = (
    file_of("PNG with a ZIP archive behind it", whole("PNG", "zip") + _zipped(b"evil")),
    file_of("JPEG with HTML behind it", whole("JPEG", "html") + MARKUP.encode()),
    file_of("JPEG with a script in its comment", save(picture("comment"), "JPEG", comment=MARKUP)),
    file_of("GIF that is also a script", _gif_script),
    file_of(
        "PDF with a JPEG in it",
        b"%PDF-1.7\n" + whole("JPEG", "pdf") + b"\n%%EOF",
        "format-unknown",
        "its format is PDF",
    ),
    file_of("JPEG with a PDF behind it", whole("JPEG", "pdf 2") + b"\n%PDF-1.7\n%%EOF"),
    file_of(
        "SVG with a script", b"<svg xmlns='x'><script>alert(1)</script></svg>", "format-unknown", "its format is SVG"
    ),
    file_of("HTML called PNG", MARKUP.encode(), "not-an-image", "no image format"),
    file_of("text called PNG", b"This is a text.\n", "not-an-image", "no image format"),
    file_of("ZIP called PNG", _zipped(b"x"), "not-an-image", "no image format"),
    file_of("program called PNG", b"\x7fELF" + bytes(200), "not-an-image", "no image format"),
    file_of("no bytes", b"", "file-empty", "no bytes"),
    file_of("one byte", b"\x89", "not-an-image", "no image format"),
    file_of("only zeros", bytes(4096), "not-an-image", "no image format"),
    file_of("a mebibyte of noise", Pillow.effect_noise((1024, 1024), 90).tobytes, "not-an-image", "no image format"),
    file_of("HEIF", b"\0\0\0\x18ftypheic" + bytes(40), "format-unknown", "HEIF"),
    file_of("ICO", save(picture("ico"), "ICO"), "format-unknown", "its format is ICO"),
    file_of("JPEG 2000", save(picture("j2k"), "JPEG2000"), "format-unknown", "JPEG 2000"),
    file_of("PNG called JPEG", whole("PNG", "called"), called="wrong.jpg"),
    file_of("JPEG called text", whole("JPEG", "called"), called="wrong.txt"),
    file_of("GIF without an extension", whole("GIF", "called"), called="wrong"),
)


# Colour profiles, EXIF and texts


def _circular_exif() -> bytes:
    """EXIF whose sub-directory is the directory that it stands in, and that follows itself."""
    return b"Exif\0\0II*\0\x08\0\0\0\1\0" + struct.pack("<HHII", 0x8769, LONG, 1, 8) + struct.pack("<I", 8)


def _jpeg_segment(encoded: bytes, marker: int, content: bytes) -> bytes:
    return encoded[:2] + bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content + encoded[2:]


BOMB = zlib.compress(bytes(50_000_000), 9)
"""Fifty million zeros in fifty thousand bytes."""

PROFILED = (
    file_of("PNG with a broken colour profile", png_with(whole("PNG", "icc 1"), (b"iCCP", b"name\0\0not zlib"))),
    file_of("PNG with a colour profile of nonsense", save(picture("icc 2"), "PNG", icc_profile=b"nonsense" * 99)),
    file_of("JPEG with a colour profile of nonsense", save(picture("icc 3"), "JPEG", icc_profile=b"nonsense" * 99)),
    file_of("TIFF with a colour profile of nonsense", save(picture("icc 4"), "TIFF", icc_profile=b"nonsense" * 99)),
    file_of("WEBP with a colour profile of nonsense", save(picture("icc 5"), "WEBP", icc_profile=b"nonsense" * 99)),
    file_of("JPEG with half a colour profile", _jpeg_segment(whole("JPEG", "icc 6"), 0xE2, b"ICC_PROFILE\0\1\2half")),
    file_of("JPEG with 64 KB of EXIF", _jpeg_segment(whole("JPEG", "exif 1"), 0xE1, b"Exif\0\0" + b"\xff" * 65_000)),
    file_of("PNG with 4 MB of EXIF", png_with(whole("PNG", "exif 2"), (b"eXIf", b"II*\0" + b"\xff" * 4_000_000))),
    file_of("JPEG with EXIF of nonsense", _jpeg_segment(whole("JPEG", "exif 3"), 0xE1, b"Exif\0\0nonsense")),
    file_of("JPEG with EXIF that leads back to itself", _jpeg_segment(whole("JPEG", "exif 4"), 0xE1, _circular_exif())),
    file_of(
        "PNG with EXIF that leads back to itself", png_with(whole("PNG", "exif 5"), (b"eXIf", _circular_exif()[6:]))
    ),
    file_of(
        "JPEG with EXIF in thousands of parts",
        lambda: whole("JPEG", "exif 6")[:2] + b"\xff\xe1\0\x0aExif\0\0ab" * 9000 + whole("JPEG")[2:],
        "file-unreadable",
        "9000 parts of EXIF",
    ),
    *(
        file_of(f"JPEG with orientation {value}", save(picture(f"JPEG {value}"), "JPEG", exif=exif(value)))
        for value in (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 99, 65535)
    ),
    *(
        file_of(f"PNG with orientation {value}", save(picture(f"PNG {value}"), "PNG", exif=exif(value)))
        for value in (0, 6, 99)
    ),
    *(
        file_of(f"TIFF with orientation {value}", save(picture(f"TIFF {value}"), "TIFF", exif=exif(value)))
        for value in (0, 6, 9, 99)
    ),
    file_of(
        "PNG with a bomb as international text",
        png_with(whole("PNG", "bomb 1"), (b"iTXt", b"key\0\1\0\0\0" + BOMB)),
        "file-unreadable",
        "unpacks to too much",
    ),
    file_of(
        "PNG with a bomb as compressed text",
        png_with(whole("PNG", "bomb 2"), (b"zTXt", b"key\0\0" + BOMB)),
        "file-unreadable",
        "unpacks to too much",
    ),
    file_of(
        "PNG with a bomb as colour profile",
        png_with(whole("PNG", "bomb 3"), (b"iCCP", b"key\0\0" + BOMB)),
        "file-unreadable",
        "unpacks to too much",
    ),
    file_of(
        "PNG with markup as text", png_with(whole("PNG", "markup text"), (b"tEXt", b"Comment\0" + MARKUP.encode()))
    ),
)


# Sizes and bombs


def _grey_tiff(name: str, *further: tuple[int, int, int, int], following: int = 0) -> bytes:
    return grey_tiff(picture(name, channels=1).tobytes(), 24, *further, following=following)


SIZES = (
    file_of("PNG of 1 x 1", save(picture("1x1", 1, 1), "PNG"), "size-small", "1 x 1 pixels"),
    file_of(
        "PNG of 1 x 60000",
        save(picture("1x60000", 1, 60_000), "PNG"),
        "size-small size-large aspect",
        "1 x 60000 pixels",
    ),
    file_of(
        "PNG of 60000 x 1",
        save(picture("60000x1", 60_000, 1), "PNG"),
        "size-small size-large aspect",
        "60000 x 1 pixels",
    ),
    file_of("PNG of 8 x 80", save(picture("8x80", 8, 80), "PNG")),
    file_of("PNG of 8 x 81", save(picture("8x81", 8, 81), "PNG"), "aspect", "8 x 81 pixels"),
    file_of(
        "PNG that claims 50000 x 50000", hollow_png(50_000, 50_000), "file-too-large", "50000 x 50000 pixels, more than"
    ),
    file_of(
        "PNG that claims 2147483647 x 2147483647",
        hollow_png(2**31 - 1, 2**31 - 1),
        "file-too-large",
        "more than the 50000000",
    ),
    file_of("PNG that claims 7000 x 7000", hollow_png(7_000, 7_000), "file-truncated", "ends before"),
    # No column of a shard holds these numbers.
    file_of(
        "TIFF that claims 4294967295 x 24",
        _grey_tiff("wide", (256, LONG, 1, 2**32 - 1)),
        "file-too-large",
        "4294967295 x 24",
    ),
    file_of(
        "BMP that claims 24 x 2147483648",
        whole("BMP", "high")[:18] + struct.pack("<ii", 24, -(2**31)) + whole("BMP")[26:],
        "file-too-large",
        "24 x 2147483648",
    ),
    file_of(
        "PNG that claims 2147483648 frames",
        png_with(whole("PNG", "claims more"), (b"acTL", struct.pack(">II", 2**31, 0))),
        "animation",
        "2147483647 frames|1000 frames",
    ),
    file_of("GIF of a giant screen", gif((65_535, 65_535), [gif_frame()]), "file-too-large", "65535 x 65535 pixels"),
    file_of(
        "GIF of a frame larger than its screen",
        gif((24, 24), [gif_frame(60_000, 60_000)]),
        "file-too-large",
        "60000 x 60000",
    ),
    file_of(
        "BMP that claims 50000 x 50000",
        whole("BMP", "giant")[:18] + struct.pack("<ii", 50_000, 50_000) + whole("BMP")[26:],
        "file-too-large",
        "50000 x 50000",
    ),
    file_of(
        "TIFF that claims 50000 x 50000",
        _grey_tiff("giant", (256, LONG, 1, 50_000), (257, LONG, 1, 50_000)),
        "file-too-large",
        "50000 x 50000",
    ),
    file_of(
        "TIFF of four thousand million strips",
        _grey_tiff("strips", (273, LONG, 2**32 - 1, 8)),
        "file-unreadable",
        "4294967295 strips",
    ),
    file_of(
        "TIFF of a million strips",
        lambda: grey_tiff(struct.pack("<I", 8) * 1_000_000, 4000, (273, LONG, 1_000_000, 8), (278, LONG, 1, 1)),
        "file-unreadable",
        "1000000 strips",
    ),
    file_of(
        "JPEG of ten thousand scans",
        whole("JPEG", "scans")[:-2] + b"\xff\xda\0\x08\1\1\0\0\x3f\0" * 10_000,
        "file-unreadable",
        "10001 scans",
    ),
    file_of("TIFF of a strip longer than the file", _grey_tiff("strip", (279, LONG, 1, 2**32 - 1))),
    file_of(
        "TIFF of a giant tile",
        _grey_tiff("tile", (322, LONG, 1, 65_520), (323, LONG, 1, 65_520), (324, LONG, 1, 8)),
        "",
        "",
    ),
    file_of("TIFF that leads back to itself", _grey_tiff("circle", following=8 + 576)),
    file_of("TIFF of ten thousand pages", lambda: _pages(10_000), "animation", "10000? frames"),
    file_of("GIF of ten thousand frames", lambda: gif((24, 24), [gif_frame()] * 10_000), "animation", "10000? frames"),
)


def _pages(number: int) -> bytes:
    """A TIFF file of pages that share their pixels, one directory behind the other."""
    one = _grey_tiff("pages")
    start = 8 + 576
    directory = one[start:-4]
    places = [start + (len(directory) + 4) * page for page in range(1, number)] + [0]
    return one[:start] + b"".join(directory + struct.pack("<I", place) for place in places)


# Kinds of pixels

COLOURS = (
    file_of("TIFF of 16 bits", save(sixteen_bit("tiff"), "TIFF")),
    file_of("PNG of 16 bits", save(sixteen_bit("png"), "PNG")),
    file_of("TIFF of floats", save(picture("float", channels=1).convert("F"), "TIFF"), "format-unknown", "mode F"),
    file_of("TIFF of 32 bits", save(picture("32", channels=1).convert("I"), "TIFF"), "format-unknown", "mode I "),
    file_of("TIFF of Lab", save(Pillow.new("LAB", (24, 24)), "TIFF"), "format-unknown", "mode LAB"),
    file_of("TIFF of CMYK", save(picture("cmyk").convert("CMYK"), "TIFF")),
    file_of("JPEG of CMYK", save(picture("cmyk jpeg").convert("CMYK"), "JPEG")),
    file_of("PNG with alpha", save(picture("alpha").convert("RGBA"), "PNG")),
    file_of("PNG of grey and alpha", save(picture("grey alpha", channels=1).convert("LA"), "PNG")),
    file_of("PNG with a palette", save(picture("palette").quantize(16), "PNG")),
    file_of(
        "PNG with a palette and transparency", save(picture("palette 2").quantize(16), "PNG", transparency=b"\0\x80")
    ),
    file_of("PNG of one bit", save(picture("1 bit", channels=1).convert("1"), "PNG")),
    file_of("TIFF of one bit", save(picture("1 bit tiff", channels=1).convert("1"), "TIFF")),
    file_of("PNG interlaced", interlaced_png("interlaced")),
    file_of("JPEG progressive", save(picture("progressive"), "JPEG", progressive=True)),
    *(
        file_of(
            f"{kind} of three frames",
            save(picture(f"{kind} 1"), kind, save_all=True, append_images=[picture(f"{kind} 2"), picture(f"{kind} 3")]),
            "animation",
            "3 frames",
        )
        for kind in ("PNG", "GIF", "WEBP", "TIFF")
    ),
    file_of(
        "PNG that claims ten thousand frames",
        png_with(whole("PNG", "claims"), (b"acTL", struct.pack(">II", 10_000, 0))),
        "animation",
        "frames",
    ),
)

IMAGES = (*BROKEN, *_cut_at_powers_of_two(), *DAMAGED_PNG, *DISGUISED, *PROFILED, *SIZES, *COLOURS)
