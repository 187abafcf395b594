"""The training loop: draw a step, take the strategy's loss, descend; until the night's budget is spent."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from models.archive import Pool
from models.networks.base import Network
from models.problems.base import Problem
from models.strategies.base import Step, Strategy
from records.record import Record

Progress = Callable[[int, int], None]
"""Called with (steps done, steps in all)."""


class Budget(Record):
    """What a night may cost. It does not depend on how many nights came before."""

    epochs: float = Field(default=1.0, gt=0, le=1000)
    """Times that the new images are gone through."""
    least_steps: int = Field(default=150, ge=1)
    """A small batch gets at least so many steps."""
    most_steps: int | None = Field(default=None, ge=1)
    """A large batch gets at most so many steps."""
    batch: int = Field(default=64, ge=1, le=65536)
    """New images a step."""
    replayed: int = Field(default=64, ge=0, le=65536)
    """Replayed images a step."""

    def steps(self, images: int) -> int:
        """Steps for a night with `images` new images."""
        wanted = max(round(self.epochs * images / self.batch), self.least_steps)
        return min(wanted, self.most_steps or wanted)


class Optimiser(Record):
    """AdamW with a one-cycle learning rate (Loshchilov and Hutter, 2019; Smith and Topin, 2019)."""

    name: Literal["adamw"] = "adamw"
    rate: float = Field(default=2e-3, gt=0, le=1)
    """Highest learning rate of the cycle."""
    weight_decay: float = Field(default=1e-4, ge=0, le=1)


@dataclass(frozen=True)
class TrainingLog:
    """How a training went. `losses` holds each named part, averaged over a tenth of the steps at a time."""

    steps: int
    images: int
    """Images that went through a forward and backward pass, replayed ones included."""
    losses: dict[str, list[float]]


def train(
    network: Network,
    teacher: Network | None,
    strategy: Strategy,
    problem: Problem,
    material: tuple[tuple[Pool, ...], Pool | None],
    budget: Budget,
    optimiser: Optimiser,
    seed: int,
    device: torch.device,
    progress: Progress = lambda done, total: None,
) -> TrainingLog:
    """Train `network` in place. Equal arguments give equal weights, bit for bit, on the same kind of CPU."""
    new, replayed = material
    steps = budget.steps(sum(len(pool) for pool in new))
    torch.manual_seed(seed)  # what is random inside the network: dropout
    network.to(device).train()
    if teacher is not None:
        teacher.to(device)
    descent = torch.optim.AdamW(network.parameters(), lr=optimiser.rate, weight_decay=optimiser.weight_decay)
    cycle = torch.optim.lr_scheduler.OneCycleLR(descent, max_lr=optimiser.rate, total_steps=steps + 1)
    drawn = draw_steps(new, replayed, budget, network.head.out_features, seed)
    kept: dict[str, list[Tensor]] = {}
    images = 0
    for done, step in zip(range(1, steps + 1), drawn, strict=False):
        step = Step(step.images.to(device), step.targets.to(device), step.fresh, step.log_prior.to(device))
        losses = strategy.loss(network, teacher, step, problem)
        descent.zero_grad(set_to_none=True)
        torch.autograd.backward(torch.stack(list(losses.values())).sum())
        descent.step()
        cycle.step()
        images += len(step.targets)
        for part, loss in losses.items():
            kept.setdefault(part, []).append(loss.detach())
        progress(done, steps)
    return TrainingLog(steps, images, {part: _tenths(torch.stack(values).tolist()) for part, values in kept.items()})


def draw_steps(new: Sequence[Pool], replayed: Pool | None, budget: Budget, classes: int, seed: int) -> Iterator[Step]:
    """Steps without end: each epoch visits every new image once in a random order; replay does the same with memory."""
    if budget.replayed == 0 or replayed is None or len(replayed) == 0:
        replayed = None
    generator = torch.Generator().manual_seed(seed)
    fresh = _visits(sum(len(pool) for pool in new), budget.batch, generator)
    again = _visits(len(replayed), budget.replayed, generator) if replayed else None
    log_prior = expected_log_prior(new, replayed, budget, classes)
    while True:
        images, targets = _gather(new, next(fresh))
        count = len(targets)
        if replayed is not None and again is not None:
            positions = next(again)
            images = torch.cat([images, replayed.images(positions)])
            targets = torch.cat([targets, replayed.target[positions]])
        yield Step(images, targets, count, log_prior)


def expected_log_prior(new: Sequence[Pool], replayed: Pool | None, budget: Budget, classes: int) -> Tensor:
    """[classes] log of each class's expected share of a step; one that does not occur counts as one in a million."""
    shares = torch.bincount(torch.cat([pool.target for pool in new]), minlength=classes).double()
    shares = shares / shares.sum() * budget.batch
    if replayed is not None:
        counts = torch.bincount(replayed.target, minlength=classes).double()
        shares = shares + counts / counts.sum() * budget.replayed
    return (shares / shares.sum()).clamp_min(1e-6).log().float()


def _visits(size: int, at_once: int, generator: torch.Generator) -> Iterator[Tensor]:
    left = torch.randperm(size, generator=generator)
    while True:
        while len(left) < at_once:
            left = torch.cat([left, torch.randperm(size, generator=generator)])
        yield left[:at_once]
        left = left[at_once:]


def _gather(pools: Sequence[Pool], positions: Tensor) -> tuple[Tensor, Tensor]:
    if len(pools) == 1:
        return pools[0].images(positions), pools[0].target[positions]
    images, targets, start = [], [], 0
    for pool in pools:
        here = positions[(positions >= start) & (positions < start + len(pool))] - start
        images.append(pool.images(here))
        targets.append(pool.target[here])
        start += len(pool)
    return torch.cat(images), torch.cat(targets)


def _tenths(values: list[float]) -> list[float]:
    size = max(1, len(values) // 10)
    return [sum(part) / len(part) for part in (values[i : i + size] for i in range(0, len(values), size))]
