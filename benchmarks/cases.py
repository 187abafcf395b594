"""What is compared: every case is a stream, and what learns it."""

from collections.abc import Mapping
from typing import Any

from records.record import Record

MLP = {"name": "mlp", "hidden": [400, 400]}
PATCHES = {"name": "patches"}
BLENDED: dict[str, Any] = {
    "network": {**MLP, "initialisation": "orthogonal"},
    "strategy": {"name": "replay_distillation", "memory_weight": 1.0, "new_weight": 1.0, "feature_weight": 1.0},
    "optimiser": {"name": "muon"},
    "prior_exponent": 0.05,
}
"""More learned of each image, and held fast: what does best at one pass over new classes."""
FEW = {"augmentation": {"mixup_alpha": 0.2, "translate": 0.036}}
MANY = {
    "augmentation": {"mixup_alpha": 0.3},
    "prior_exponent": 0.1,
    "strategy": {**BLENDED["strategy"], "new_weight": 0.5},
}


class Case(Record):
    """One line of a table: `update` is section `update` of params.yaml."""

    group: str
    """The table that it belongs to."""
    name: str
    """What the table calls it."""
    stream: str
    update: dict[str, Any]
    quick: bool = False
    """Whether `make bench-quick` has it as well."""
    bare: bool = False
    """Whether a bare loop doing the same runs beside it, in turn, in the same process."""


class AvalancheCase(Record):
    """The same for Avalanche. Rates were searched for each strategy, see docs/benchmarks.md."""

    group: str
    name: str
    strategy: str
    memory: int
    rate: float


def cases() -> list[Case]:
    """All of them."""
    return [*_memories(), *_without_memory(), *_archive(), *_closed_form(), *_rotated(), *_mixed(), *_digits()]


def _case(
    group: str, name: str, stream: str, update: Mapping[str, Any], quick: bool = False, bare: bool = False
) -> Case:
    return Case(group=group, name=name, stream=stream, update={"network": MLP, **update}, quick=quick, bare=bare)


def _memories() -> list[Case]:
    """Equal network, budget and memory."""
    named = ("er_ace", "icarl", "importance_weighted", "reptile", "replay_distillation")
    made = []
    for size in (500, 2000):
        group, stream, memory = f"memory-{size}", "fashion-classes", {"memory": {"size": size}}
        for name in ("replay", "dark_replay"):
            update = {**memory, "strategy": {"name": name}}
            made.append(_case(group, name, stream, update, size == 500, bare=True))
        chosen = named if size == 500 else ("er_ace", "replay_distillation")
        made += [_case(group, name, stream, {**memory, "strategy": {"name": name}}) for name in chosen]
        unbalanced = {**memory, "strategy": {"name": "replay"}, "imbalance": "none"}
        made.append(_case(group, "replay, without balanced softmax", stream, unbalanced))
        blended = {**memory, **BLENDED, **(FEW if size == 500 else MANY)}
        made.append(_case(group, "replay_distillation, Muon, blended images", stream, blended))
    return made


def _without_memory() -> list[Case]:
    names = ("finetune", "lwf", "ewc", "si")
    nothing = {"memory": {"size": 0}}
    return [
        _case("no-memory", n, "fashion-classes", {**nothing, "strategy": {"name": n}}, n == "finetune") for n in names
    ]


def _archive() -> list[Case]:
    stream = "fashion-classes"
    everything = {"memory": {"size": "all"}, "strategy": {"name": "replay"}}
    return [
        _case("archive", "replay, 64 + 64", stream, everything),
        _case("archive", "replay, 64 + 192", stream, {**everything, "budget": {"replay_batch_size": 192}}, True),
        _case(
            "archive",
            "full retrain, one epoch",
            stream,
            {"strategy": {"name": "joint"}, "budget": {"batch_size": 128}},
            True,
        ),
        _case(
            "archive",
            "full retrain, five epochs",
            stream,
            {"strategy": {"name": "joint"}, "budget": {"batch_size": 128, "epochs": 5}},
        ),
    ]


