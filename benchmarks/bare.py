"""The same gradient work in a bare PyTorch loop: what learning costs without anything around it.

As one would write it in a notebook: tensors in memory, index, forward, backward, step. No files, no records,
no checks, no memory beyond a random subset of each class. Nothing of retain's learning is used.
"""

import time
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.streams import Stream


@dataclass(frozen=True)
class Bare:
    """What came of a bare loop."""

    matrix: list[list[float]]
    cpu_seconds: list[float]
    images: int


def mlp(pixels: int, classes: int) -> nn.Sequential:
    """The network of the comparison: 400 and 400 hidden units."""
    layers = [nn.Linear(pixels, 400), nn.ReLU(), nn.Linear(400, 400), nn.ReLU(), nn.Linear(400, classes)]
    return nn.Sequential(nn.Flatten(), *layers)


def replay(stream: Stream, memory: int, seed: int, dark: bool = False, batch: int = 64, rate: float = 2e-3) -> Bare:
    """Replay, or with `dark` DER++: every night one pass over the new images and as many replayed ones."""
    torch.manual_seed(seed)
    classes = len(stream.classes)
    first = torch.from_numpy(stream.nights[0].images[~stream.nights[0].test]).float()
    mean, std = first.mean(), first.std()
    network = mlp(first[0].numel(), classes)
    kept_images, kept_targets = first[:0].byte(), torch.zeros(0, dtype=torch.int64)
    kept_outputs = torch.zeros(0, classes)
    matrix: list[list[float]] = []
    seconds, images = [], 0
    for number, night in enumerate(stream.nights):
        started = time.process_time()
        new = torch.from_numpy(night.images[~night.test])
        targets = torch.from_numpy(night.targets[~night.test])
        steps = max(round(len(new) / batch), 150)
        optimiser = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=1e-4, fused=True)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps + 1)
        order = torch.cat([torch.randperm(len(new)) for _ in range(steps * batch // len(new) + 1)])
        for step in range(steps):
            rows = order[step * batch : (step + 1) * batch]
            x, y = new[rows], targets[rows]
            if number:
                again = torch.randint(len(kept_images), (batch,))
                x, y = torch.cat([x, kept_images[again]]), torch.cat([y, kept_targets[again]])
            outputs = network((x.float() - mean) / std)
            loss = functional.cross_entropy(outputs, y)
            if dark and number:
                loss = loss + 0.5 * functional.mse_loss(outputs[batch:], kept_outputs[again])
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            optimiser.step()
            schedule.step()
            images += len(y)
        pool_images, pool_targets = torch.cat([kept_images, new]), torch.cat([kept_targets, targets])
        kept = _balanced(pool_targets, memory)
        if dark:
            fresh = _outputs(network, new, mean, std)
            kept_outputs = torch.cat([kept_outputs, fresh])[kept]
        kept_images, kept_targets = pool_images[kept], pool_targets[kept]
        seconds.append(time.process_time() - started)
        matrix.append(_ask(network, stream, number, mean, std))
    return Bare(matrix, seconds, images)


def _balanced(targets: Tensor, size: int) -> Tensor:
    """Positions of a random, equal share of every class."""
    present = torch.unique(targets)
    shuffled = torch.randperm(len(targets))
    return torch.cat([shuffled[targets[shuffled] == c][: size // len(present)] for c in present])


@torch.no_grad()
def _outputs(network: nn.Module, images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    return torch.cat([network((part.float() - mean) / std) for part in torch.split(images, 1024)])


def _ask(network: nn.Module, stream: Stream, last: int, mean: Tensor, std: Tensor) -> list[float]:
    known = int(max(night.targets.max() for night in stream.nights[: last + 1])) + 1
    scores = []
    for night in stream.nights[: last + 1]:
        images, targets = torch.from_numpy(night.images[night.test]), torch.from_numpy(night.targets[night.test])
        outputs = _outputs(network, images, mean, std)
        scores.append(round((outputs[:, :known].argmax(1) == targets).float().mean().item(), 5))
    return scores
