"""Masks of real batches: as a champion sees them, and those that were learned."""

import math

import pytest
import torch

from dataset.archive import Archive
from models.learner import Learner
from models.networks.cnn import CNN
from models.networks.unet import UNet
from records.experience import Experience
from records.snapshot import InputSpec
from tasks.validate.checks.mask_issues import looked_for
from tasks.validate.embeddings import Model
from tasks.validate.validator import masks_in, masks_learned
from tasks.workspace.workspace import Workspace
from tests.dataset.deliveries.masks import lay_out, picture, png, taken

SPEC = InputSpec(channels=3, height=16, width=16, mean=(0.0,) * 3, std=(1.0,) * 3)
CLASSES = ("background", "cat", "dog")
HALF = [[1] * 8 + [0] * 8] * 16
COW = [[2] * 4 + [3] * 12] * 16


@pytest.fixture
def place(tmp_path):
    """One image with a cat in its left half, one with a cow and dogs, and one whose mask is no good."""
    workspace = Workspace(tmp_path)
    masks = {f"street/masks/{n}.png": png(mask) for n, mask in enumerate((HALF, COW, [[1]]))}
    images = {f"street/images/{n}.png": picture(n, 16, 16) for n in range(3)}
    source = lay_out(tmp_path / "in", {**images, **masks, "street/classes.txt": "background\ncat\ncow\ndog"})
    batch, rows = taken(source / "street", workspace.batches.parent)
    return workspace, batch, rows


def champion(workspace, recipe):
    """Gives cats the probability 0.8 everywhere, and the two others 0.1 each."""
    learner = Learner.fresh(recipe, SPEC, CLASSES, seed=0)
    with torch.no_grad():
        learner.network.head.weight.zero_()
        learner.network.head.bias.copy_(torch.tensor([0.0, math.log(8), 0.0]))
    learner.write(workspace.root / "version" / "snapshot")
    return Model(Archive(workspace.batches, workspace.cache), workspace.root / "version")


def test_a_champion_is_asked_about_the_classes_that_it_knows(place):
    workspace, batch, _ = place
    looked = looked_for(["", "dog"], batch.mask_classes, CLASSES)
    seen = champion(workspace, UNet(width=8)).agreement(batch.id, [0, 1], looked)
    assert seen.area.tolist() == [[128, 128, 0], [0, 0, 192]], "it knows no cows"
    assert seen.labelled[0, :2].tolist() == pytest.approx([0.1, 0.8], abs=1e-5)
    assert seen.labelled[1, 2].item() == pytest.approx(0.1, abs=1e-5)
    assert seen.likely[1, 2] == 1
    assert seen.missed_area.tolist() == [[0, 128, 0], [0, 0, 0]]
    assert seen.missed[0, 1].item() == pytest.approx(0.8, abs=1e-5)


def test_a_champion_that_answers_whole_images_says_nothing_of_masks(place):
    workspace, batch, _ = place
    looked = looked_for([""], batch.mask_classes, CLASSES)
    assert champion(workspace, CNN()).agreement(batch.id, [0], looked) is None


def test_masks_that_were_learned_are_those_that_were_not_left_out(place):
    workspace, batch, _ = place
    learned = Experience(
        batch=batch.id, digest="d", classes=("cat",), left_out=(1, 2), train=1, validation=0, test=1
    )  # fmt: skip
    found = masks_learned(workspace, [learned])
    assert list(found.ignored) == [0.0]
    assert {name: list(shares) for name, shares in found.of_class.items()} == {"cat": [0.5]}
    assert masks_learned(workspace, []).of_class == {}


def test_masks_of_an_earlier_batch_are_read_from_its_shards(place):
    workspace, batch, rows = place
    found = list(masks_in(workspace, batch.id))
    assert found == [row["annotation_id"] for row in rows]
    assert [len(one) for one in found] == [32, 32, 0]
    unmasked = batch.model_copy(update={"id": "2026-01-07-aaaaaaaa", "annotation": "", "mask_classes": ()})
    (workspace.batches / unmasked.id).mkdir()
    unmasked.write(workspace.batches / unmasked.id / "batch.json")
    assert masks_in(workspace, unmasked.id).empty
