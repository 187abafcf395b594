import random

import pytest

from records.rows import packed, unpacked


@pytest.mark.parametrize("rows", [(), (0,), (7, 8), tuple(range(1000)), (999_999,)])
def test_rows_come_back(rows):
    assert unpacked(packed(rows)) == rows


def test_rows_take_a_bit_each_at_the_most():
    half = sorted(random.Random(0).sample(range(100_000), 50_000))
    assert unpacked(packed(reversed(half))) == tuple(half)
    assert len(packed(half)) < 4 / 3 * 100_000 / 8 + 100
    assert len(packed(range(0, 100_000, 2))) < 100


@pytest.mark.parametrize("text", ["what is this", "AAAA", "é"])
def test_what_is_no_list_of_rows_is_told(text):
    with pytest.raises(ValueError, match=r"\w"):
        unpacked(text)
