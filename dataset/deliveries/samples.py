"""Samples in tar shards, in the layout of WebDataset: members that share a name up to its first dot belong together.

    0001.jpg   0001.cls    an image and its label       (the layout: github.com/webdataset/webdataset, "base_plus_ext")
    0002.jpg   0002.json   an image, and an object with `label` and whatever else is known of the image

The label is the first that there is: the text in `.cls`, in `.label.txt`, `label` in `.json`, the text in `.txt`. A
whole number becomes a name if the delivery has a `classes.txt`, a name a line, the first for 0. In `.json` 3.0 is 3;
fractions, NaN, true and false name no class. Other strings, numbers and booleans there become columns. Members that
WebDataset keeps for itself (`__name__`) and hidden ones (`.name`) are not seen. Unlike there, the members of a sample
need not follow each other, within one tar.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dataset.deliveries.tars import Member, members, stretch
from records.errors import UnreadableBatch

IMAGES = ("png", "jpg", "jpeg", "webp", "bmp", "tif", "tiff", "gif")
CLS, LABEL_TXT, JSON, TXT = "cls", "label.txt", "json", "txt"
CLASSES = "classes.txt"
JUNK = ("thumbs.db", "desktop.ini", ".ds_store", ".directory")
"""What operating systems leave in folders, in lower case; nobody sent it."""
APPLE_DOUBLE = bytes.fromhex("00051607")
"""How a `._name` begins in which a Macintosh keeps what another file system has no place for (RFC 1740)."""
SIDE_BYTES = 2**20
"""Largest text or JSON beside an image that is read."""
NUMBER = re.compile(r"-?[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class Sample:
    """One image and what stands beside it."""

    name: str
    """Of the image's member; of the sample, if it has no image."""
    label: str
    offset: int
    """Of the image's bytes in the tar."""
    bytes: int
    problem: str
    """Why the image must not be read, or, beginning with `label`, what is wrong with its label. Empty if nothing is."""
    detail: str
    columns: Mapping[str, str]
    unread: tuple[str, ...] = ()
    """What stands beside the image, or in the texts beside it, and becomes nothing: `.mask.png`, `boxes in .json`."""


@dataclass(slots=True)
class _Sidecars:
    """What the text files beside an image say: its label, and columns."""

    label: str = ""
    problem: str = ""
    detail: str = ""
    columns: dict[str, str] = field(default_factory=dict)
    read: set[str] = field(default_factory=set)
    """Which of the texts, by kind, were understood and are in the batch."""
    unread: list[str] = field(default_factory=list)
    """What in a text that was understood becomes nothing."""


def read_samples(tar: int, classes: Sequence[str], shown: str, unread: set[str]) -> Iterator[Sample]:
    """The samples of an open tar (a file descriptor), in the order of their first members. No image is read.

    `unread` gets what of the tar becomes nothing, such as `.mask.png`. Raises `UnreadableBatch`.
    """
    groups: dict[str, list[Member]] = {}
    for member in members(tar, shown):
        if _is_seen(member.name):
            groups.setdefault(_split(member.name)[0], []).append(member)
        elif not _is_junk(tar, member):
            unread.add(member.name)
    for key, group in groups.items():
        sample = _sample(tar, key, group, classes)
        unread.update(sample.unread)
        yield sample


def read_classes(file: int, shown: str) -> tuple[str, ...]:
    """Names of classes, a line each, from an open file (a file descriptor). Raises `UnreadableBatch`."""
    content = stretch(file, 0, 16 * SIDE_BYTES)
    try:
        names = tuple(line.strip() for line in content.decode("utf-8-sig").rstrip().split("\n"))
    except UnicodeDecodeError as error:
        raise UnreadableBatch(f"{shown} is not in UTF-8 (byte {error.start}). Save it as UTF-8.") from None
    if not any(names):
        raise UnreadableBatch(f"{shown} is empty. Write the name of a class on each line, or take it away.")
    return names


def named(number: str, classes: Sequence[str]) -> tuple[str, str, str]:
    """The name of a class by its number; the number itself, a problem and a clause if there is none."""
    if not classes or not NUMBER.fullmatch(number):
        return number, "", ""
    if 0 <= int(number) < len(classes):
        return classes[int(number)], "", ""
    return number, "label-number", f"class {number}, but the names of classes go from 0 to {len(classes) - 1}"


def _is_seen(name: str) -> bool:
    parts = [part for part in name.split("/") if part not in ("", "..")]
    return bool(parts) and not any(p.startswith((".", "__")) for p in parts)


def _is_junk(tar: int, member: Member) -> bool:
    """Whether an operating system left it there, or packed it."""
    base = member.name.rpartition("/")[2]
    return base.lower() in JUNK or (base.startswith("._") and stretch(tar, member.offset, 4) == APPLE_DOUBLE)


