"""The reference pages of the site, made from the code, so that they cannot say anything else.

Command line: from the parser. Parameters: from the typed sections of params.yaml. Metrics: from what computes them.
"""

import inspect
import re
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer.main
from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from adapters import metric_names
from flows.cli.main import app
from records.measures import Measures
from records.scores import ScoreMatrix
from tasks.params.params import Params

PLAIN = {int: "whole number", float: "number", str: "text", bool: "`true` or `false`"}
SIGNS = {Ge: ("ge", "≥"), Gt: ("gt", ">"), Le: ("le", "≤"), Lt: ("lt", "<")}


def command_line() -> str:
    """The page of every command."""
    parts = ["# Command line\n"]
    for name, command in _commands("retain", typer.main.get_command(app)):
        parts.append(f"\n## {name}\n\n{_as_markdown(command.help or '')}")
        if rows := [_option(parameter) for parameter in command.params]:
            parts.append(_table(("argument or option", "meaning"), rows))
    return "\n".join(parts)


def _commands(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    yield name, command
    for part, inner in getattr(command, "commands", {}).items():
        yield from _commands(f"{name} {part}", inner)


def _as_markdown(help_text: str) -> str:
    """A command's help: paragraphs stay, whatever is set out in columns or indented becomes a block of code."""
    parts = []
    for paragraph in help_text.split("\n\n"):
        head, *rest = paragraph.splitlines()
        if head == "Examples:":
            parts.append("```\n" + "\n".join(line.strip() for line in rest) + "\n```\n")
        elif any("  " in line.strip() or line.startswith("  ") for line in (head, *rest)):
            parts.append("```text\n" + paragraph + "\n```\n")
        else:
            parts.append(paragraph + "\n")
    return "\n".join(parts)


def _option(parameter: Any) -> tuple[str, str]:
    sentences = [getattr(parameter, "help", None) or ""]
    if parameter.param_type_name == "argument":
        return f"`{parameter.metavar or parameter.name.upper()}`", sentences[0]
    names = ", ".join(f"`{name}`" for name in parameter.opts)
    if (metavar := (parameter.metavar or "").strip().replace("|", " or ")) and not parameter.is_flag:
        names += f" `{metavar}`"
    if parameter.default not in (None, False, "") and not parameter.is_flag:
        sentences.append(f"Default: `{getattr(parameter.default, 'value', parameter.default)}`.")
    if parameter.envvar:
        sentences.append(f"From the environment: `{parameter.envvar}`.")
    return names, " ".join(sentences)


def parameters() -> str:
    """The page of everything that params.yaml may hold."""
    parts = [
        "# Parameters\n\nEverything that can change a verdict is in a workspace's `params.yaml`, one section a step. "
        "What is left out has its default; an unknown key is refused. `retain params` prints the values that the next "
        "night will use.\n\nA parameter that is a *choice* is set by its `name`; the fields beside the name belong to "
        "that choice alone, for example `strategy: {name: lwf, temperature: 2}`.\n"
    ]
    for name, field in Params.model_fields.items():
        section = field.alias or name
        parts.append(f"\n## {section}\n")
        if (kind := _record(field.annotation)) is not None:
            parts.append(_section(kind, section, field.default))
        else:
            parts.append(f"A choice; the default is `{field.default.name}`.\n")
            parts.extend(_choices(section, field.annotation))
    return "\n".join(parts)


def _section(kind: type[BaseModel], place: str, default: Any) -> str:
    rows, later = [], []
    for name, field in kind.model_fields.items():
        dotted, value = f"{place}.{field.alias or name}", _default(field, getattr(default, name, PydanticUndefined))
        description = " ".join((field.description or "").split())
        if (inner := _record(field.annotation)) is not None and len(inner.model_fields) > 1:
            later.append(f"\n### {dotted}\n\n{description}\n\n{_section(inner, dotted, getattr(default, name, None))}")
        elif choices := _choices(dotted, field.annotation):
            rows.append((f"`{dotted}`", value, f"A choice, see below. {description}"))
            later.extend(choices)
        else:
            rows.append((f"`{dotted}`", value, f"{description} *{_allowed(field)}*".strip()))
    return _table(("parameter", "default", "meaning"), rows) + "\n".join(later)


def _choices(place: str, annotation: Any) -> list[str]:
    """A part of the page for each record that a choice may be; none if it is no choice."""
    found = [kind for kind in _members(annotation) if inspect.isclass(kind) and issubclass(kind, BaseModel)]
    return [_choice(place, kind) for kind in found] if len(found) > 1 else []


def _choice(place: str, kind: type[BaseModel]) -> str:
    heading = f"\n#### {place}: {kind.model_fields['name'].default}\n\n{inspect.getdoc(kind) or ''}\n"
    rows = [
        (f"`{name}`", _default(field), f"{' '.join((field.description or '').split())} *{_allowed(field)}*".strip())
        for name, field in kind.model_fields.items()
        if name != "name"
    ]
    return heading + ("\n" + _table(("field", "default", "meaning"), rows) if rows else "")


def _record(annotation: Any) -> type[BaseModel] | None:
    members = [kind for kind in _members(annotation) if kind is not type(None)]
    one = members[0] if len(members) == 1 else None
    return one if inspect.isclass(one) and issubclass(one, BaseModel) else None


def _members(annotation: Any) -> tuple[Any, ...]:
    """What a union is made of, without what is annotated to it."""
    if get_origin(annotation) is Annotated:
        return _members(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return tuple(kind for part in get_args(annotation) for kind in _members(part))
    return (annotation,)


def _default(field: FieldInfo, given: Any = PydanticUndefined) -> str:
    value = field.get_default(call_default_factory=True) if given is PydanticUndefined else given
    if value is PydanticUndefined:
        return "must be given"
    if isinstance(value, BaseModel):
        return f"`{getattr(value, 'name', '')}`"
    if isinstance(value, tuple | list):
        return ", ".join(f"`{part}`" for part in value) or "none"
    if isinstance(value, dict):
        return f"`{value}`" if value else "none"
    return "not set" if value is None else f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _allowed(field: FieldInfo) -> str:
    kinds: list[str] = []
    for kind in _members(field.annotation):
        if get_origin(kind) is Literal:
            kinds.extend(f"`{value}`" for value in get_args(kind))
        elif inspect.isclass(kind) and issubclass(kind, BaseModel):
            kinds.append(f"`{kind.model_fields['name'].default}`")
        elif kind is not type(None):
            kinds.append(PLAIN.get(kind, "a list" if get_origin(kind) in (tuple, list, frozenset) else "a mapping"))
    bounds = [
        f"{sign} {getattr(m, name)}" for m in field.metadata for kind, (name, sign) in SIGNS.items() if type(m) is kind
    ]
    return f"({' or '.join(dict.fromkeys(kinds))}{''.join(f', {bound}' for bound in bounds)})"


OF_THE_MATRIX = {
    "average_accuracy": ScoreMatrix.average,
    "average_forgetting": ScoreMatrix.forgetting_from_best,
    "forgetting_from_first": ScoreMatrix.forgetting_from_first,
    "forgetting_from_parent": ScoreMatrix.forgetting_from_parent,
    "backward_transfer": ScoreMatrix.backward_transfer,
    "forward_transfer": ScoreMatrix.forward_transfer,
    "learning_accuracy": ScoreMatrix.learning_accuracy,
    "taken_by_new_classes": ScoreMatrix.taken_by_new_classes,
}
OTHER_METRICS = {
    "class_accuracy/<class>": "Accuracy on the test images of one class, over all experiences (its recall).",
    "test_accuracy/<batch>": "Accuracy on the test images of one experience, with all classes to choose from.",
    "test_accuracy_among_known/<batch>": "The same with only the classes to choose from that were known then.",
    "bounds/<question>": "What the verdict says of the share that was `forgotten`, or `taken` by new classes, on "
    "average over the past. Beside it `/lower` and `/upper`, the confidence bounds, and `/limit`.",
    "forgotten/<subject>": "The same for one past experience, or a group of small ones.",
    "taken/<subject>": "The same.",
    "learned/<subject>": "The same for the score on what is new.",
    "images/new": "New training images of the night.",
    "seconds/<step>": "How long a step of the night took.",
    "cost/<name>": "`steps`, `trained_images`, `cpu_seconds`, `kept_bytes` (what the next night needs), "
    "`peak_memory_bytes`, `model_bytes` (what is stored for the version).",
    "loss/<part>": "Each part of the training loss, step by step.",
}
"""Patterns of metrics whose names hold a class, an experience or a step."""
OF_A_SEGMENTATION = {
    "average_miou": "Mean overall score of the candidate over all experiences, each counted once.",
    "learning_miou": "Mean over all experiences of the score right after each was learned.",
    "test_miou/<batch>": "Mean intersection over union on the test images of one experience, all classes competing.",
    "test_miou_among_known/<batch>": "The same with only the classes competing that were known then.",
    "class_iou/<class>": "Intersection over union of one class, over the test images of all experiences.",
    "iou_old": "Mean of these over the classes that were known before this night.",
    "iou_new": "Mean of these over the classes that are new with this night.",
    "pixel_accuracy": "Share of all pixels that are right, of those that count.",
    "mean_dice": "Mean over the classes of the Dice coefficient: twice the intersection, by the pixels of both.",
}
"""What a segmentation has in place of the metrics that are called after accuracy."""


def metrics() -> str:
    """The page of everything that a run in MLflow has as a number."""
    rows = [(f"`{name}`", _documented(method)) for name, method in OF_THE_MATRIX.items()]
    rows += [
        (f"`{metric_names.current(name)}`", " ".join((field.description or "").split()))
        for name, field in Measures.model_fields.items()
        if name not in ("per_class", "further")
    ]
    rows += _as_code(OTHER_METRICS)
    return (
        "# Metrics\n\nEvery judged night is a run in MLflow, whatever its verdict, with these metrics. Accuracies "
        "and forgetting are shares of images, 0 to 1. Of many experiences the first and the last have metrics of their "
        "own; all are in the run's `evaluation/scores.json`. `dvc metrics` compares a few of them, from "
        "`night/metrics.json`.\n\n" + _table(("metric", "meaning"), rows) + _of_a_segmentation()
    )


def _of_a_segmentation() -> str:
    return (
        "\n## Of a segmentation\n\nThe score is the mean intersection over union (mIoU): what is called after accuracy "
        "above is called after it, and what was forgotten is a difference of such scores.\n\n"
        + _table(("metric", "meaning"), list(_as_code(OF_A_SEGMENTATION)))
    )


def _as_code(meanings: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    return ((f"`{name}`", meaning) for name, meaning in meanings.items())


def _documented(documented: object) -> str:
    return " ".join((inspect.getdoc(documented) or "").split())


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """A table whose cells lie below each other on a narrow screen, see site.css."""
    if not rows:
        return ""
    lines = [head, ("---",) * len(head), *rows]
    body = "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
    return f'<div class="stacking" markdown>\n\n{body}\n\n</div>\n'


def _tidy(page: Callable[[], str]) -> Callable[[], str]:
    return lambda: re.sub(r"\n{3,}", "\n\n", page())


PAGES = {"cli.md": _tidy(command_line), "params.md": _tidy(parameters), "metrics.md": _tidy(metrics)}
"""File below `reference/` to what makes it."""
