"""An unfinished update, at rest: enough to go on as if it had never been interrupted.

One safetensors file, replaced as a whole, so a kill leaves the last one or none. No pickle. A file of safetensors knows
no strides, so they stand beside: fused AdamW computes wrongly, and says nothing, where its state lies in memory in
another order than the weights do.
"""

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Saved:
    """What was reached."""

    step: int
    seconds: float
    """Spent in training so far."""
    tensors: Tensors


@dataclass
class Checkpoint:
    """Where an update leaves what it has reached, and how often."""

    path: Path
    identity: str
    """The night's; a checkpoint of another night is no start for this one."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """What numbers depend on besides the night's identity, as `Compute.environment` tells; another one would go on to
    weights that no uninterrupted night ends with."""
    every: float = 30.0
    """Seconds between two savings."""
    _last: float = field(default_factory=time.monotonic, repr=False)

    def due(self) -> bool:
        """Whether it is time to save again."""
        return time.monotonic() - self._last >= self.every

    def save(self, saved: Saved) -> None:
        """Replace what was saved before."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        metadata = {
            "identity": self.identity,
            "environment": dict(self.environment),
            "step": saved.step,
            "seconds": saved.seconds,
            "strides": {name: _strides(tensor) for name, tensor in saved.tensors.items()},
        }
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in saved.tensors.items()}
        save_file(tensors, unfinished, {"retain": json.dumps(metadata)})
        os.replace(unfinished, self.path)
        self._last = time.monotonic()

    def load(self) -> Saved | None:
        """What was saved for this night in this environment; None if there is nothing, or nothing that can be read."""
        try:
            with safe_open(self.path, framework="pt") as file:
                metadata = json.loads(file.metadata()["retain"])
                if metadata["identity"] != self.identity or metadata["environment"] != self.environment:
                    return None
                names = file.keys()
                tensors = {name: _laid_out(file.get_tensor(name), metadata["strides"][name]) for name in names}
                return Saved(metadata["step"], metadata["seconds"], tensors)
        except (FileNotFoundError, SafetensorError, KeyError, TypeError, ValueError):
            return None

    def made_elsewhere(self) -> dict[str, tuple[str, str]]:
        """How the environment of a checkpoint of this very night differs from this one: (then, now) by name."""
        try:
            with safe_open(self.path, framework="pt") as file:
                metadata = json.loads(file.metadata()["retain"])
                if metadata["identity"] != self.identity:
                    return {}
                then: dict[str, str] = metadata["environment"]
        except (FileNotFoundError, SafetensorError, KeyError, TypeError, ValueError):
            return {}
        now = self.environment
        pairs = {name: (then.get(name, ""), now.get(name, "")) for name in sorted(then.keys() | now.keys())}
        return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}

    def clear(self) -> None:
        """The update is finished; what a kill left half written goes as well."""
        self.path.unlink(missing_ok=True)
        for half in self.path.parent.glob(f".{self.path.name}.*"):
            half.unlink()


def _strides(tensor: Tensor) -> list[int]:
    """Those of a tensor of its own that lies in memory in the same order."""
    return list(torch.empty_like(tensor, device="meta").stride())


def _laid_out(tensor: Tensor, strides: list[int]) -> Tensor:
    return torch.empty_strided(tensor.shape, strides, dtype=tensor.dtype).copy_(tensor)