def _closed_form() -> list[Case]:
    stream, group = "fashion-classes", "closed-form"
    exact = {"strategy": {"name": "analytic"}, "memory": {"size": 0}}
    more = {**PATCHES, "filters": 200, "channels": 172}
    return [
        _case(group, "analytic, 80 filters", stream, {**exact, "network": PATCHES}, True),
        _case(
            group,
            "analytic, 80 filters, lda",
            stream,
            {**exact, "network": PATCHES, "strategy": {"name": "analytic", "head": "lda"}},
        ),
        _case(group, "analytic, 200 filters, 172 components", stream, {**exact, "network": more}),
    ]


def _rotated() -> list[Case]:
    stream, memory = "fashion-rotated", {"memory": {"size": 2000}}
    named = ("replay", "dark_replay", "replay_distillation")
    return [
        *(_case("rotated", name, stream, {**memory, "strategy": {"name": name}}) for name in named),
        _case(
            "rotated",
            "replay_distillation, patches and 400 hidden",
            stream,
            {**memory, "network": {**PATCHES, "hidden": [400]}},
        ),
        _case(
            "rotated",
            "analytic, 80 filters",
            stream,
            {"network": PATCHES, "strategy": {"name": "analytic"}, "memory": {"size": 0}},
        ),
        _case(
            "rotated",
            "replay of the whole archive, 64 + 192",
            stream,
            {"memory": {"size": "all"}, "strategy": {"name": "replay"}, "budget": {"replay_batch_size": 192}},
        ),
        _case(
            "rotated", "full retrain, one epoch", stream, {"strategy": {"name": "joint"}, "budget": {"batch_size": 128}}
        ),
    ]


def _mixed() -> list[Case]:
    stream = "fashion-mixed"
    return [
        _case(
            "mixed",
            "full retrain, five epochs",
            stream,
            {"strategy": {"name": "joint"}, "budget": {"batch_size": 128, "epochs": 5, "min_steps": 1}},
        ),
        _case(
            "mixed",
            "replay of the whole archive, 16 + 64, interpolation",
            stream,
            {
                "memory": {"size": "all"},
                "strategy": {"name": "replay"},
                "budget": {"batch_size": 16, "replay_batch_size": 64, "min_steps": 1},
                "optimiser": {"learning_rate": 1e-3},
                "correction": {"name": "interpolation", "parent_weight": 0.3},
            },
        ),
        _case("mixed", "replay_distillation, memory 2,000", stream, {"memory": {"size": 2000}}),
        _case(
            "mixed",
            "analytic, 80 filters, lda",
            stream,
            {"network": PATCHES, "strategy": {"name": "analytic", "head": "lda"}, "memory": {"size": 0}},
        ),
    ]


def _digits() -> list[Case]:
    memory = {"memory": {"size": 500}}
    named = ("finetune", "replay", "dark_replay", "replay_distillation", "joint")
    return [
        *(_case("digits", name, "digits", {**memory, "strategy": {"name": name}}, True) for name in named),
        _case(
            "digits",
            "analytic, 80 filters",
            "digits",
            {"network": PATCHES, "strategy": {"name": "analytic"}, "memory": {"size": 0}},
            True,
        ),
    ]


def avalanche_cases() -> list[AvalancheCase]:
    """Avalanche's strategies on the first stream, each with the rate at which it did best on seed 0."""
    leading = [("replay", "Replay", 0.1), ("der", "DER++", 0.1), ("er_ace", "ER-ACE", 0.1)]
    others = [("replay_lwf", "Replay + LwF", 0.1), ("gdumb", "GDumb", 0.1), ("icarl", "iCaRL", 1.0)]
    return [
        AvalancheCase(group=f"memory-{size}", name=f"Avalanche: {name}", strategy=strategy, memory=size, rate=rate)
        for size, chosen in ((500, leading + others), (2000, leading))
        for strategy, name, rate in chosen
    ]
