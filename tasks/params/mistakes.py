"""What is wrong with params.yaml, in a sentence: where, what was given, and what was meant by it."""

import difflib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


def sentence(
    error: ValidationError, content: dict[str, Any], model: type[BaseModel], models: Callable[[], dict[str, str]] = dict
) -> str:
    """What is wrong first with `content`, which was read as `model`, and what would be right.

    `models`: further names that somebody may mean by `update.network.name`, and the network whose `model` each is.
    """
    problem = error.errors()[0]
    where = _place(problem, content)
    if problem["type"] == "extra_forbidden":
        known = _known_keys(problem["loc"][:-1], content, model)
        close = difflib.get_close_matches(str(problem["loc"][-1]), known, n=1)
        hint = f"did you mean `{close[0]}`?" if close else f"known here: {', '.join(known)}."
        return f"`{where}` is not a parameter; {hint}"
    if problem["type"] == "union_tag_invalid":
        context = problem["ctx"]
        known_names = str(context["expected_tags"]).replace("'", "")
        names = known_names.split(", ")
        further = models() if where == "update.network" else {}
        close = difflib.get_close_matches(str(context["tag"]), [*names, *further], n=1)
        meant = [f"`{name}`" if name in names else f"`{further[name]}` with `model: {name}`" for name in close]
        hint = f"did you mean {meant[0]}? Known" if meant else "known"
        return f"`{where}.name` is `{context['tag']}`, which is not known; {hint}: {known_names}."
    if problem["type"] == "union_tag_not_found":
        return f"`{where}` must have a `name`, which chooses."
    if problem["type"] == "value_error":  # A section as a whole: to print it would bury what is said of it.
        message = str(problem["ctx"]["error"])
        whole = f"`{where}`: {message}" if where else message  # What sections have to do with each other has no place.
        return whole if message.endswith("?") else f"{whole}."
    given = "" if problem["type"] == "missing" else f" (given: {problem['input']!r})"
    wishes = dict.fromkeys(p["msg"] for p in error.errors() if _place(p, content) == where)
    messages = " or ".join(wish[0].lower() + wish[1:] for wish in wishes)
    return f"`{where}`: {messages}{given}."


def _place(problem: "ErrorDetails", content: Any) -> str:
    """Where it stands in the file, dotted. Pydantic also names the branches of a choice, which do not stand there."""
    place = []
    for part in problem["loc"]:
        inside = isinstance(content, dict) and part in content
        if inside or isinstance(part, int):
            content = content[part]
        if inside or isinstance(part, int) or (problem["type"] == "missing" and part == problem["loc"][-1]):
            place.append(str(part))
    return ".".join(place)


def _known_keys(place: tuple[int | str, ...], given: dict[str, Any], model: type[BaseModel]) -> list[str]:
    """The keys of a section, with the choice (`name`) that it makes: another strategy has other ones."""
    chosen: dict[str, Any] = {}
    section = chosen
    for part in place:
        given = given.get(str(part), {}) if isinstance(given, dict) else {}
        if isinstance(given, dict) and given:
            section[str(part)] = {"name": given["name"]} if "name" in given else {}
            section = section[str(part)]
    try:
        content: Any = model.model_validate(chosen).model_dump(mode="json", by_alias=True)
    except ValidationError:
        content = model().model_dump(mode="json", by_alias=True)
    for part in place:
        content = content.get(part, content) if isinstance(content, dict) else {}
    return sorted(content) if isinstance(content, dict) else []
