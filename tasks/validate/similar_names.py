"""Names that look like others: characters that cannot be seen, and letters of other alphabets with the same shape.

What looks alike follows Unicode's "confusables" (Technical Standard 39) for the alphabets that share shapes with the
Latin one. Only letters that are drawn the same are listed: к and k can be told apart.
"""

import re
import unicodedata

from records.formatting import listed

_PAIRS = (
    "аa еe оo рp сc уy хx іi јj ѕs һh ԁd ԛq ԝw ѵv ӏl АA ВB ЕE КK МM НH ОO РP СC ТT УY ХX ІI ЈJ ЅS ԚQ ԜW ӀI ҮY "
    "οo νv ρp ιi ϲc ϳj ΑA ΒB ΕE ΖZ ΗH ΙI ΚK ΜM ΝN ΟO ΡP ΤT ΥY ΧX ϹC "
    "օo ոn սu հh զq ցg ՕO ɑa ɡg"
)
"""Cyrillic, Greek, Armenian, phonetic."""
ALIKE = {pair[0]: pair[1] for pair in _PAIRS.split()}

FILLERS = "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"
"""Empty characters that Unicode counts as letters, marks or symbols."""
JOINERS = "\u200c\u200d"
"""They shape the letters beside them in Arabic and Indic scripts, and make one emoji of several."""
SELECTORS = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]")
"""They choose between forms of the character before them."""


def unseen(name: str) -> str:
    """The characters of a name that cannot be seen, but for those that belong to the script that they stand in."""
    around = zip(f" {name}", name, f"{name[1:]} ", strict=False)
    return "".join(
        letter for before, letter, after in around if _is_unseen(letter) and not _fits(before, letter, after)
    )


def foreign(name: str) -> str:
    """Letters of another alphabet that pass for Latin ones within a word of Latin ones."""
    found = ""
    for word in re.findall(r"[^\W\d_]+", name):
        alike = "".join(letter for letter in word if letter in ALIKE)
        if alike and len(alike) < len(word) and all(letter in ALIKE or _is_latin(letter) for letter in word):
            found += alike
    return found


def shape(name: str) -> str:
    """Equal for names that look the same: without what cannot be seen, in Latin letters where they have the shape."""
    seen = "".join(letter for letter in name if not _is_unseen(letter))
    # A letter alone may be a class of its own: А and A, where letters are what is learned.
    return "".join(ALIKE.get(letter, letter) for letter in seen) if len(seen) > 1 else seen


def described(letters: str) -> str:
    """`U+200B ZERO WIDTH SPACE`, each once."""
    names = [f"U+{ord(letter):04X} {unicodedata.name(letter, '')}".rstrip() for letter in dict.fromkeys(letters)]
    return listed(names, 3)


def _is_unseen(letter: str) -> bool:
    return unicodedata.category(letter) == "Cf" or letter in FILLERS or SELECTORS.match(letter) is not None


def _fits(before: str, letter: str, after: str) -> bool:
    if letter in JOINERS:
        return unicodedata.category(before) in SHAPED and unicodedata.category(after) in SHAPED
    return SELECTORS.match(letter) is not None and unicodedata.category(before) in CHOSEN


SHAPED = ("Lo", "Mn", "Mc", "So", "Sk")
"""Letters without case, their marks, emoji, and skin tones."""
CHOSEN = ("Lo", "So", "Sm", "Po")


def _is_latin(letter: str) -> bool:
    return unicodedata.name(letter, "").startswith("LATIN ")
