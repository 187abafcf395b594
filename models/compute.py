"""What a night computes on: a device, a precision, and how many processes share each step.

Several processes (`torchrun -m tasks update`) each take their part of every step's images and average the gradients, so
together they take the same steps as one process, up to the rounding of floats. Two things are a process's own: what is
random in it (dropout, augmentation), and what compares the images of a step with each other (batch normalisation,
ER-ACE's classes, relative weights), which sees its part alone. Everything else (what is drawn, what memory keeps) is
computed by each alike from the same numbers and is identical bit for bit.
"""

import contextlib
import os
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Literal

import torch
import torch.distributed as distributed
from torch import Tensor, nn

from models.networks.base import Network
from records.errors import WrongInput

Precision = Literal["auto", "float32", "bfloat16"]


@dataclass(frozen=True)
class Compute:
    """Where this process trains, and which of how many it is."""

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    precision: Precision = "auto"
    rank: int = 0
    processes: int = 1

    @classmethod
    def here(cls, precision: Precision = "auto") -> "Compute":
        """A GPU if there is one; one of several processes if `torch.distributed` was set up."""
        together = distributed.is_available() and distributed.is_initialized()
        return cls(
            device=default_device(),
            precision=precision,
            rank=distributed.get_rank() if together else 0,
            processes=distributed.get_world_size() if together else 1,
        )

    def environment(self) -> dict[str, str]:
        """What the bits of the weights depend on besides data, parameters and code."""
        return {
            "torch": torch.__version__,
            "device": torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else self.device.type,
            "cpu_instructions": torch.backends.cpu.get_cpu_capability(),
            "threads": str(torch.get_num_threads()),
            "processes": str(self.processes),
            "compile": os.environ.get("RETAIN_COMPILE") or "no",
        }

    def place(self, network: nn.Module) -> None:
        """Move a network here; convolutions on a GPU are faster with channels last."""
        network.to(self.device)
        if self.device.type == "cuda":
            network.to(memory_format=torch.channels_last)

    def compiled(self, network: Network) -> None:
        """Compile the body in place if RETAIN_COMPILE names a backend, such as `inductor`. It takes a minute or two, so
        it is worth it for long nights with large networks, and never chosen unasked."""
        backend = os.environ.get("RETAIN_COMPILE")
        if backend:
            network.body.compile(backend=backend)

    def autocast(self) -> AbstractContextManager[object]:
        """Mixed precision: bfloat16 by default on a GPU, none on a CPU."""
        mixed = self.precision == "bfloat16" or (self.precision == "auto" and self.device.type == "cuda")
        if not mixed:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)

    def part(self, positions: Tensor) -> Tensor:
        """This process's part of a step's positions. Raises `WrongInput` if the parts are not of one size."""
        if len(positions) % self.processes:
            # The mean of their gradients would not be that of the images; and a process without images has no loss.
            raise WrongInput(
                f"{self.processes} processes cannot share {len(positions)} images a step evenly: choose "
                "`budget.batch_size` and `budget.replay_batch_size` as multiples of RETAIN_PROCESSES."
            )
        return positions[self.rank :: self.processes]

    def agreed(self, value: float) -> float:
        """What the first process says, for what each would measure differently."""
        if self.processes == 1:
            return value
        message = torch.tensor([value], dtype=torch.float64, device=self.device)
        distributed.broadcast(message, src=0)
        return float(message)

    def average_gradients(self, network: nn.Module) -> None:
        """Every process gets the mean of all processes' gradients, in one message."""
        if self.processes == 1:
            return
        gradients = [weight.grad for weight in network.parameters() if weight.grad is not None]
        message = torch.cat([gradient.flatten() for gradient in gradients])
        distributed.all_reduce(message)
        message /= self.processes
        parts = torch.split(message, [gradient.numel() for gradient in gradients])
        for gradient, mean in zip(gradients, parts, strict=True):
            gradient.copy_(mean.view_as(gradient))


ONE_CPU = Compute()


def default_device() -> torch.device:
    """The GPU of this process if there is one; `RETAIN_DEVICE` names another of `devices`, `cpu` among them.

    Raises `WrongInput` if it names one that is not there.
    """
    available = devices()
    named = os.environ.get("RETAIN_DEVICE")
    wanted = named or ("cuda" if len(available) > 1 else "cpu")
    chosen = f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if wanted == "cuda" else wanted
    if chosen in available:
        return torch.device(chosen)
    setting = f"`{named}`" if named else "not set"
    resolved = f", which means {chosen} for this process" if chosen != wanted else ""
    found = ", ".join(available) if len(available) > 1 else "the CPU alone"
    raise WrongInput(
        f"RETAIN_DEVICE is {setting}{resolved}; it must be `cpu`, `cuda`, or one GPU such as `cuda:0`, and what torch "
        f"finds here is {found}."
    )


def devices() -> tuple[str, ...]:
    """What this machine can compute on: `cpu`, `cuda:0`, `cuda:1`, ..."""
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return ("cpu", *(f"cuda:{number}" for number in range(gpus)))
