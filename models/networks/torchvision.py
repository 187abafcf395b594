"""Any classification network of torchvision by its name, from nothing or from weights that others have trained.

Its classifier is taken off; what it was fed are the features. Grey images are repeated to three channels. The images
come normalised by their own mean and spread, as for every network, not by ImageNet's: the scale is the same, which is
what pretrained features need. From pretrained weights a lower `update.optimiser.learning_rate` than the default is
usual.

torchvision takes seconds to import, so it is imported where it is used.
"""

import contextlib
import difflib
import hashlib
import re
import sys
from functools import cache
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn

from models.networks.base import Recipe
from records.errors import Unavailable, WrongParameters
from records.snapshot import InputSpec

if TYPE_CHECKING:
    from torchvision.models import WeightsEnum

CLASSES_OF_IMAGENET = 1000
"""Outputs of the layer that is taken off."""
STATISTICS = nn.modules.batchnorm._BatchNorm


class Torchvision(Recipe):
    """A network of torchvision without its classifier."""

    name: Literal["torchvision"] = "torchvision"
    model: str = "resnet18"
    """As `torchvision.models.list_models` calls it: resnet50, convnext_tiny, vit_b_16, efficientnet_b0, swin_t, ..."""
    weights: str | None = None
    """What the first night starts from. Null: chance. torchvision's name of published weights: IMAGENET1K_V2, DEFAULT.
    Or a file of one's own, `<name>-<SHA-256, 8 digits or more>.safetensors`, so that equal parameters mean equal
    weights; it lies in torch's folder, $TORCH_HOME/hub/checkpoints, or is given with its whole path."""
    freeze_batch_norm: bool = True
    """Batch normalisation goes on with the means and variances that came with `weights`; its scale and shift learn.
    Those of a step that mixes new and replayed images are of neither, and a later night would overwrite them first
    (Pham et al. 2022, "Continual Normalization"). Without `weights` there are none to keep: they are learned."""

    @property
    def begins_as_chance(self) -> bool:
        """Not from weights that others have trained."""
        return self.weights is None

    def check(self, size: int | None) -> None:
        """The model and its published weights must exist; a file of one's own is needed for the first night alone."""
        self._check_model()
        if size is not None:
            _check_size(self, size)
        if self.weights is not None and not self.weights.endswith(".safetensors"):
            self._named()

    def body(self, spec: InputSpec) -> tuple[nn.Module, int]:
        """Features are what the network's classifier was fed. Raises `WrongParameters` if it cannot take the images."""
        body = Body(self._built(spec), self.freeze_batch_norm and self.weights is not None)
        return body, _width(body, spec, self.model)

    def load_pretrained(self, body: nn.Module) -> None:
        """Fill a fresh body with `weights`; the positions of a ViT are interpolated if its images have another size.

        Raises `WrongParameters` if there are no such weights or they do not fit, `Unavailable` if they are not at hand.
        """
        if self.weights is None:
            return
        assert isinstance(body, Body)
        own = self.weights.endswith(".safetensors")
        found = _read(Path(torch.hub.get_dir(), "checkpoints", self.weights)) if own else self._published()
        # The names that DenseNet's published weights have are of a time when a module's name could hold a point.
        state = {re.sub(r"(denselayer\d+\.(?:norm|conv))\.(?=[12]\.)", r"\1", name): found[name] for name in found}
        try:
            missing = body.model.load_state_dict(fitted(body.model, state), strict=False).missing_keys
        except RuntimeError as error:
            missing = [_line(str(error).partition(":")[2])]
        if missing:
            raise WrongParameters(
                f"`update.network.weights`: {self.weights} does not fit torchvision's {self.model} ({missing[0]}). "
                "Name weights of this model, or null."
            )

    def _check_model(self) -> None:
        known = known_models()
        if self.model not in known:
            close = difflib.get_close_matches(self.model, known, n=3)
            hint = (
                f"did you mean {' or '.join(f'`{name}`' for name in close)}?"
                if close
                else f"known: {', '.join(known)}."
            )
            raise WrongParameters(f"`update.network.model` is `{self.model}`, which torchvision does not have; {hint}")

    def _built(self, spec: InputSpec) -> nn.Module:
        from torchvision import models

        self._check_model()
        settings: dict[str, Any] = {}
        if self.model in ("googlenet", "inception_v3"):
            # Their further classifiers are not used. What they learned from was scaled otherwise than ImageNet's usual.
            settings = {"aux_logits": False, "transform_input": True, "init_weights": True}
        elif self.model.startswith("vit_"):
            settings = {"image_size": spec.height}
        try:
            return models.get_model(self.model, weights=None, **settings)  # type: ignore[no-any-return]
        except AssertionError as error:
            raise _wrong_size(self.model, spec, error) from None

    def _published(self) -> dict[str, Tensor]:
        weights = self._named()
        place = Path(torch.hub.get_dir(), "checkpoints", Path(weights.url).name)
        try:
            # torch tells of a download on standard output, which belongs to the command's answer.
            with contextlib.redirect_stdout(sys.stderr):
                # weights_only: these files are pickles, and none of them may run code.
                found: dict[str, Tensor] = weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
                return found
        except OSError as error:
            raise Unavailable(
                f"The weights {self.weights} of {self.model} are not at {place} and cannot be downloaded ({error}). "
                f"Put {weights.url} there, or set `update.network.weights` to null."
            ) from None
        except (RuntimeError, EOFError, UnpicklingError) as error:
            why = _line(str(error))
            raise WrongParameters(f"{place} is not a readable file of weights ({why}). Delete it.") from None

    def _named(self) -> "WeightsEnum":
        from torchvision.models import get_model_weights

        known = get_model_weights(self.model)
        if self.weights not in known.__members__:
            raise WrongParameters(
                f"`update.network.weights` is `{self.weights}`, which torchvision does not have for {self.model}; "
                f"known: {', '.join(known.__members__)}, or a .safetensors file."
            )
        return known[self.weights]


