"""Names that are not what they seem, and those that only look odd to whoever reads one alphabet."""

import pytest

from tasks.validate.similar_names import ALIKE, described, foreign, shape, unseen

FINE = (
    "cat", "Käse", "4", "T-shirt", "кот", "γάτα", "猫", "قطة", "بى\u200cخوابى", "क\u094d\u200dष", "❤\ufe0f",
    "👩\u200d💻", "#\ufe0f", "Δt", "µm", "β-carotene", "Москва 2", "сор", "a", "",
)  # fmt: skip


@pytest.mark.parametrize("name", FINE)
def test_a_plain_name_of_any_alphabet_hides_nothing(name):
    assert (unseen(name), foreign(name)) == ("", "")


@pytest.mark.parametrize(
    ("name", "hidden", "other"),
    [
        ("ca\u200bt", "\u200b", ""),
        ("cat\u200d", "\u200d", ""),
        ("c\u200cat", "\u200c", ""),
        ("cat\u3164", "\u3164", ""),
        ("cat\ufe0f", "\ufe0f", ""),
        ("\u00adcat\u2060", "\u00ad\u2060", ""),
        ("c\u0430t", "", "\u0430"),
        ("d\u03bfg", "", "\u03bf"),
        ("\u0421at and dog", "", "\u0421"),
        ("c\u0430\u200bt", "\u200b", "\u0430"),
    ],
)
def test_what_cannot_be_seen_and_what_passes_for_latin_is_found(name, hidden, other):
    assert (unseen(name), foreign(name)) == (hidden, other)


def test_names_that_look_the_same_have_one_shape():
    assert {shape(name) for name in ("cat", "c\u0430t", "ca\u200bt", "\u0441\u0430t", "cat\ufe0f")} == {"cat"}
    assert shape("\u0441\u043e\u0440") == shape("cop")
    assert shape("\u0410") != shape("A"), "letters may be what is learned"
    assert shape("A\u200b") == "A"
    assert all(len(one) == len(other) == 1 and other.isascii() != one.isascii() for one, other in ALIKE.items())


def test_a_character_is_named_so_that_it_can_be_looked_up():
    assert described("\u200b\u200b\u0430") == "U+200B ZERO WIDTH SPACE, U+0430 CYRILLIC SMALL LETTER A"
    assert described("\u200b\u0430\u0435\u043e\u0440").endswith(" and 2 more")
