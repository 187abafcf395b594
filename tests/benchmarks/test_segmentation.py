"""The nights with masks that strategies are compared on: what is measured of a version, and the row it becomes."""

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks import page, segmentation
from benchmarks.mask_archive import MaskArchive
from dataset.streams.canvases import Canvases
from dataset.streams.digits_on_canvas import NIGHTS
from models.learner import Learner
from models.problems.segmentation import Segmentation
from records.snapshot import InputSpec
from tasks.params.params import read_params

SPEC = InputSpec(channels=1, height=64, width=64, mean=(0.5,), std=(0.2,))


class Certain(Learner):
    """Answers class index 1 everywhere."""

    def __init__(self) -> None:
        self.classes = ("background", "3")

    def outputs(self, images: Tensor, device: torch.device | str = "cpu") -> Tensor:
        return torch.tensor([0.0, 1.0]).view(1, 2, 1, 1).expand(len(images), 2, *images.shape[2:])


def test_held_out_canvases_are_measured_class_by_class_without_what_is_not_known() -> None:
    digits = np.zeros((1, 64, 64), np.uint8)
    digits[0, :16] = 1 + 3
    digits[0, 16:32] = 1 + 7
    found = segmentation.ious(Certain(), Canvases(np.zeros_like(digits), digits), Segmentation())
    # Of three quarters that count, one is of class 3, and all are answered 3.
    assert found == {"background": 0.0, "3": pytest.approx(1 / 3, abs=1e-5)}


def test_a_batch_is_labelled_for_its_own_classes_alone() -> None:
    archive = MaskArchive([NIGHTS[1]], 0.3)
    (experience,) = archive.experiences()
    assert experience.classes == ("4", "5")
    assert experience.train + experience.test == 500
    dataset = archive.dataset([experience], "train", ("background", "0", "4", "5"), SPEC)
    assert dataset.labelled_for is not None
    assert dataset.labelled_for.unique(dim=0).tolist() == [[True, False, True, True]]
    assert dataset.targets(torch.arange(len(dataset))).unique().tolist() == [0, 2, 3]


def test_every_case_is_parameters() -> None:
    names = [
        read_params(segmentation.TEMPLATE, dict(changed)).update.strategy.name
        for changed in segmentation.CASES.values()
    ]
    assert names == ["finetune", "replay", "replay", "replay_distillation", "joint"]


def test_a_row_is_the_mean_of_its_seeds() -> None:
    line = {"system": "segmentation", "case": "replay", "old": 0.5, "new": 0.25, "cpu_seconds": [10.0, 20.0]}
    lines = [
        {**line, "miou": 0.4, "verdict": ["accept", "accept", "refuse", "inconclusive", "refuse"]},
        {**line, "miou": 0.6, "verdict": ["accept"] * 5},
    ]
    assert page.segmentation_rows(lines) == ["| replay | 50.0 ± 14.1 | 50.0 ± 0.0 | 25.0 ± 0.0 | 5 | 2 | 1 | 15 |"]