def _split(name: str) -> tuple[str, str]:
    """Key of the sample, and the extension in lower case: all from the first dot of the base name."""
    folder, slash, base = name.rpartition("/")
    stem, _, extension = base.partition(".")
    return folder + slash + stem, extension.lower()


def _sample(tar: int, key: str, group: list[Member], classes: Sequence[str]) -> Sample:
    image, problem, detail = _image(group)
    sidecars = _read_sidecars(tar, group, classes)
    others = [m for m in group if m is not image and _split(m.name)[1] not in sidecars.read]
    unread = (*(f".{_split(m.name)[1]}" for m in others), *sidecars.unread)
    if not problem:
        problem, detail = sidecars.problem, sidecars.detail
    if image is None:
        return Sample(key, sidecars.label, 0, 0, problem, detail, sidecars.columns, unread)
    return Sample(image.name, sidecars.label, image.offset, image.bytes, problem, detail, sidecars.columns, unread)


def _image(group: list[Member]) -> tuple[Member | None, str, str]:
    """The member that is the image, and why it must not be read."""
    found = [m for m in group if _split(m.name)[1].rpartition(".")[2] in IMAGES]
    # Beside 1.jpg, 1.mask.png is something else; alone, it is the image.
    plain = [m for m in found if _split(m.name)[1] in IMAGES]
    found = plain or found
    if not found:
        others = ", ".join(sorted({f".{_split(m.name)[1]}" for m in group})[:5])
        return None, "missing", f"the sample has no image, only {others}"
    if len({m.name for m in found}) > 1:
        return (
            found[0],
            "several",
            f"the sample has {len(found)} images; give each a name of its own up to its first dot",
        )
    if len(found) > 1:
        return found[0], "several", f"the tar has {len(found)} members of this name"
    return found[0], found[0].problem, found[0].detail


def _read_sidecars(tar: int, group: list[Member], classes: Sequence[str]) -> _Sidecars:
    found = [m for m in group if _split(m.name)[1] in (CLS, LABEL_TXT, JSON, TXT)]
    texts = {_split(m.name)[1]: m for m in found}
    sidecars = _Sidecars()
    label = None
    try:
        if len(texts) < len(found):
            raise _BadText("the tar has two members of the same name beside it")
        known = _object(tar, texts[JSON]) if JSON in texts else {}
        sidecars.columns = {k: _text(v) for k, v in known.items() if k not in ("", "label") and _is_scalar(v)}
        sidecars.unread = [f"{k[:40]} in .json" for k in known if k not in sidecars.columns and k != "label"]
        for kind in (CLS, LABEL_TXT, JSON, TXT):
            if label is None and kind in texts:
                label = _label_of(known) if kind == JSON else _content(tar, texts[kind]).strip()
                sidecars.read |= {kind} if label is not None else set()
        sidecars.read |= {JSON} & set(texts)
        if label is not None and "label" in known and _label_of(known) != label:
            sidecars.unread.append("label in .json")
    except _BadText as bad:
        sidecars.problem, sidecars.detail, sidecars.read = "label-unreadable", str(bad), set()
        return sidecars
    if label is None:
        sidecars.problem = "label-missing"
        sidecars.detail = "the sample has no .cls, .label.txt or .txt and no label in .json"
        return sidecars
    sidecars.label, sidecars.problem, sidecars.detail = named(label, classes)
    return sidecars


class _BadText(Exception):
    """What is wrong with a text beside an image, as a clause."""


def _content(tar: int, member: Member) -> str:
    kind = f"its .{_split(member.name)[1]}"
    if member.problem:
        raise _BadText(f"{kind} is {member.detail}")
    if member.bytes > SIDE_BYTES:
        raise _BadText(f"{kind} has {member.bytes} bytes, more than the {SIDE_BYTES} that are read")
    try:
        return stretch(tar, member.offset, member.bytes).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _BadText(f"{kind} is not in UTF-8") from None


def _object(tar: int, member: Member) -> dict[str, Any]:
    try:
        content = json.loads(_content(tar, member))
    except (ValueError, RecursionError):
        raise _BadText("its .json cannot be read as JSON") from None
    if not isinstance(content, dict):
        raise _BadText("its .json holds no object")
    return content


def _label_of(known: Mapping[str, Any]) -> str | None:
    label = known.get("label")
    if label is None:
        return None
    if not _is_scalar(label):
        raise _BadText("label in its .json is neither text nor a number")
    if isinstance(label, bool) or (isinstance(label, float) and not label.is_integer()):
        raise _BadText(f"label in its .json is {json.dumps(label)}, which names no class; write a name in quotes")
    return _text(int(label) if isinstance(label, float) else label).strip()


def _is_scalar(value: object) -> bool:
    return value is None or isinstance(value, str | int | float)


def _text(value: object) -> str:
    return "" if value is None else str(value)
