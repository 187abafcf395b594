"""Section `update` of params.yaml."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, get_args

import yaml
from pydantic import Field, model_validator

from models.augmentation import Augmentation
from models.budget import Budget
from models.catalogue import CorrectionChoice, NetworkRecipe, ProblemChoice, StrategyChoice
from models.compute import Precision
from models.memory import Share
from models.minibatches import Imbalance
from models.networks.base import Recipe
from models.networks.cnn import CNN
from models.optimiser import Optimiser
from models.problems.base import Problem
from models.problems.classification import Classification
from models.strategies.replay_distillation import ReplayDistillation
from models.training import Plan
from records.errors import WrongParameters
from records.record import Record

PROBLEMS: tuple[type[Problem], ...] = get_args(get_args(ProblemChoice)[0])
NETWORKS: tuple[type[Recipe], ...] = get_args(get_args(NetworkRecipe)[0])


class ImageParams(Record):
    """What the network sees. Decided once, when the first experiences are learned."""

    size: int | None = Field(default=None, ge=4, le=1024)
    """Side in pixels; null takes the most frequent size of the first images, or 64 if they are larger."""
    channels: Literal[1, 3] | None = None
    """Null takes 3 if any of the first images has colour, else 1."""


class MemoryParams(Record):
    """What is remembered of the past."""

    size: Annotated[int, Field(ge=0)] | Literal["all"] = 2000
    """Images over all classes together, shared evenly; `all` replays from the whole archive instead."""
    share: Share = "balanced"
    """`balanced` shares the places evenly by the classes, `proportional` keeps them as they occur."""
    seed: int = 0
    """Another seed remembers another sample; what is remembered already keeps its rank."""

    @property
    def bound(self) -> int:
        """Images kept; none if the whole archive is replayed anyway."""
        return 0 if self.size == "all" else self.size


class UpdateParams(Record):
    """Section `update` of params.yaml."""

    seed: int = 0
    problem: ProblemChoice = Classification()
    image: ImageParams = ImageParams()
    network: NetworkRecipe = CNN()
    """Decided on the first night. Afterwards only a strategy that starts over, `joint`, can take another one."""
    strategy: StrategyChoice = ReplayDistillation()
    memory: MemoryParams = MemoryParams()
    budget: Budget = Budget()
    optimiser: Optimiser = Optimiser()
    augmentation: Augmentation = Augmentation()
    imbalance: Imbalance = "prior"
    prior_exponent: float = Field(default=0.0, ge=0, le=1)
    """With `imbalance: prior`: how much more the loss favours a class of which only few different images are left, as
    a power of their number. A few images seen again and again are learned by heart, and their class is answered too
    seldom for others (after Cao et al., 2019, "LDAM", arXiv:1906.07413). No matter if the whole archive is replayed."""
    correction: CorrectionChoice | None = None
    precision: Precision = "auto"
    """`auto` is bfloat16 on a GPU (activations; weights stay float32) and float32 on a CPU."""

    @model_validator(mode="before")
    @classmethod
    def _as_the_problem_has_it(cls, given: Any) -> Any:
        """Some defaults are the problem's own; a problem that does not exist is complained of later."""
        return {**problem_in(given).defaults, **given} if isinstance(given, Mapping) else given

    @model_validator(mode="after")
    def _what_the_problem_goes_with(self) -> Self:
        problem = f"the problem {self.problem.name}"
        if self.network.dense != self.problem.dense:
            answered = "every pixel" if self.problem.dense else "whole images"
            fitting = ", ".join(
                kind.model_fields["name"].default for kind in NETWORKS if kind.dense == self.problem.dense
            )
            raise ValueError(
                f"`network.name: {self.network.name}` makes no sense with {problem}, which asks {answered}; these do: "
                f"{fitting}"
            )
        if self.problem.dense and self.strategy.per_image:
            raise ValueError(
                f"the strategy {self.strategy.name} needs one answer an image, and {problem} asks every pixel; did you "
                f"mean the strategy `{ReplayDistillation().name}`?"
            )
        if self.problem.dense and self.correction is not None:
            raise ValueError(f"`correction` makes no sense with {problem}, which asks every pixel")
        if self.problem.dense and self.augmentation.mixup_alpha:
            raise ValueError(f"`augmentation.mixup_alpha` makes no sense with {problem}: masks cannot be blended")
        if not self.problem.prior and self.imbalance != "none":
            raise ValueError(
                f"`imbalance: {self.imbalance}` makes no sense with {problem}; write `none`, or leave it out"
            )
        return self

    @model_validator(mode="after")
    def _what_goes_together(self) -> Self:
        if self.augmentation.mixup_alpha and not self.strategy.blends:
            raise ValueError(f"`augmentation.mixup_alpha` makes no sense with the strategy {self.strategy.name}")
        if self.correction is not None and not self.strategy.corrected:
            raise ValueError(f"`correction` makes no sense with the strategy {self.strategy.name}")
        if self.correction is not None and self.correction.needs_memory and self.memory.size == 0:
            raise ValueError(
                f"`memory.size: 0` makes no sense with the correction {self.correction.name}: it is fitted on "
                "remembered images"
            )
        if self.memory.size == 0 and self.strategy.without_memory:
            raise ValueError(
                f"`memory.size: 0` makes no sense with the strategy {self.strategy.name}, which replays what is "
                f"remembered; did you mean the strategy `{self.strategy.without_memory}`?"
            )
        if self.memory.size == "all" and self.strategy.remembers_outputs:
            raise ValueError(
                f"`memory.size: all` makes no sense with the strategy {self.strategy.name}: no answers are stored"
            )
        if self.prior_exponent and self.imbalance != "prior":
            raise ValueError("`prior_exponent` is part of `imbalance: prior`")
        return self

    def check_parent(self, taught: NetworkRecipe) -> None:
        """Raise `WrongParameters` if a night on top of a version with the network `taught` cannot ask this problem, or
        take this network."""
        if self.problem.dense != taught.dense:
            learned, needed = ("with", "none") if taught.dense else ("without", "them")
            raise WrongParameters(
                f"The experiences of this workspace were learned {learned} masks, and `update.problem` is "
                f"`{self.problem.name}`, which needs {needed}: restore `update.problem`, or make another workspace "
                "(`retain init`)."
            )
        if self.network != taught and not self.strategy.starts_over:
            raise WrongParameters(
                f"`update.network` is {_written(self.network)}, but the champion's is {_written(taught)}, and a "
                "network cannot be exchanged: restore it, or run one night with the strategy `joint`, which starts "
                "over (`retain night --strategy joint`)."
            )

    @property
    def plan(self) -> Plan:
        """How to train, whatever the strategy."""
        return Plan(
            budget=self.budget,
            optimiser=self.optimiser,
            augmentation=self.augmentation,
            imbalance=self.imbalance,
            prior_exponent=self.prior_exponent,
        )


def problem_in(given: Mapping[str, Any]) -> type[Problem]:
    """The kind of problem that a section `update` names before it is checked; classification if it names none."""
    problem = given.get("problem")
    name = problem.get("name") if isinstance(problem, Mapping) else getattr(problem, "name", None)
    return next((kind for kind in PROBLEMS if kind.model_fields["name"].default == name), Classification)


def _written(network: NetworkRecipe) -> str:
    """A network as it may stand in params.yaml, without what is as by default."""
    chosen = {"name": network.name} | network.model_dump(mode="json", exclude_defaults=True)
    text: str = yaml.safe_dump(chosen, default_flow_style=True, sort_keys=False, width=1000)
    return f"`{text.strip()}`"
