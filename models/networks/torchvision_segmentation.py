"""Any segmentation network of torchvision by its name, from nothing or from weights that others have trained.

LR-ASPP (Howard et al. 2019, "Searching for MobileNetV3"), DeepLabV3 (Chen et al. 2017, "Rethinking Atrous Convolution
for Semantic Image Segmentation") and FCN (Long et al. 2015). The last 1 x 1 convolution is taken off; what it was fed
are the features, a map of an eighth of the image's size. A head that grows takes its place.
"""

import contextlib
from functools import cache
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.networks.base import Recipe
from models.networks.pretrained import Body, check_model, check_weights, features_of, fill, weights_of
from records.snapshot import InputSpec


class TorchvisionSegmentation(Recipe):
    """A segmentation network of torchvision without its last layer. Its auxiliary classifier is not used."""

    dense: ClassVar[bool] = True
    name: Literal["torchvision_segmentation"] = "torchvision_segmentation"
    model: str = "lraspp_mobilenet_v3_large"
    """The default, deeplabv3_mobilenet_v3_large, deeplabv3_resnet50, deeplabv3_resnet101, fcn_resnet50 or
    fcn_resnet101."""
    weights: str | None = None
    """What the first night starts from, as for `torchvision`: null, the name of published weights
    (COCO_WITH_VOC_LABELS_V1, DEFAULT), or a file of one's own."""
    freeze_batch_norm: bool = True
    """Batch normalisation goes on with the statistics that came with `weights`, as for `torchvision`."""

    @property
    def begins_as_chance(self) -> bool:
        """Not from weights that others have trained."""
        return self.weights is None

    def check(self, size: int | None) -> None:
        """The model and its published weights must exist; a file of one's own is needed for the first night alone."""
        check_model(self.model, segmentation_models())
        if size is not None:
            _check_size(self, size)
        check_weights(self.model, self.weights)

    def body(self, spec: InputSpec) -> tuple[nn.Module, int]:
        """Features are what the last layer was fed. Raises `WrongParameters` if it cannot take the images."""
        from torchvision import models

        check_model(self.model, segmentation_models())
        model = models.get_model(self.model, weights=None, weights_backbone=None)
        classifier = model.classifier
        if isinstance(classifier, nn.Sequential):
            classifier[-1] = nn.Identity()
        else:
            model.classifier = FineAndCoarse(classifier.cbr, classifier.scale)
        body = DenseBody(model, self.freeze_batch_norm and self.weights is not None)
        return body, features_of(body, spec, self.model)

    def load_pretrained(self, body: nn.Module) -> None:
        """Fill a fresh body with `weights`.

        Raises `WrongParameters` if there are no such weights or they do not fit, `Unavailable` if they are not at hand.
        """
        if self.weights is not None:
            assert isinstance(body, DenseBody)
            fill(body.model, weights_of(self.model, self.weights), self.model, self.weights)


@cache
def _check_size(recipe: TorchvisionSegmentation, size: int) -> None:
    # Shapes alone: no weights are drawn.
    with torch.device("meta"), contextlib.suppress(NotImplementedError):
        recipe.body(InputSpec(channels=3, height=size, width=size, mean=(0.0,) * 3, std=(1.0,) * 3))


def segmentation_models() -> list[str]:
    """Names of torchvision's segmentation networks."""
    from torchvision import models

    found: list[str] = models.list_models(module=models.segmentation)
    return found


class DenseBody(Body):
    """Backbone, and the classifier but for its last layer."""

    def forward(self, images: Tensor) -> Tensor:
        """Features [N, D, h, w] of normalised images [N, 1 or 3, H, W]."""
        backbone, classifier = self.model.get_submodule("backbone"), self.model.get_submodule("classifier")
        maps = backbone(images.expand(-1, 3, -1, -1))
        return classifier(maps.get("out", maps))  # type: ignore[no-any-return]


class FineAndCoarse(nn.Module):
    """LR-ASPP's classifier but for its last layers: one of fine features and one of coarse features, whose sum is the
    answer. One linear layer over both, side by side, is that sum: being linear, it may come after bringing to size."""

    def __init__(self, cbr: nn.Module, scale: nn.Module) -> None:
        super().__init__()
        self.cbr, self.scale = cbr, scale

    def forward(self, maps: dict[str, Tensor]) -> Tensor:
        """Features [N, D, h, w] of the backbone's maps `low`, of an eighth of the image's size, and `high`."""
        fine, coarse = maps["low"], maps["high"]
        coarse = self.cbr(coarse) * self.scale(coarse)
        coarse = functional.interpolate(coarse, fine.shape[2:], mode="bilinear", align_corners=False)
        return torch.cat([fine, coarse], dim=1)
