"""Muon: the momentum of a matrix is turned into the nearest orthogonal one, so every direction is learned alike.

Jordan et al. (2024), kellerjordan.github.io/posts/muon. The same steps as `torch.optim.Muon` takes, which stops short
where retain learns: it takes no convolutions' kernels, and it always computes in bfloat16, which on a CPU without
units for it costs ten times what float32 does.
"""

from collections.abc import Iterable
from math import sqrt

import torch
from torch import Tensor

MOMENTUM = 0.95
COEFFICIENTS = 3.4445, -4.7750, 2.0315
"""Of the quintic iteration (Newton and Schulz's with the steepest slope at zero); singular values end in 0.7..1.2."""
ITERATIONS = 5
SMALL = 1e-7


class Muon(torch.optim.Optimizer):
    """For matrices [out, in] and kernels [out, in, height, width], each as the matrix that it is to a patch."""

    def __init__(self, weights: Iterable[Tensor], lr: float) -> None:
        super().__init__(weights, {"lr": lr, "momentum": MOMENTUM})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # Nothing here is evaluated twice.
        """One step with Nesterov's momentum; a matrix with more rows than columns takes a longer one."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                momentum = self.state[weight].setdefault("momentum_buffer", torch.zeros_like(weight))
                momentum.lerp_(weight.grad, 1 - group["momentum"])
                ahead = weight.grad.lerp(momentum, group["momentum"]).flatten(1)
                rows, columns = ahead.shape
                length = group["lr"] * sqrt(max(1, rows / columns))
                weight.add_(orthogonal(ahead).view_as(weight), alpha=-length)


def takes(weight: Tensor) -> bool:
    """Whether a weight is one for Muon. A kernel of which each channel has its own mixes nothing, and is none."""
    return weight.dim() == 2 or (weight.dim() == 4 and weight.shape[1] > 1)


def orthogonal(matrix: Tensor) -> Tensor:
    """A matrix with the singular vectors of `matrix` [rows, columns] whose singular values are all near 1."""
    a, b, c = COEFFICIENTS
    tall = matrix.shape[0] > matrix.shape[1]
    found = matrix.T if tall else matrix
    if matrix.is_cuda:
        found = found.bfloat16()
    found = found / found.norm().clamp(min=SMALL)
    for _ in range(ITERATIONS):
        gram = found @ found.T
        found = torch.addmm(found, torch.addmm(gram, gram, gram, beta=b, alpha=c), found, beta=a)
    return (found.T if tall else found).to(matrix.dtype)
