"""A learner: a network, the names of its classes, and what it sees. At rest it is a folder of safetensors and JSON."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import field_validator
from safetensors.torch import load_file, save_file
from torch import Tensor

from dataset.archive import PIXELS_AT_ONCE
from models.catalogue import NetworkRecipe
from models.networks.base import Network
from records.record import Record
from records.renamed import modernise
from records.snapshot import InputSpec

DESCRIPTION = "learner.json"


class Description(Record):
    """What must be known besides the weights to use a network."""

    recipe: NetworkRecipe
    spec: InputSpec
    classes: tuple[str, ...]

    @field_validator("recipe", mode="before")
    @classmethod
    def _present_names(cls, recipe: object) -> object:
        """A version that was registered before a parameter was renamed stays readable."""
        if isinstance(recipe, dict):
            modernise({"update": {"network": (recipe := dict(recipe))}})
        return recipe


@dataclass
class Learner:
    """The part that changes while learning. `classes[i]` is the name of the head's row i, for ever."""

    recipe: NetworkRecipe
    spec: InputSpec
    classes: tuple[str, ...]
    network: Network

    @classmethod
    def fresh(cls, recipe: NetworkRecipe, spec: InputSpec, classes: Sequence[str], seed: int) -> "Learner":
        """A network that has learned none of our images; equal seeds give equal weights."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = Network(recipe, spec, len(classes))
            recipe.load_pretrained(network.body)
        return cls(recipe, spec, tuple(classes), network)

    def add_classes(self, names: Sequence[str], seed: int, always: Sequence[str] = ()) -> None:
        """Append classes that it does not know yet, `always` before the others; the head grows, known classes keep
        their index and weights."""
        wanted = [*always, *sorted(set(names).difference(always))]
        new = [name for name in wanted if name not in self.classes]
        self.classes += tuple(new)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network.grow(len(self.classes))

    def outputs(self, images: Tensor, device: torch.device | str = "cpu") -> Tensor:
        """Logits [n, classes], of a dense network [n, classes, H, W], on the CPU, of uint8 images [n, C, H, W]."""
        return self.outputs_of_parts(torch.split(images, self.at_once), device)

    @torch.inference_mode()
    def outputs_of_parts(self, parts: Iterable[Tensor], device: torch.device | str = "cpu") -> Tensor:
        """The same of images that come in parts, each for one forward pass."""
        network = self.network.to(device).eval()
        outputs = [network(part.to(device)).float().cpu() for part in parts]
        return torch.cat(outputs) if outputs else torch.zeros(0, len(self.classes), *(network.size or ()))

    @property
    def at_once(self) -> int:
        """Images that a forward pass takes at a time."""
        return max(1, PIXELS_AT_ONCE // (self.spec.channels * self.spec.height * self.spec.width))

    def write(self, folder: Path) -> None:
        """Write `weights.safetensors` and `learner.json` below `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        weights = {name: value.detach().cpu().contiguous() for name, value in self.network.state_dict().items()}
        save_file(weights, folder / "weights.safetensors")
        Description(recipe=self.recipe, spec=self.spec, classes=self.classes).write(folder / DESCRIPTION)

    @classmethod
    def read(cls, folder: Path) -> "Learner":
        """Read what `write` wrote."""
        description = Description.read(folder / DESCRIPTION)
        network = Network(description.recipe, description.spec, len(description.classes))
        network.load_state_dict(load_file(folder / "weights.safetensors"))
        return cls(description.recipe, description.spec, description.classes, network)
