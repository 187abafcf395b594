"""An unfinished update, at rest: enough to go on as if it had never been interrupted.

One safetensors file, replaced as a whole, so a kill leaves the last one or none. No pickle.
"""

import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path

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
        told = {"identity": self.identity, "step": saved.step, "seconds": saved.seconds}
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in saved.tensors.items()}
        save_file(tensors, unfinished, {"retain": json.dumps(told)})
        os.replace(unfinished, self.path)
        self._last = time.monotonic()

    def load(self) -> Saved | None:
        """What was saved for this night; None if there is nothing, or nothing that can be read."""
        try:
            with safe_open(self.path, framework="pt") as file:
                told = json.loads(file.metadata()["retain"])
                if told["identity"] != self.identity:
                    return None
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
                return Saved(told["step"], told["seconds"], tensors)
        except (FileNotFoundError, SafetensorError, KeyError, TypeError, ValueError):
            return None

    def clear(self) -> None:
        """The update is finished; what a kill left half written goes as well."""
        self.path.unlink(missing_ok=True)
        for half in self.path.parent.glob(f".{self.path.name}.*"):
            half.unlink()
