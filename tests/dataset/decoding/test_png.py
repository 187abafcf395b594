import itertools
import zlib

import numpy as np
import pytest
from PIL import Image as Pillow

from dataset.decoding import png
from dataset.facts import facts
from dataset.images import ImageLimits
from tests.corpus.files import chunks, interlaced_png, picture, png_of, save, whole

LIMITS = ImageLimits()


def repacked(encoded, change):
    """The file with its pixels decompressed, changed and compressed again."""
    parts = [(name, content) for name, content in chunks(encoded) if name != b"IDAT"]
    packed = b"".join(content for name, content in chunks(encoded) if name == b"IDAT")
    return png_of([*parts[:-1], (b"IDAT", zlib.compress(change(zlib.decompress(packed)))), parts[-1]])


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
@pytest.mark.parametrize("size", [(1, 1), (7, 3), (9, 8), (3000, 900)])
def test_black_pictures_lack_nothing(mode, size):
    black = Pillow.new(mode, size, 0)
    encoded = save(black, "PNG")
    assert not png.lacks_rows(encoded)
    assert facts(encoded, LIMITS).problem == ""


@pytest.mark.parametrize("missing", [1, 30, 73, 1000])
def test_rows_that_are_missing_are_no_black_rows(missing):
    encoded = repacked(whole("PNG"), lambda rows: rows[:-missing])
    assert png.lacks_rows(encoded)
    found = facts(encoded, LIMITS)
    assert (found.problem, found.detail) == ("truncated", "the PNG file ends before the picture does")


def test_further_bytes_behind_the_rows_do_no_harm():
    assert facts(repacked(whole("PNG"), lambda rows: rows + bytes(100)), LIMITS).problem == ""


@pytest.mark.parametrize("missing", [1, 9, 20, 60])
def test_interlaced_rows_that_are_missing(missing):
    assert facts(interlaced_png("a"), LIMITS).problem == ""
    assert facts(repacked(interlaced_png("a"), lambda rows: rows[:-missing]), LIMITS).problem == "truncated"


def test_the_passes_of_an_interlaced_picture_hold_each_pixel_once():
    for width, height in itertools.product(range(1, 18), repeat=2):
        met = np.zeros((height, width), int)
        for left, top, right, down in png.ADAM7:
            met[top::down, left::right] += 1
        assert (met == 1).all()


@pytest.mark.parametrize("place", range(4))
def test_a_wrong_checksum_of_the_pixels_is_damage(place):
    encoded = bytearray(save(picture(5), "PNG"))
    end = encoded.index(b"IEND") - 8
    encoded[end + place] ^= 16
    found = facts(bytes(encoded), LIMITS)
    assert (found.problem, found.detail) == (
        "unreadable",
        "the PNG file is damaged (a checksum of its pixels is wrong)",
    )
