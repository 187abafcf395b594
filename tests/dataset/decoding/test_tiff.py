import struct

import pytest

from dataset.decoding import tiff
from dataset.facts import facts
from dataset.images import ImageLimits
from tests.corpus.files import LONG, SHORT, grey_tiff, picture, save

LIMITS = ImageLimits()


def pages_file(number, last=0):
    """Pages that share sixteen grey pixels, one directory behind the other; the last one leads to `last`."""
    tags = [(256, LONG, 4), (257, LONG, 4), (258, SHORT, 8), (259, SHORT, 1), (262, SHORT, 1), (273, LONG, 8)]
    tags += [(277, SHORT, 1), (278, LONG, 4), (279, LONG, 16)]
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    size = 2 + len(entries) + 4
    places = [24 + size * page for page in range(1, number)] + [last]
    directories = b"".join(struct.pack("<H", len(tags)) + entries + struct.pack("<I", place) for place in places)
    return b"II*\0" + struct.pack("<I", 24) + bytes(range(16)) + directories


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("options", [{}, {"big_tiff": True}])
def test_pages_are_counted_as_pillow_writes_them(number, options):
    others = [picture(seed) for seed in range(1, number)]
    encoded = save(picture(0), "TIFF", save_all=True, append_images=others, **options)
    assert tiff.pages(encoded) == number
    assert tiff.pieces(encoded) == 1
    assert facts(encoded, LIMITS).frames == number


def test_a_hundred_thousand_pages_cost_no_time():
    found = facts(pages_file(100_000), LIMITS)
    assert (found.problem, found.width) == ("", 4)
    assert found.frames >= 1000


@pytest.mark.parametrize("last", [24, 24 + 114])
def test_pages_in_a_circle_are_counted_once(last):
    assert facts(pages_file(3, last), LIMITS).frames == 3


def test_a_page_beyond_the_end_is_missing():
    encoded = pages_file(3, 1_000_000)
    assert tiff.is_cut(encoded)
    assert facts(encoded, LIMITS).problem == "truncated"


def test_a_file_cut_within_a_directory_is_truncated_and_before_its_last_place_complete():
    encoded = pages_file(2)
    assert [facts(encoded[:-cut], LIMITS).problem for cut in (1, 4, 5, 16, 100)] == ["", "", *["truncated"] * 3]


@pytest.mark.parametrize("tag", [273, 324])
def test_a_picture_in_too_many_pieces_is_not_decoded(tag):
    most = grey_tiff(bytes(256), 16, (tag, LONG, tiff.MOST_PIECES, 8))
    assert "strips" not in facts(most, LIMITS).detail
    more = grey_tiff(bytes(256), 16, (tag, LONG, tiff.MOST_PIECES + 1, 8))
    found = facts(more, LIMITS)
    assert (found.problem, found.detail) == ("unreadable", "the TIFF file is damaged (250001 strips or tiles)")
