import hashlib
import io
import random
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image as Pillow
from scipy.fft import dctn

from dataset.decoding.codecs import plain_png
from dataset.decoding.formats import BadImage
from dataset.facts import facts, facts_of
from dataset.images import ImageLimits, decode
from dataset.split import content_id, split_of

LIMITS = ImageLimits()
GREY = np.array([[1, 2, 3], [4, 5, 6]], dtype=np.uint8)
DICE = np.random.default_rng(0)
NOISE = DICE.integers(0, 256, (40, 50, 3), dtype=np.uint8)


def save(picture, kind, **options):
    if not isinstance(picture, Pillow.Image):
        picture = Pillow.fromarray(np.asarray(picture, dtype=np.uint8))
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


WHOLE_PNG = save(NOISE, "PNG")


def one_pixel(mode, colour, kind, **options):
    return save(Pillow.new(mode, (1, 1), colour), kind, **options)


def chunk(name, content):
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png_of_size(width, height, bits=1, colour=0):
    """A PNG file whose header claims any size, with almost nothing behind it."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def big_endian_tiff(values):
    """A 16-bit grey TIFF file of one row, bytes in the order of old Macintoshes."""
    width = len(values)
    tags = [(256, 3, width), (257, 3, 1), (258, 3, 16), (259, 3, 1), (262, 3, 1), (273, 4, 8), (277, 3, 1), (278, 3, 1)]
    tags.append((279, 4, 2 * width))
    entries = b"".join(
        struct.pack(">HHI", tag, kind, 1) + (struct.pack(">HH", value, 0) if kind == 3 else struct.pack(">I", value))
        for tag, kind, value in tags
    )
    pixels = struct.pack(f">{width}H", *values)
    start = struct.pack(">I", 8 + len(pixels))
    return b"MM\0*" + start + pixels + struct.pack(">H", len(tags)) + entries + struct.pack(">I", 0)


def turned(orientation):
    exif = Pillow.Exif()
    exif[274] = orientation
    return exif


# Formats and modes


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_equal_grey_pixels_are_the_same_image_in_every_format(kind):
    encoded = save(GREY, kind)
    image = decode(encoded, LIMITS)
    assert image.format == kind
    assert image.pixels.dtype == np.uint8
    assert image.pixels.tolist() == GREY[:, :, None].tolist()
    assert facts(encoded, LIMITS).image == content_id(GREY[:, :, None])


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "WEBP"])
def test_equal_colours_are_the_same_image_in_every_format(kind):
    encoded = save(NOISE, kind, **({"lossless": True} if kind == "WEBP" else {}))
    assert (decode(encoded, LIMITS).pixels == NOISE).all()
    assert facts(encoded, LIMITS).image == content_id(NOISE)


def test_a_palette_counts_as_colour():
    image = decode(save(GREY, "GIF"), LIMITS)
    assert (image.format, image.mode) == ("GIF", "P")
    assert (image.pixels == GREY[:, :, None]).all()
    assert image.pixels.shape == (2, 3, 3)


def test_jpeg_is_decoded():
    image = decode(save(np.full((8, 8, 3), (200, 100, 50)), "JPEG", quality=95), LIMITS)
    assert (image.format, image.mode, image.pixels.shape) == ("JPEG", "RGB", (8, 8, 3))
    assert np.abs(image.pixels.astype(int) - (200, 100, 50)).max() <= 3


@pytest.mark.parametrize(
    ("encoded", "mode", "pixel"),
    [
        (one_pixel("L", 7, "PNG"), "L", [7]),
        (one_pixel("1", 1, "PNG"), "1", [255]),
        (one_pixel("1", 0, "TIFF"), "1", [0]),
        (one_pixel("RGB", (1, 2, 3), "PNG"), "RGB", [1, 2, 3]),
        (one_pixel("RGBA", (255, 0, 0, 255), "PNG"), "RGBA", [255, 0, 0]),
        (one_pixel("RGBA", (255, 0, 0, 0), "PNG"), "RGBA", [255, 255, 255]),
        # 128/255 of black before white: 255 * 127 / 255
        (one_pixel("RGBA", (0, 0, 0, 128), "TIFF"), "RGBA", [127, 127, 127]),
        (one_pixel("LA", (100, 0), "PNG"), "LA", [255]),
        (one_pixel("LA", (100, 255), "PNG"), "LA", [100]),
        (one_pixel("L", 9, "PNG", transparency=9), "L", [255]),
        (one_pixel("RGB", (1, 2, 3), "PNG", transparency=(1, 2, 3)), "RGB", [255, 255, 255]),
        (save(Pillow.new("RGB", (1, 1), (9, 8, 7)).quantize(2), "PNG"), "P", [9, 8, 7]),
        (save(Pillow.new("RGB", (1, 1), (9, 8, 7)).quantize(2), "PNG", transparency=0), "P", [255, 255, 255]),
        (one_pixel("CMYK", (0, 0, 0, 0), "TIFF"), "CMYK", [255, 255, 255]),
        (one_pixel("CMYK", (255, 0, 0, 0), "TIFF"), "CMYK", [0, 255, 255]),
        (one_pixel("CMYK", (0, 0, 0, 255), "TIFF"), "CMYK", [0, 0, 0]),
        # Files of Photoshop's kind store CMYK upside down and say so.
        (one_pixel("CMYK", (0, 0, 0, 0), "JPEG"), "CMYK", [255, 255, 255]),
        (one_pixel("YCbCr", (255, 128, 128), "TIFF"), "YCbCr", [255, 255, 255]),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else str(value),
)
def test_every_mode_becomes_grey_or_colour_of_eight_bits(encoded, mode, pixel):
    image = decode(encoded, LIMITS)
    assert image.mode == mode
    assert image.pixels[0, 0].tolist() == pixel


SIXTEEN = np.array([[0, 255, 256, 32768, 65535]], dtype=np.uint16)


@pytest.mark.parametrize(
    "encoded",
    [
        save(Pillow.fromarray(SIXTEEN), "PNG"),
        save(Pillow.fromarray(SIXTEEN), "TIFF"),
        big_endian_tiff(SIXTEEN[0].tolist()),
    ],
    ids=["PNG", "TIFF", "big-endian TIFF"],
)
def test_sixteen_bits_become_eight_by_their_high_byte(encoded):
    assert decode(encoded, LIMITS).pixels.tolist() == [[[0], [0], [1], [128], [255]]]


def test_sixteen_bit_colour_becomes_eight_in_the_same_way():
    header = struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0)
    row = b"\0" + struct.pack(">3H", 255, 256, 65535)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(row)) + chunk(b"IEND", b"")
    assert decode(b"\x89PNG\r\n\x1a\n" + body, LIMITS).pixels.tolist() == [[[0, 1, 255]]]


@pytest.mark.parametrize(
    ("orientation", "seen"),
    [
        (1, [[1, 2, 3], [4, 5, 6]]),
        (2, [[3, 2, 1], [6, 5, 4]]),
        (3, [[6, 5, 4], [3, 2, 1]]),
        (4, [[4, 5, 6], [1, 2, 3]]),
        (5, [[1, 4], [2, 5], [3, 6]]),
        (6, [[4, 1], [5, 2], [6, 3]]),
        (7, [[6, 3], [5, 2], [4, 1]]),
        (8, [[3, 6], [2, 5], [1, 4]]),
        (9, [[1, 2, 3], [4, 5, 6]]),
    ],
)
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_orientation_is_honoured_once(kind, orientation, seen):
    encoded = save(GREY, kind, exif=turned(orientation))
    assert decode(encoded, LIMITS).pixels[:, :, 0].tolist() == seen
    found = facts(encoded, LIMITS)
    assert (found.height, found.width) == (len(seen), len(seen[0]))


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_orientation_of_lossy_files(kind):
    left_black = np.zeros((32, 32), np.uint8)
    left_black[:, 16:] = 255
    pixels = decode(save(left_black, kind, exif=turned(6)), LIMITS).pixels
    assert pixels[:8].max() < 30
    assert pixels[-8:].min() > 225


def test_damaged_exif_does_not_cost_the_image():
    assert decode(save(GREY, "PNG", exif=b"Exif\0\0garbage"), LIMITS).pixels.shape == (2, 3, 1)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_first_frame_of_several(kind):
    black, white = Pillow.new("L", (4, 4), 0), Pillow.new("L", (4, 4), 255)
    image = decode(save(black, kind, save_all=True, append_images=[white, black, white]), LIMITS)
    assert image.frames == 4
    assert image.pixels.max() == 0


def gif_of_frames(number, between=b""):
    """A GIF file of as many frames of one pixel."""
    frame = b",\0\0\0\0\1\0\1\0\0\2\2L\1\0"
    return b"GIF89a\1\0\1\0\x80\0\0" + b"\0\0\0\xff\xff\xff" + between.join([frame] * number) + b";"


def tiff_of_pages(number):
    """A TIFF file of as many pages that show the same pixel."""
    pages = b""
    for page in range(number):
        tags = [(256, 1), (257, 1), (258, 8), (262, 1), (273, 8), (277, 1), (278, 1), (279, 1)]
        entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
        following = 10 + (page + 1) * (len(entries) + 6) if page + 1 < number else 0
        pages += struct.pack("<H", len(tags)) + entries + struct.pack("<I", following)
    return b"II*\0" + struct.pack("<I", 10) + b"\7\7" + pages


@pytest.mark.parametrize(
    ("encoded", "frames"),
    [
        (gif_of_frames(1), 1),
        (gif_of_frames(999), 999),
        (gif_of_frames(1000), 1000),
        (gif_of_frames(100_000), 1000),
        (gif_of_frames(100_000, between=b"!\xfe\1,\0"), 1000),
        (tiff_of_pages(1), 1),
        (tiff_of_pages(999), 999),
        (tiff_of_pages(20_000), 1000),
        (WHOLE_PNG[:33] + chunk(b"acTL", struct.pack(">II", 2**31, 0)) + WHOLE_PNG[33:], 1000),
    ],
    ids=["GIF", "GIF 999", "GIF 1000", "GIF many", "GIF comments", "TIFF", "TIFF 999", "TIFF many", "PNG"],
)
def test_frames_are_counted_no_further_than_a_thousand(encoded, frames):
    found = facts(encoded, LIMITS)
    assert (found.problem, found.frames) == ("", frames)


@pytest.mark.parametrize("colour", ["grey", "colour"])
def test_plain_png_files_are_read_as_pillow_reads_them(colour):
    picture = Pillow.fromarray(NOISE if colour == "colour" else NOISE[:, :, 0])
    whole = save(picture, "PNG")
    assert plain_png(whole, 2000).pixels.tolist() == np.atleast_3d(np.asarray(picture)).tolist()
    assert plain_png(whole, 1999) is None
    dice, taken = random.Random(colour), 0
    for _ in range(400):
        damaged = bytearray(whole)
        damaged[dice.randrange(dice.choice([64, len(whole)]))] = dice.randrange(256)
        found = plain_png(bytes(damaged), 10_000)
        if found is not None:
            taken += 1
            with Pillow.open(io.BytesIO(damaged)) as file:
                assert np.atleast_3d(np.asarray(file)).tolist() == found.pixels.tolist()
    assert 0 < taken < 400


def test_sizes_that_no_column_can_hold_are_cut():
    header = struct.pack("<2sIHHIIiiHHIIiiII", b"BM", 200, 0, 0, 54, 40, -(2**31), 7, 1, 24, 0, 0, 0, 0, 0, 0)
    found = facts(header + b"\0" * 200, LIMITS)
    assert (found.problem, found.width, found.height) == ("too-many-pixels", 2**31 - 1, 7)


def test_a_camera_file_with_a_preview_is_one_picture():
    picture = Pillow.fromarray(NOISE)
    image = decode(save(picture, "MPO", save_all=True, append_images=[picture.reduce(2)]), LIMITS)
    assert (image.format, image.frames, image.pixels.shape) == ("JPEG", 1, (40, 50, 3))


# Bad files

WHOLE = {
    "PNG": save(NOISE, "PNG"),
    "JPEG": save(NOISE, "JPEG"),
    "progressive JPEG": save(NOISE, "JPEG", progressive=True),
    "WEBP": save(NOISE, "WEBP"),
    "lossless WEBP": save(NOISE, "WEBP", lossless=True),
    "BMP": save(NOISE, "BMP"),
    "TIFF": save(NOISE, "TIFF"),
    "compressed TIFF": save(NOISE, "TIFF", compression="tiff_lzw"),
    "GIF": save(NOISE, "GIF"),
}


@pytest.mark.parametrize("kind", WHOLE)
@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_a_file_that_was_cut_off_is_truncated(kind, share):
    found = facts(WHOLE[kind][: int(share * len(WHOLE[kind]))], LIMITS)
    assert found.problem == "truncated"
    assert "ends before" in found.detail
    assert found.format == kind.split()[-1]


def flipped(encoded, place):
    return encoded[:place] + bytes([encoded[place] ^ 255]) + encoded[place + 1 :]


@pytest.mark.parametrize(
    ("encoded", "problem", "detail"),
    [
        (b"", "empty", "no bytes"),
        (b"GIF", "not-an-image", "no image format"),
        (b"This is a text that somebody called cat.png.", "not-an-image", "no image format"),
        (b"MZ\x90\0" + b"\0" * 100, "not-an-image", "no image format"),
        (b"%PDF-1.7", "format", "PDF"),
        (b"\0\0\0\x20ftypheic", "format", "HEIF"),
        (b"8BPS\0\1", "format", "Photoshop"),
        (save(Pillow.new("F", (2, 2)), "TIFF"), "format", "mode F"),
        (save(Pillow.new("I", (2, 2)), "TIFF"), "format", "mode I"),
        (save(Pillow.new("LAB", (2, 2)), "TIFF"), "format", "mode LAB"),
        (flipped(WHOLE["PNG"], 20), "unreadable", "damaged"),
        (flipped(WHOLE["PNG"], 1000), "unreadable", "damaged"),
        (b"BM" + b"\0" * 50, "unreadable", "Unsupported BMP header"),
        (b"GIF89a" + b"\0", "truncated", "ends before"),
        (WHOLE["JPEG"][:2] + b"\xff\xe1\0\x0aExif\0\0ab" * 65 + WHOLE["JPEG"][2:], "unreadable", "65 parts of EXIF"),
        (WHOLE["progressive JPEG"][:-2] + b"\xff\xda\0\x08\1\1\0\0\x3f\0" * 5_001, "unreadable", " scans)"),
        (png_of_size(50_000, 50_000), "too-many-pixels", "50000 x 50000 pixels, more than the 50000000"),
        (png_of_size(50_000, 1_001), "too-many-pixels", "50000 x 1001"),
        (save(Pillow.new("1", (7072, 7072)), "PNG"), "too-many-pixels", "7072 x 7072"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_files_are_told_apart(encoded, problem, detail):
    found = facts(encoded, LIMITS)
    assert found.problem == problem
    assert detail in found.detail
    assert found.phash == ""
    assert found.sha256 == hashlib.sha256(encoded).hexdigest()
    assert found.image == found.sha256[:32]
    with pytest.raises(BadImage) as bad:
        decode(encoded, LIMITS)
    assert (bad.value.problem, bad.value.detail) == (problem, found.detail)


def test_the_size_of_a_bomb_is_known_and_pixels_are_counted_from_the_header():
    found = facts(png_of_size(50_000, 50_000), LIMITS)
    assert (found.format, found.width, found.height) == ("PNG", 50_000, 50_000)
    # Within the limit this file fails for another reason: it would have been decoded.
    assert facts(png_of_size(50_000, 1_000), LIMITS).problem != "too-many-pixels"


def test_sizes_that_no_column_holds_are_told_and_capped():
    wide = big_endian_tiff([1, 2]).replace(
        struct.pack(">HHIHH", 256, 3, 1, 2, 0), struct.pack(">HHII", 256, 4, 1, 2**32 - 1)
    )
    found = facts(wide, LIMITS)
    assert (found.problem, found.width) == ("too-many-pixels", 2**31 - 1)
    assert "4294967295 x 1 pixels" in found.detail


def test_limit_is_inclusive():
    assert facts(save(GREY, "PNG"), ImageLimits(max_pixels=6)).problem == ""
    assert facts(save(GREY, "PNG"), ImageLimits(max_pixels=5)).problem == "too-many-pixels"


def test_pillow_neither_warns_nor_keeps_our_limit():
    before = Pillow.MAX_IMAGE_PIXELS
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        facts(png_of_size(10_000, 10_000), LIMITS)
        facts(save(Pillow.new("RGB", (1, 1)).quantize(2), "PNG", transparency=b"\0\1"), LIMITS)
        facts(WHOLE["TIFF"][:-1000], LIMITS)
    assert before == Pillow.MAX_IMAGE_PIXELS


@pytest.mark.parametrize("kind", WHOLE)
def test_no_damage_gets_past_as_anything_but_a_fact(kind):
    dice = random.Random(kind)
    problems = set()
    for _ in range(120):
        damaged = bytearray(WHOLE[kind])
        for _ in range(dice.choice([1, 3, 20])):
            damaged[dice.randrange(dice.choice([64, 400, len(damaged)]))] = dice.randrange(256)
        found = facts(bytes(damaged), ImageLimits(max_pixels=1_000_000))
        assert " at 0x" not in found.detail
        problems.add(found.problem)
    assert problems <= {"", "truncated", "unreadable", "not-an-image", "format", "too-many-pixels"}


# Facts


def test_content_id_is_that_of_size_channels_and_pixels():
    pixels = np.array([[[0], [255]]], dtype=np.uint8)
    assert content_id(pixels) == hashlib.sha256(b"1x2x1\x00\xff").hexdigest()[:32]
    assert content_id(pixels) != content_id(pixels.reshape(2, 1, 1))
    assert content_id(NOISE[::-1]) == content_id(np.ascontiguousarray(NOISE[::-1]))


def test_facts_of_light():
    found = facts(save([[0, 255], [255, 0]], "PNG"), LIMITS)
    assert (found.brightness, found.contrast, found.sharpness) == (0.5, 0.5, 0.0)
    assert (found.width, found.height, found.frames, found.mode, found.problem) == (2, 2, 1, "L", "")


def test_sharpness_is_the_variance_of_the_laplacian():
    # Inner pixels are (1, 1) and (1, 2): -4 * 10 and 10, so 25 away from their mean.
    assert facts(save([[0, 0, 0, 0], [0, 10, 0, 0], [0, 0, 0, 0]], "PNG"), LIMITS).sharpness == 625


def test_perceptual_hash_has_the_signs_of_the_lowest_waves():
    """As SciPy transforms a copy of 32 x 32; waves without strength, whose sign is chance, are not compared."""
    for shape in ((32, 32), (45, 70), (28, 28), (300, 200)):
        picture = Pillow.fromarray(DICE.integers(0, 256, (6, 5), dtype=np.uint8)).resize(shape[::-1])
        copy = np.asarray(picture.resize((32, 32), Pillow.Resampling.BILINEAR), dtype=float)
        waves = dctn(copy, norm="ortho")[1:9, 1:9].T.ravel()
        bits = np.unpackbits(np.frombuffer(bytes.fromhex(facts(save(picture, "PNG"), LIMITS).phash), dtype=np.uint8))
        strong = np.abs(waves) > 5
        assert strong.sum() > 30
        assert (bits[strong] == (waves > 0)[strong]).all()


def test_perceptual_hash_of_plain_surfaces_says_nothing():
    assert facts(save(Pillow.new("L", (40, 30), 77), "PNG"), LIMITS).phash == "0" * 16


def test_perceptual_hash_survives_another_size_and_format():
    rows, columns = np.mgrid[0:300, 0:400]
    picture = Pillow.fromarray((127 + 60 * np.sin(columns / 40) * np.cos(rows / 35) + rows / 6).astype(np.uint8))
    first = int(facts(save(picture, "PNG"), LIMITS).phash, 16)
    second = int(facts(save(picture.resize((200, 150)), "JPEG", quality=60), LIMITS).phash, 16)
    assert (first ^ second).bit_count() <= 3


def test_low_and_high_are_the_levels_of_the_darkest_and_brightest_twentieth():
    # Of 20 pixels the darkest one is 5%, and 19 are 95%.
    found = facts(save([[10, *[20] * 17, 30, 250]], "PNG"), LIMITS)
    assert (found.low, found.high) == (10 / 255, 30 / 255)


@pytest.mark.parametrize(
    ("levels", "bits"), [([[7]], 0.0), ([[0, 255]], 1.0), ([[1, 1, 2, 3]], 1.5), ([list(range(256))], 8.0)]
)
def test_entropy_is_that_of_the_levels(levels, bits):
    assert facts(save(levels, "PNG"), LIMITS).entropy == bits


def test_facts_of_many_are_those_of_each():
    sizes = [(28, 28), (1, 1), (2, 9), (300, 200), (700, 500), (28, 28), (1, 600)]
    pictures = [DICE.integers(0, 256, (*sizes[n % 7], 3), dtype=np.uint8) for n in range(30)]
    pictures = [picture[:, :, 0] if n % 2 else picture for n, picture in enumerate(pictures)]
    files = [*(save(picture, "PNG") for picture in pictures), b"", WHOLE["JPEG"], WHOLE["GIF"][:99], WHOLE["TIFF"]]
    together = facts_of(files, LIMITS)
    assert together == [facts(file, LIMITS) for file in files]
    assert [found.problem for found in together[30:]] == ["empty", "", "truncated", ""]


# Splits


@pytest.mark.parametrize(
    ("image", "split"),
    [
        ("0" * 32, "test"),
        ("3333" + "0" * 28, "test"),  # 0x3333 / 0x10000 = 0.19999
        ("3334" + "0" * 28, "validation"),
        ("4ccc" + "0" * 28, "validation"),  # 0x4ccc / 0x10000 = 0.29999
        ("4ccd" + "0" * 28, "train"),
        ("f" * 32, "train"),
    ],
)
def test_split_follows_from_the_first_digits(image, split):
    assert split_of(image, 0.2, 0.1) == split


def test_splits_have_their_shares():
    images = [hashlib.sha256(str(n).encode()).hexdigest()[:32] for n in range(10_000)]
    splits = [split_of(image, 0.2, 0.1) for image in images]
    assert abs(splits.count("test") - 2000) < 120
    assert abs(splits.count("validation") - 1000) < 90


KEY = "8f" * 16


def altered(pixels, split):
    """The picture with its last pixel at a level that has it in `split`, if there is no key."""
    for level in range(256):
        changed = pixels.copy()
        changed[-1, -1] = level
        if split_of(content_id(changed), 0.2, 0) == split:
            return changed
    raise AssertionError("no level will do")


def test_whoever_sends_images_chooses_their_split_unless_there_is_a_key():
    generator = np.random.default_rng(0)
    pictures = [generator.integers(0, 256, (4, 4, 1), dtype=np.uint8) for _ in range(200)]
    sent = [altered(picture, "test") for picture in pictures]
    assert {split_of(content_id(one), 0.2, 0) for one in sent} == {"test"}
    # What the sender made all tests of is split as any images are by a key that the sender does not know.
    splits = [split_of(content_id(one), 0.2, 0, KEY) for one in sent]
    assert 20 < splits.count("test") < 60


def test_the_same_key_gives_the_same_split_anywhere():
    images = [hashlib.sha256(str(n).encode()).hexdigest()[:32] for n in range(1000)]
    splits = [split_of(image, 0.2, 0.1, KEY) for image in images]
    assert (splits.count("train"), splits.count("validation"), splits.count("test")) == (696, 104, 200)
    assert [split_of(image, 0.2, 0.1, KEY[::-1]) for image in images] != splits


# Fitting
