"""What indices and colours in the masks of a delivery mean: `classes.txt` or `classes.json`, and `labelled_for.txt`.

- `classes.txt`: a name a line, the first for index 0.
- `classes.json`: a list of names, the first for index 0; an object of names with an index or a colour ("#ff0080" or
  [255, 0, 128]) each; a list of objects with `name` and `id`, `color` or both; or an object that has any of these under
  the key `classes`.
- `labelled_for.txt`, or the key `labelled_for` in `classes.json`: names of the classes that were looked for, if not all
  of them were. An object has lost one if nobody looked for its class: there it is background only by the look of it.

The class called `background`, `_background_`, `__background__` or `bg`, in whatever letters, is the background; if no
name has index 0, that is the background, and so is black if colours are given and no name has it. Index 255 is what
nobody knows, whatever it is called, and so is the colour that a class with the `id` 255 has.
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from dataset.deliveries.handles import Tree
from dataset.deliveries.items import Container, label_of, label_problem, printable
from dataset.deliveries.samples import CLASSES, SIDE_BYTES
from dataset.deliveries.tars import stretch
from dataset.masks import MOST_CLASSES, in_canonical_order, looked_for
from records.batch import BACKGROUND, IGNORED
from records.errors import UnreadableBatch

CLASSES_JSON, LABELLED_FOR = "classes.json", "labelled_for.txt"
NAMING = (CLASSES, CLASSES_JSON, LABELLED_FOR)
"""Files that say what is meant in other files of a delivery."""
BACKGROUNDS = ("background", "_background_", "__background__", "bg")
"""What the background is called, in small letters."""
COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
ANY_OF = "a list of names, an object of names with an index or a colour each, or a list of objects with name and id"


class Entry(NamedTuple):
    """What is said of one class."""

    name: str
    number: int | None = None
    """Its index in the masks."""
    colour: int | None = None
    """Red, green and blue as one number, 0xrrggbb."""


@dataclass(frozen=True)
class Legend:
    """What indices and colours mean, as values of the batch: its `classes` by place, 255 for what nobody knows."""

    shown: str
    """What it is called."""
    classes: tuple[str, ...]
    indices: dict[int, int] = field(default_factory=dict)
    """Empty if a class has no index: then colours are all that counts."""
    colours: dict[int, int] = field(default_factory=dict)
    labelled_for: str = ""
    """As in `MaskFacts`."""


def legend_in(tree: Tree, usual: Sequence[str] = ()) -> tuple[Legend, list[Container]]:
    """The legend of a delivery, and the files that it stands in; `usual`: names from index 0 on, if it has no list.

    Raises `UnreadableBatch`, or `OSError`.
    """
    holds = [name for name in (CLASSES, CLASSES_JSON) if tree.holds(name)]
    where = printable(str(tree.path))
    if len(holds) > 1:
        raise UnreadableBatch(f"{where} holds two lists of classes, {' and '.join(holds)}. Take one of them away.")
    entries, names, containers = [Entry(name, number) for number, name in enumerate(usual)], None, []
    shown = where
    if holds:
        content, container = _content(tree, holds[0])
        shown, containers = f"{where}/{holds[0]}", [container]
        entries, names = _of_lines(content, shown) if holds[0] == CLASSES else _of_json(content, shown)
    legend = legend_of(entries, shown)
    if tree.holds(LABELLED_FOR) and names is not None:
        raise UnreadableBatch(f"{shown} and {LABELLED_FOR} both say what was looked for. Keep one of them.")
    legend, more = looked_for_in(tree, legend)
    if names is not None:
        legend = _labelled_for(legend, names, shown)
    return legend, [*containers, *more]


def looked_for_in(tree: Tree, legend: Legend) -> tuple[Legend, list[Container]]:
    """The legend with what `labelled_for.txt` says, and that file; as it is if there is none.

    Raises `UnreadableBatch`, or `OSError`.
    """
    if not tree.holds(LABELLED_FOR):
        return legend, []
    shown = f"{printable(str(tree.path))}/{LABELLED_FOR}"
    content, container = _content(tree, LABELLED_FOR)
    names = [entry.name for entry in _of_lines(content, shown)[0]]
    return _labelled_for(legend, names, shown), [container]


def legend_of(entries: Sequence[Entry], shown: str) -> Legend:
    """The legend that follows from what is said of each class. Raises `UnreadableBatch`."""
    entries = [entry._replace(name=_class_name(entry.name, shown)) for entry in entries]
    _refuse_twice((entry.name for entry in entries), shown, "names '{}' twice. Give each class one name")
    _refuse_twice(
        (e.number for e in entries), shown, "gives two names to index {}. Give each class an index of its own"
    )
    _refuse_twice(
        (None if e.colour is None else f"#{e.colour:06x}" for e in entries),
        shown,
        "gives two names to colour {}. Give each class a colour of its own",
    )
    classes = in_canonical_order([entry.name for entry in entries if entry.number != IGNORED])
    if len(classes) == 1:
        raise UnreadableBatch(f"{shown} names no class beside the background. Write the classes that are in the masks.")
    if len(classes) - 1 > MOST_CLASSES:
        raise UnreadableBatch(
            f"{shown} names {len(classes) - 1} classes beside the background; a mask can tell {MOST_CLASSES} apart. "
            "Leave out or join some, or make several deliveries of it."
        )
    value = {name: place for place, name in enumerate(classes)}
    means = {entry: IGNORED if entry.number == IGNORED else value[entry.name] for entry in entries}
    # No name for 0 and for black: it is what lies behind everything.
    indices = {0: 0} | {entry.number: means[entry] for entry in entries if entry.number is not None}
    colours = {0: 0} | {entry.colour: means[entry] for entry in entries if entry.colour is not None}
    return Legend(
        shown=shown,
        classes=classes,
        indices=indices | {IGNORED: IGNORED} if any(e.number not in (None, IGNORED) for e in entries) else {},
        colours=colours if any(entry.colour is not None for entry in entries) else {},
    )


def class_name(name: str) -> str:
    """The class that a name in a delivery means."""
    return BACKGROUND if name.casefold() in BACKGROUNDS else label_of(name)


def _class_name(name: str, shown: str) -> str:
    found = class_name(printable(name))
    problem, detail = label_problem(found)
    if problem:
        raise UnreadableBatch(f"{shown} has a class called '{printable(name)[:80]}', which can be none: {detail}.")
    return found


def _refuse_twice(values: Iterable[object], shown: str, sentence: str) -> None:
    seen = set()
    for value in values:
        if value is not None and value in seen:
            raise UnreadableBatch(f"{shown} {sentence.format(value)}.")
        seen.add(value)


def _labelled_for(legend: Legend, names: Sequence[str], shown: str) -> Legend:
    wanted = [_class_name(name, shown) for name in names]
    unknown = next((name for name in wanted if name not in legend.classes), None)
    if unknown is not None:
        raise UnreadableBatch(f"{shown} says that '{unknown}' was looked for, and {legend.shown} has no such class.")
    return replace(legend, labelled_for=looked_for(wanted, legend.classes))


# Files


def _content(tree: Tree, name: str) -> tuple[str, Container]:
    shown = f"{printable(str(tree.path))}/{name}"
    with tree.reading(name) as file:
        content = stretch(file.fileno(), 0, SIDE_BYTES + 1)
        container = Container.of(file, name)
    if len(content) > SIDE_BYTES:
        raise UnreadableBatch(f"{shown} has more than the {SIDE_BYTES:,} bytes that are read. A name a line is enough.")
    try:
        return content.decode("utf-8-sig"), container
    except UnicodeDecodeError as error:
        raise UnreadableBatch(f"{shown} is not in UTF-8 (byte {error.start}). Save it as UTF-8.") from None


def _of_lines(content: str, shown: str) -> tuple[list[Entry], None]:
    names = [line.strip() for line in content.rstrip().split("\n")]
    if "" in names:
        raise UnreadableBatch(
            f"Line {names.index('') + 1} of {shown} is empty. Write the name of a class on each line."
        )
    return [Entry(name, index) for index, name in enumerate(names)], None


def _of_json(content: str, shown: str) -> tuple[list[Entry], list[str] | None]:
    """The classes, and the names of those that were looked for if that is said."""
    found = parsed(content, shown)
    names = None
    if isinstance(found, dict) and _is_names(found.get("labelled_for")):
        names = found.pop("labelled_for")
    if isinstance(found, dict) and set(found) == {"classes"}:
        found = found["classes"]
    return _entries(found, shown), names


def parsed(content: str, shown: str) -> Any:
    """What a JSON text says. Raises `UnreadableBatch`, also for keys that an object has twice."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        _refuse_twice((key for key, _ in pairs), shown, "has two keys '{}' in one object. Keep one of them")
        return dict(pairs)

    try:
        return json.loads(content, object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise UnreadableBatch(f"{shown} is no readable JSON file: {reason}.") from None


def _is_names(found: object) -> bool:
    return isinstance(found, list) and all(isinstance(name, str) for name in found)


def _entries(found: Any, shown: str) -> list[Entry]:
    if isinstance(found, list) and _is_names(found):
        return [Entry(name, index if index <= IGNORED else None) for index, name in enumerate(found)]
    if isinstance(found, list) and all(isinstance(one, dict) and isinstance(one.get("name"), str) for one in found):
        return [_of_object(one, shown) for one in found]
    if isinstance(found, dict):
        return [_of_pair(name, value, shown) for name, value in found.items()]
    raise UnreadableBatch(f"{shown} says of no class what it looks like. Write {ANY_OF}.")


def _of_object(one: dict[str, Any], shown: str) -> Entry:
    if one.get("id") is None and one.get("color") is None:
        raise UnreadableBatch(f"{shown} gives '{one['name']}' neither an id nor a color. Write one of them.")
    index = None if one.get("id") is None else _index(one["name"], one["id"], shown)
    return Entry(one["name"], index, None if one.get("color") is None else _colour(one["name"], one["color"], shown))


def _of_pair(name: str, value: object, shown: str) -> Entry:
    if isinstance(value, int):
        return Entry(name, _index(name, value, shown))
    return Entry(name, colour=_colour(name, value, shown))


def _index(name: str, value: object, shown: str) -> int:
    if type(value) is int and 0 <= value <= IGNORED:
        return value
    raise UnreadableBatch(f"{shown} gives '{name}' the index {str(value)[:40]}; an index is a whole number, 0 to 254.")


def _colour(name: str, value: object, shown: str) -> int:
    if isinstance(value, str) and COLOUR.fullmatch(value):
        return int(value[1:], 16)
    if isinstance(value, list) and len(value) == 3 and all(type(level) is int and 0 <= level <= 255 for level in value):
        return int.from_bytes(bytes(value), "big")
    raise UnreadableBatch(
        f"{shown} gives '{name}' {str(value)[:40]!r}, which is neither an index nor a colour such as #ff0080."
    )
