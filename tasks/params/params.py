"""params.yaml: everything that can change a verdict, one section a step, typed, unknown keys refused."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field, ValidationError, model_validator

from adapters.datastore import DataStore
from adapters.drivers import require_remote
from models.catalogue import GateChoice
from models.gates.base import Gate
from models.gates.paired_bootstrap import PairedBootstrap
from models.gates.paired_score import PairedScore
from models.learner import DESCRIPTION, Description
from models.networks.torchvision import known_models
from models.networks.torchvision_segmentation import segmentation_models
from records.errors import RetainError, WrongParameters
from records.record import Record
from records.renamed import modernise
from tasks.evaluate.settings import EvaluateParams
from tasks.ingest.settings import IngestParams
from tasks.params.mistakes import sentence
from tasks.params.sections import RegisterParams, load_sections
from tasks.update.settings import UpdateParams, problem_in
from tasks.validate import catalogue
from tasks.validate.settings import ValidateParams
from tasks.workspace.versions import start_of, version_folder
from tasks.workspace.workspace import Workspace


class Params(Record):
    """The whole file. A section or value that is left out has the default that its class states."""

    model_config = ConfigDict(populate_by_name=True)

    ingest: IngestParams = IngestParams()
    validation: ValidateParams = Field(default=ValidateParams(), alias="validate")
    update: UpdateParams = UpdateParams()
    evaluate: EvaluateParams = EvaluateParams()
    judge: GateChoice = PairedScore()
    register_: RegisterParams = Field(default=RegisterParams(), alias="register")

    @model_validator(mode="before")
    @classmethod
    def _a_gate_for_the_problem(cls, given: Any) -> Any:
        """A section `judge` that names no gate has one that can judge the problem."""
        if not isinstance(given, Mapping):
            return given
        update, judge = given.get("update", {}), given.get("judge", {})
        if isinstance(judge, Gate) or not isinstance(judge, Mapping) or "name" in judge:
            return given
        section = update if isinstance(update, Mapping) else {}
        problem = update.problem if isinstance(update, UpdateParams) else problem_in(section)
        gate = PairedScore if problem.counted else PairedBootstrap
        return {**given, "judge": {"name": gate.model_fields["name"].default, **judge}}

    @model_validator(mode="after")
    def _checks_are_known(self) -> "Params":
        if problem := catalogue.problem_with(self.validation.severity):
            raise ValueError(f"validate.severity: {problem}")
        return self

    @model_validator(mode="after")
    def _the_gate_takes_the_problem(self) -> "Params":
        problem = self.update.problem
        if self.judge.counts_only and not problem.counted:
            raise ValueError(
                f"`judge.name: {self.judge.name}` makes no sense with the problem {problem.name}: it counts right and "
                "wrong answers, and the score of this problem is made of sums; write `paired_bootstrap`"
            )
        return self

    def flat(self) -> dict[str, str]:
        """Dotted name to value as text, for records and comparison."""
        return dict(_flatten(self.model_dump(mode="json", by_alias=True), ""))

    def distinguishing(self) -> dict[str, str]:
        """What tells one night from another: as `flat`, but of what is as by default only what is always asked for."""
        given = self.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        flat, defaults = self.flat(), Params().flat()
        chosen = {name for name, value in flat.items() if name.endswith(".name") and value != defaults.get(name)}
        shown = {name for name, _ in _flatten(given, "")} | chosen | set(ALWAYS)
        return {name: value for name, value in flat.items() if name in shown}


ALWAYS = ("update.strategy.name", "update.network.name", "update.memory.size", "update.budget.epochs")

TRACKED = ("validate", "update", "evaluate", "judge")
"""Sections that dvc.yaml names; DVC refuses to record a stage whose section is not there."""


def read_params(path: Path, overrides: Mapping[str, object] | None = None) -> Params:
    """Read and check params.yaml. `overrides` replace values by dotted name, for this reading alone.

    Raises `WrongParameters` with the file, the place, what is wrong there and what would be right.
    """
    content = load_sections(path)
    missing = [section for section in TRACKED if section not in content]
    if missing:
        raise WrongParameters(
            f"{path}: the section `{missing[0]}` is missing. DVC names it: write at least `{missing[0]}: {{}}`."
        )
    for name, value in (overrides or {}).items():
        _replace(content, name.split("."), value)
        modernise(content, old_wins=True)
    content = {section: {} if value is None else value for section, value in content.items()}
    try:
        params = Params.model_validate(content)
        params.update.network.check(params.update.image.size)
    except ValidationError as error:
        raise WrongParameters(f"{path}: {sentence(error, content, Params, _torchvisions_models)}") from None
    except WrongParameters as error:
        raise WrongParameters(f"{path}: {error}") from None
    return params


def _torchvisions_models() -> dict[str, str]:
    """Each with the network whose `model` it is."""
    return {
        **dict.fromkeys(known_models(), "torchvision"),
        **dict.fromkeys(segmentation_models(), "torchvision_segmentation"),
    }


def _replace(content: dict[str, Any], place: list[str], value: object) -> None:
    *sections, key = place
    for depth, section in enumerate(sections):
        if not isinstance(content.get(section, {}), dict):
            return  # The check that follows reports it.
        # Another choice has other fields: what was set for the one it replaces does not carry over.
        inner = content.get(section) or {}
        if not isinstance(inner, dict):
            raise WrongParameters(f"`{section}` must be a section with keys of its own (given: {inner!r}).")
        if key == "name" and depth == len(sections) - 1 and inner.get("name") != value:
            inner = {}
        content[section] = inner
        content = inner
    content[key] = value


def _flatten(value: Any, name: str) -> list[tuple[str, str]]:
    if isinstance(value, dict):
        return [pair for key, inner in value.items() for pair in _flatten(inner, f"{name}.{key}" if name else key)]
    return [(name, ",".join(map(str, value)) if isinstance(value, list) else str(value))]


def params_of(workspace: Workspace) -> Params:
    """params.yaml with the overrides of the present run."""
    return read_params(workspace.params, workspace.run_file().overrides)


def check_start(workspace: Workspace, overrides: Mapping[str, object] | None = None) -> Params:
    """params.yaml as the next night will use it. Raises `WrongParameters` for what that night would come to nothing by,
    and `WrongInput` for a remote that cannot be used here, before anything is taken or trained."""
    params = read_params(workspace.params, overrides)
    require_remote(DataStore(workspace.root).remote())
    strategy, network = params.update.strategy, params.update.network
    trains_chance = not strategy.descends and network.begins_as_chance
    # The registry is asked only if it matters: no night may have learned here yet.
    if not trains_chance and not workspace.run_file().batches:
        return params
    try:
        parent = start_of(workspace)
        folder = version_folder(workspace, parent)
        taught = None if folder is None else Description.read(folder / "snapshot" / DESCRIPTION).recipe
    except RetainError:
        # One that does not answer must not keep a delivery from being taken. The night asks again before it learns.
        return params
    if taught is not None:
        params.update.check_parent(taught)
    elif trains_chance:
        raise WrongParameters(
            f"`update.strategy.name` is `{strategy.name}`, which trains no layer but the last, and there is no version "
            f"yet whose `{network.name}` has learned something: choose the network `patches`, or `torchvision` with "
            "`weights`, or let another strategy learn the first night."
        )
    return params


def keep_params(workspace: Workspace) -> None:
    """Commit params.yaml if somebody has edited it: what is learned by it names this commit, or a later one."""
    read_params(workspace.params)  # Nothing is committed that cannot be used.
    DataStore(workspace.root).commit_files([workspace.params], "Learn by other parameters")
