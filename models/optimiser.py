"""How a network descends: which optimiser, how its rate goes over the night, and whether weights are averaged."""

import math
from collections.abc import Iterable
from typing import Literal

import torch
from pydantic import Field

from models import muon
from models.networks.base import Network
from records.record import Record

Schedule = Literal["one_cycle", "cosine", "constant"]


class Optimiser(Record):
    """AdamW (Loshchilov and Hutter, 2019, arXiv:1711.05101), SGD with Nesterov's momentum, or Muon.

    Muon (Jordan et al., 2024, kellerjordan.github.io/posts/muon) turns the momentum of a matrix into the nearest
    orthogonal one, so every direction is learned alike: more is learned of each image, at several times the cost of a
    small network's step. It takes the matrices and convolutions' kernels of the body; everything else goes with AdamW.
    """

    name: Literal["adamw", "sgd", "muon"] = "adamw"
    learning_rate: float = Field(default=2e-3, gt=0, le=10)
    """Highest learning rate of the night."""
    matrix_learning_rate: float = Field(default=0.02, gt=0, le=10)
    """Highest learning rate of the matrices that Muon takes."""
    weight_decay: float = Field(default=1e-4, ge=0, le=1)
    """Muon's matrices have none."""
    schedule: Schedule = "one_cycle"
    """`one_cycle` warms up over 30% of the night and anneals to nothing (Smith and Topin, 2019, arXiv:1708.07120)."""
    adapt_learning_rate: bool = False
    """Lower the rate for nights with little to learn: see `adapted_rate`."""
    ema_decay: float = Field(default=0.0, ge=0, lt=1)
    """Decay a step of the moving average of the weights that the night ends with; 0 keeps the last weights."""

    def start(self, network: Network) -> list[torch.optim.Optimizer]:
        """Fresh optimisers; together they have all weights that can be trained, each once."""
        weights = [weight for weight in network.parameters() if weight.requires_grad]
        if self.name == "sgd":
            return [
                torch.optim.SGD(
                    weights, lr=self.learning_rate, momentum=0.9, nesterov=True, weight_decay=self.weight_decay
                )
            ]
        optimisers: list[torch.optim.Optimizer] = []
        if self.name == "muon":
            matrices = [weight for weight in network.body.parameters() if weight.requires_grad and muon.takes(weight)]
            if matrices:
                optimisers.append(muon.Muon(matrices, lr=self.matrix_learning_rate))
            taken = set(map(id, matrices))
            weights = [weight for weight in weights if id(weight) not in taken]
        # One kernel for all weights: on a CPU a third of the time of a small network's step otherwise.
        return [
            *optimisers,
            torch.optim.AdamW(weights, lr=self.learning_rate, weight_decay=self.weight_decay, fused=True),
        ]


def set_rate(descent: torch.optim.Optimizer, factor: float, schedule: Schedule, done: float) -> None:
    """Give an optimiser the rate that is due when the share `done`, 0..1, of the night is over.

    `factor` lowers the rate that it was made with for the whole night.
    """
    share = rate_share(schedule, done)
    for group in descent.param_groups:
        group["lr"] = group.setdefault("initial_lr", group["lr"]) * factor * share
        if schedule == "one_cycle" and not isinstance(descent, muon.Muon):  # Momentum goes the other way.
            momentum = 0.95 - 0.1 * share
            if "betas" in group:
                group["betas"] = (momentum, group["betas"][1])
            else:
                group["momentum"] = momentum


def rate_share(schedule: Schedule, done: float) -> float:
    """Share, 0..1, of the highest rate when the share `done` of the night is over."""
    if schedule == "constant":
        return 1.0
    if schedule == "cosine":
        return _cosine(1.0, 0.0, done)
    if done < WARM_UP:
        return _cosine(FIRST_SHARE, 1.0, done / WARM_UP)
    return _cosine(1.0, 0.0, (done - WARM_UP) / (1 - WARM_UP))


WARM_UP, FIRST_SHARE = 0.3, 0.04
"""Of one cycle: the share of the night that it warms up for, and the share of the highest rate that it starts with."""


def _cosine(start: float, end: float, done: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * min(done, 1.0))) / 2


def adapted_rate(novelty: float, images: int, usual: int) -> float:
    """Factor, up to 1, for the rate of a night that brings little: few images, or images that the parent answers well.

    `novelty`, 0..1, is the share of the new images that the parent answers wrongly; images of new classes always are.
    The rate goes with it, down to a tenth, and with the square root of `images` over `usual`, at most 1, as the noise
    of a mean does.
    """
    return max(novelty, 0.1) * min(1.0, math.sqrt(images / usual))


class MovingAverage:
    """The exponential moving average of weights (Polyak and Juditsky, 1992; Tarvainen and Valpola, 2017).

    `weights` may hold the statistics of batch normalisation too: those of the last weights would not fit the average.
    """

    def __init__(self, weights: Iterable[torch.Tensor], decay: float) -> None:
        self.weights = list(weights)
        self.decay = decay
        self.average = [weight.detach().clone() for weight in self.weights]

    @torch.no_grad()
    def follow(self, step: int) -> None:
        """Take in the weights after `step` steps; the first ones are forgotten faster, they are far off."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self.average, [weight.detach() for weight in self.weights], 1 - decay)

    @torch.no_grad()
    def settle(self) -> None:
        """The average takes the place of the weights."""
        for weight, average in zip(self.weights, self.average, strict=True):
            weight.copy_(average)