@cache
def _check_size(recipe: Torchvision, size: int) -> None:
    blank = (0.0,) * 3, (1.0,) * 3
    # Shapes alone: no weights are drawn. RegNet cannot be built so; it takes any size.
    with torch.device("meta"), contextlib.suppress(NotImplementedError):
        recipe.body(InputSpec(channels=3, height=size, width=size, mean=blank[0], std=blank[1]))


def known_models() -> list[str]:
    """Names of torchvision's classification networks."""
    from torchvision import models

    found: list[str] = models.list_models(module=models)
    return found


class Body(nn.Module):
    """The network, with an identity in place of its last layer."""

    def __init__(self, model: nn.Module, freeze_batch_norm: bool) -> None:
        super().__init__()
        self.model = model
        self.freeze_batch_norm = freeze_batch_norm
        model.set_submodule(_classifier(model), nn.Identity())

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


def _classifier(model: nn.Module) -> str:
    """Name of the last layer: linear, but in SqueezeNet a 1 x 1 convolution."""
    layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, nn.Linear | nn.Conv2d)}
    last: str = list(layers)[-1]
    assert len(layers[last].weight) == CLASSES_OF_IMAGENET, last
    return last


def _width(body: nn.Module, spec: InputSpec, model: str) -> int:
    """Number of features, told by an image that has a shape and no pixels; it also tells whether the size will do."""
    shapes = {name: value.to("meta") for name, value in (*body.named_parameters(), *body.named_buffers())}
    image = torch.zeros(1, spec.channels, spec.height, spec.width, device="meta")
    try:
        with torch.no_grad():
            return torch.func.functional_call(body.eval(), shapes, image).shape[1]  # type: ignore[no-any-return]
    except (RuntimeError, ValueError, AssertionError) as error:
        raise _wrong_size(model, spec, error) from None
    finally:
        body.train()


def _wrong_size(model: str, spec: InputSpec, error: Exception) -> WrongParameters:
    return WrongParameters(
        f"torchvision's {model} cannot take images of {spec.height} x {spec.width} pixels ({_line(str(error))}). "
        "Set `update.image.size`, to 224 for instance, before the first night, or choose another network."
    )


def _line(text: str) -> str:
    return " ".join(text.split())[:160]


def fitted(model: nn.Module, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Position embeddings for the images' size (Dosovitskiy et al. 2021, section 3.2), if the model has any."""
    from torchvision.models.vision_transformer import VisionTransformer, interpolate_embeddings

    if not isinstance(model, VisionTransformer) or "encoder.pos_embedding" not in state:
        return state
    return interpolate_embeddings(model.image_size, model.patch_size, state)  # type: ignore[no-any-return]


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
