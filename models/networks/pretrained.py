"""What the networks of torchvision have in common: names, weights that others have trained, statistics that stay.

torchvision takes seconds to import, so it is imported where it is used.
"""

import contextlib
import difflib
import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn

from records.errors import Unavailable, WrongParameters
from records.snapshot import InputSpec

if TYPE_CHECKING:
    from torchvision.models import WeightsEnum

OWN = ".safetensors"
"""What the name of a file of one's own ends with."""
STATISTICS = nn.modules.batchnorm._BatchNorm


class Body(nn.Module):
    """A network of torchvision without its last layer, which sees grey images as colour images without colour."""

    def __init__(self, model: nn.Module, freeze_batch_norm: bool) -> None:
        super().__init__()
        self.model = model
        self.freeze_batch_norm = freeze_batch_norm

    def forward(self, images: Tensor) -> Tensor:
        """Features [N, D] of normalised images [N, 1 or 3, H, W]."""
        return self.model(images.expand(-1, 3, -1, -1))  # type: ignore[no-any-return]

    def train(self, mode: bool = True) -> "Body":
        """Set the mode; statistics that are frozen are used and not changed, also while all else learns."""
        super().train(mode)
        if self.freeze_batch_norm:
            for module in self.modules():
                if isinstance(module, STATISTICS):
                    module.eval()
        return self


def check_model(model: str, known: Sequence[str]) -> None:
    """Raise `WrongParameters`, with the nearest names, if torchvision has no such network."""
    if model in known:
        return
    close = difflib.get_close_matches(model, known, n=3)
    hint = f"did you mean {' or '.join(f'`{name}`' for name in close)}?" if close else f"known: {', '.join(known)}."
    raise WrongParameters(f"`update.network.model` is `{model}`, which torchvision does not have; {hint}")


def check_weights(model: str, weights: str | None) -> None:
    """Raise `WrongParameters` if there are no such published weights; a file of one's own is not looked for."""
    if weights is not None and not weights.endswith(OWN):
        _named(model, weights)


def features_of(body: nn.Module, spec: InputSpec, model: str) -> int:
    """Number of features, told by an image that has a shape and no pixels. Raises `WrongParameters` if the network
    cannot take images of this size."""
    shapes = {name: value.to("meta") for name, value in (*body.named_parameters(), *body.named_buffers())}
    image = torch.zeros(1, spec.channels, spec.height, spec.width, device="meta")
    try:
        with torch.no_grad():
            return torch.func.functional_call(body.eval(), shapes, image).shape[1]  # type: ignore[no-any-return]
    except (RuntimeError, ValueError, AssertionError) as error:
        raise wrong_size(model, spec, error) from None
    finally:
        body.train()


def wrong_size(model: str, spec: InputSpec, error: Exception) -> WrongParameters:
    """Of images that a network cannot take."""
    return WrongParameters(
        f"torchvision's {model} cannot take images of {spec.height} x {spec.width} pixels ({_line(str(error))}). "
        "Set `update.image.size`, to 224 for instance, before the first night, or choose another network."
    )


def weights_of(model: str, weights: str) -> dict[str, Tensor]:
    """Weights that torchvision publishes for `model` under this name, or those of a file of one's own.

    Raises `WrongParameters` if there are no such weights, `Unavailable` if they are not at hand.
    """
    checkpoints = Path(torch.hub.get_dir(), "checkpoints")
    return _read(checkpoints / weights) if weights.endswith(OWN) else _published(model, weights, checkpoints)


def fill(module: nn.Module, state: dict[str, Tensor], model: str, weights: str) -> None:
    """Give a module its weights; what it lacks, such as the classifier, is left. Raises `WrongParameters`."""
    try:
        missing = module.load_state_dict(state, strict=False).missing_keys
    except RuntimeError as error:
        missing = [_line(str(error).partition(":")[2])]
    if missing:
        raise WrongParameters(
            f"`update.network.weights`: {weights} does not fit torchvision's {model} ({missing[0]}). "
            "Name weights of this model, or null."
        )


def _published(model: str, name: str, checkpoints: Path) -> dict[str, Tensor]:
    weights = _named(model, name)
    place = checkpoints / Path(weights.url).name
    try:
        # torch tells of a download on standard output, which belongs to the command's answer.
        with contextlib.redirect_stdout(sys.stderr):
            # weights_only: these files are pickles, and none of them may run code.
            found: dict[str, Tensor] = weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
            return found
    except OSError as error:
        raise Unavailable(
            f"The weights {name} of {model} are not at {place} and cannot be downloaded ({error}). "
            f"Put {weights.url} there, or set `update.network.weights` to null."
        ) from None
    except (RuntimeError, EOFError, UnpicklingError) as error:
        why = _line(str(error))
        raise WrongParameters(f"{place} is not a readable file of weights ({why}). Delete it.") from None


def _named(model: str, name: str) -> "WeightsEnum":
    from torchvision.models import get_model_weights

    known = get_model_weights(model)
    if name not in known.__members__:
        raise WrongParameters(
            f"`update.network.weights` is `{name}`, which torchvision does not have for {model}; "
            f"known: {', '.join(known.__members__)}, or a .safetensors file."
        )
    return known[name]


def _read(path: Path) -> dict[str, Tensor]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise Unavailable(
            f"The weights `update.network.weights` are not at {path} ({error.strerror}). Put the file there."
        ) from None
    named_digest = path.stem.rpartition("-")[2]
    digest = hashlib.sha256(content).hexdigest()
    if len(named_digest) < 8 or not digest.startswith(named_digest):
        raise WrongParameters(
            f"{path} must end its name with the beginning of its SHA-256, so that the parameters say which weights are "
            f"meant: rename it to {path.stem.removesuffix(f'-{named_digest}')}-{digest[:8]}.safetensors, and "
            "`update.network.weights` too."
        )
    try:
        return load(content)
    except SafetensorError as error:
        raise WrongParameters(f"{path} is not a readable file of weights ({error}).") from None


def _line(text: str) -> str:
    return " ".join(text.split())[:160]
