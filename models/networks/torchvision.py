"""Any classification network of torchvision by its name, from nothing or from weights that others have trained.

Its classifier is taken off; what it was fed are the features. Grey images are repeated to three channels. The images
come normalised by their own mean and spread, as for every network, not by ImageNet's: the scale is the same, which is
what pretrained features need. From pretrained weights a lower `update.optimiser.learning_rate` than the default is
usual.

torchvision takes seconds to import, so it is imported where it is used.
"""

import contextlib
import re
from functools import cache
from typing import Any, Literal

import torch
from torch import Tensor, nn

from models.networks.base import Recipe
from models.networks.pretrained import Body, check_model, check_weights, features_of, fill, weights_of, wrong_size
from records.snapshot import InputSpec

CLASSES_OF_IMAGENET = 1000
"""Outputs of the layer that is taken off."""


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
        check_model(self.model, known_models())
        if size is not None:
            _check_size(self, size)
        check_weights(self.model, self.weights)

    def body(self, spec: InputSpec) -> tuple[nn.Module, int]:
        """Features are what the network's classifier was fed. Raises `WrongParameters` if it cannot take the images."""
        model = self._built(spec)
        model.set_submodule(_classifier(model), nn.Identity())
        body = Body(model, self.freeze_batch_norm and self.weights is not None)
        return body, features_of(body, spec, self.model)

    def load_pretrained(self, body: nn.Module) -> None:
        """Fill a fresh body with `weights`; the positions of a ViT are interpolated if its images have another size.

        Raises `WrongParameters` if there are no such weights or they do not fit, `Unavailable` if they are not at hand.
        """
        if self.weights is None:
            return
        assert isinstance(body, Body)
        found = weights_of(self.model, self.weights)
        # The names that DenseNet's published weights have are of a time when a module's name could hold a point.
        state = {re.sub(r"(denselayer\d+\.(?:norm|conv))\.(?=[12]\.)", r"\1", name): found[name] for name in found}
        fill(body.model, fitted(body.model, state), self.model, self.weights)

    def _built(self, spec: InputSpec) -> nn.Module:
        from torchvision import models

        check_model(self.model, known_models())
        settings: dict[str, Any] = {}
        if self.model in ("googlenet", "inception_v3"):
            # Their further classifiers are not used. What they learned from was scaled otherwise than ImageNet's usual.
            settings = {"aux_logits": False, "transform_input": True, "init_weights": True}
        elif self.model.startswith("vit_"):
            settings = {"image_size": spec.height}
        try:
            return models.get_model(self.model, weights=None, **settings)  # type: ignore[no-any-return]
        except AssertionError as error:
            raise wrong_size(self.model, spec, error) from None


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


def _classifier(model: nn.Module) -> str:
    """Name of the last layer: linear, but in SqueezeNet a 1 x 1 convolution."""
    layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, nn.Linear | nn.Conv2d)}
    last: str = list(layers)[-1]
    assert len(layers[last].weight) == CLASSES_OF_IMAGENET, last
    return last


def fitted(model: nn.Module, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Position embeddings for the images' size (Dosovitskiy et al. 2021, section 3.2), if the model has any."""
    from torchvision.models.vision_transformer import VisionTransformer, interpolate_embeddings

    if not isinstance(model, VisionTransformer) or "encoder.pos_embedding" not in state:
        return state
    return interpolate_embeddings(model.image_size, model.patch_size, state)  # type: ignore[no-any-return]
