"""params.yaml section by section, for whoever needs one of them alone.

All sections together know every strategy and network, and so load PyTorch, which takes seconds.
"""

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import Field, ValidationError, create_model

from records.errors import WrongParameters
from records.record import Record
from records.renamed import modernise
from tasks.params.mistakes import sentence

Section = TypeVar("Section", bound=Record)


class RegisterParams(Record):
    """Section `register` of params.yaml."""

    model: str = Field(default="retain", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")
    """Name of the registered model: letters, digits, and `-`, `_`, `.` between them."""
    reload_images: int = Field(default=2000, ge=1)
    """Test images that the logged model must answer as it did when it was judged, or all if there are fewer."""


def read_section(path: Path, name: str, kind: type[Section]) -> Section:
    """One section of params.yaml; the others are not looked at. Raises `WrongParameters` as `read_params` does."""
    content = {name: load_sections(path).get(name, {})}
    model = create_model(name, __base__=Record, section=(kind, Field(default=kind(), alias=name)))
    try:
        section: Section = dict(model.model_validate(content))["section"]
    except ValidationError as error:
        raise WrongParameters(f"{path}: {sentence(error, content, model)}") from None
    return section


def load_sections(path: Path) -> dict[str, Any]:
    """Section to what it holds, under present names. Raises `WrongParameters` if there is no file of YAML sections."""
    return _load(path)[0]


def renamed_in(path: Path) -> list[tuple[str, str]]:
    """Parameters of the file that have another name now: the old one and the new one."""
    return _load(path)[1]


class _Loader(yaml.SafeLoader):
    """YAML of which no mapping has a key twice; else the last one would count, and the others be forgotten."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Raises `yaml.YAMLError` for a key that stands twice."""
        lines: dict[object, int] = {}
        for key, _ in node.value:
            name, line = key.value, key.start_mark.line + 1
            if lines.setdefault(str(name), line) != line:
                raise yaml.YAMLError(
                    f"`{name}` stands in line {lines[str(name)]} and again in line {line}; put it together"
                )
        return super().construct_mapping(node, deep)


def _load(path: Path) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except FileNotFoundError:
        raise WrongParameters(f"{path} is missing.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise WrongParameters(f"{path} is not readable as YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict | None):
        raise WrongParameters(f"{path} must hold sections (ingest, validate, ...), not a {type(content).__name__}.")
    # A section whose every line is a comment.
    sections = {name: {} if section is None else section for name, section in (content or {}).items()}
    try:
        return sections, modernise(sections)
    except WrongParameters as error:
        raise WrongParameters(f"{path}: {error}") from None
