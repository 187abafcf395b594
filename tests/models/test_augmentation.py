import math

import pytest
import torch
from torch import Tensor

from dataset.archive import ImageDataset
from models.augmentation import Augmentation
from models.budget import Budget
from models.minibatches import BatchSampler
from tests.models.datasets import coloured


def pictures(count: int = 1, height: int = 8, width: int = 8) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8, generator=generator)


@pytest.fixture
def drawn(monkeypatch):
    """`drawn(rotate=1, shift=(0, 0.5))`: torch draws these shares of what is allowed, -1..1, and a mirror or none."""

    def fix(rotate: float = 0, scale: float = 0, shift: tuple[float, float] = (0, 0), mirror: bool = False) -> None:
        def rand(*shape: int) -> Tensor:
            if len(shape) == 1:
                return torch.full(shape, 0.0 if mirror else 0.9)
            return ((torch.tensor([rotate, scale, *shift]) + 1) / 2)[:, None].expand(shape).clone()

        monkeypatch.setattr(torch, "rand", rand)

    return fix


def same(one: Tensor, other: Tensor) -> None:
    torch.testing.assert_close(one, other.float(), atol=0.05, rtol=0)


def test_nothing_is_done_unless_it_is_asked_for() -> None:
    assert not Augmentation().active
    step = BatchSampler((coloured(4, 1),), None, Budget(batch_size=4), 2, seed=0).minibatch(0)
    assert step.images.dtype == torch.uint8


@pytest.mark.parametrize("field", [{"flip": True}, {"rotate": 5}, {"translate": 0.1}, {"scale": 0.1}])
def test_every_kind_of_change_makes_it_active(field: dict) -> None:
    changed = Augmentation(**field)
    assert changed.active
    step = BatchSampler((coloured(4, 1),), None, Budget(batch_size=4), 2, seed=0, augmentation=changed).minibatch(0)
    assert step.images.dtype == torch.float32


def test_mirrored_is_left_to_right(drawn) -> None:
    drawn(mirror=True)
    same(Augmentation(flip=True)(pictures(2, 6, 9)), pictures(2, 6, 9).flip(3))


def test_half_of_the_images_are_mirrored_and_the_others_left() -> None:
    torch.manual_seed(0)
    images = pictures().expand(400, -1, -1, -1)
    changed = Augmentation(flip=True)(images)
    mirrored = [not torch.allclose(one, images[0].float(), atol=0.05) for one in changed]
    for one, turned in zip(changed, mirrored, strict=True):
        same(one, images[0].flip(2) if turned else images[0])
    assert 160 < sum(mirrored) < 240


@pytest.mark.parametrize(("way", "quarter"), [(1, 1), (-1, -1)])
def test_a_quarter_turn_is_a_quarter_turn(way: float, quarter: int, drawn) -> None:
    drawn(rotate=way)
    same(Augmentation(rotate=90)(pictures()), torch.rot90(pictures(), quarter, (2, 3)))


def test_half_a_turn_of_a_picture_that_is_not_square_stays_in_it(drawn) -> None:
    drawn(rotate=1)
    same(Augmentation(rotate=180)(pictures(1, 6, 10)), torch.rot90(pictures(1, 6, 10), 2, (2, 3)))


@pytest.mark.parametrize(("height", "width"), [(41, 41), (41, 81), (81, 41)])
def test_a_turned_disc_is_still_a_disc(height: int, width: int, drawn) -> None:
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    disc = (((rows - height // 2) ** 2 + (columns - width // 2) ** 2) < 15**2).to(torch.uint8)[None, None] * 255
    drawn(rotate=0.5)
    changed = Augmentation(rotate=90)(disc)
    assert (changed - disc).abs().mean() < 5  # only the edge differs
    bar = ((rows - height // 2).abs() < 2).to(torch.uint8)[None, None] * 255
    along = torch.nonzero(Augmentation(rotate=90)(bar)[0, 0] > 200).double()
    along = along[(along - along.mean(dim=0)).norm(dim=1) < 15]
    slope = float(torch.linalg.svd(along - along.mean(dim=0))[2][0].abs()[0])
    assert slope == pytest.approx(math.sin(math.radians(45)), abs=0.03)


@pytest.mark.parametrize(("down", "right"), [(2, 0), (0, 3), (-2, 1)])
def test_moved_by_whole_pixels_the_pixels_are_the_same_and_the_border_repeats(down: int, right: int, drawn) -> None:
    height, width = 8, 12
    # The window moves over the picture, so its content moves the other way.
    drawn(shift=(right / width / 0.5, down / height / 0.5))
    rows = (torch.arange(height) + down).clamp(0, height - 1)
    columns = (torch.arange(width) + right).clamp(0, width - 1)
    expected = pictures(1, height, width)[:, :, rows][:, :, :, columns]
    same(Augmentation(translate=0.5)(pictures(1, height, width)), expected)


def test_enlarged_the_middle_fills_the_frame(drawn) -> None:
    drawn(scale=1)
    block = torch.zeros(1, 1, 20, 20, dtype=torch.uint8)
    block[:, :, 5:15, 5:15] = 200
    area = Augmentation(scale=0.5)(block).sum() / block.sum()
    assert float(area) == pytest.approx(1.5**2, rel=0.03)


def test_equal_seeds_change_alike_and_every_image_has_its_own_draw() -> None:
    everything = Augmentation(flip=True, rotate=20, translate=0.2, scale=0.2)
    images = pictures().expand(6, -1, -1, -1)
    torch.manual_seed(3)
    first, following = everything(images), everything(images)
    torch.manual_seed(3)
    assert torch.equal(everything(images), first)
    assert not torch.equal(following, first)
    assert all(not torch.equal(first[i], first[j]) for i in range(6) for j in range(i))


def test_no_value_leaves_the_range_of_a_pixel() -> None:
    torch.manual_seed(0)
    changed = Augmentation(flip=True, rotate=180, translate=0.5, scale=0.9)(pictures(50))
    assert 0 <= float(changed.min()) <= float(changed.max()) <= 255


def test_what_was_replayed_is_changed_as_well() -> None:
    def grey(dataset: ImageDataset) -> ImageDataset:
        dataset.pixels[0][:, :, :2] += 9
        return dataset

    torch.manual_seed(0)
    seen = (grey(coloured(4, 1)),), grey(coloured(3, 0)), Budget(batch_size=2, replay_batch_size=2), 2, 0
    plain, changed = (
        BatchSampler(*seen).minibatch(0),
        BatchSampler(*seen, augmentation=Augmentation(translate=0.4)).minibatch(0),
    )
    assert torch.equal(plain.targets, changed.targets)
    assert all(not torch.equal(one.float(), other) for one, other in zip(plain.images, changed.images, strict=True))


def test_a_blend_is_mostly_the_image_itself() -> None:
    torch.manual_seed(0)
    images = torch.randint(0, 256, (50, 1, 3, 3), dtype=torch.uint8)
    blended, partner, share = Augmentation(mixup_alpha=0.5).blend(images)
    assert sorted(partner.tolist()) == list(range(50))
    assert share.min() >= 0.5
    assert share.max() <= 1
    weight = share.view(-1, 1, 1, 1)
    torch.testing.assert_close(blended, weight * images.float() + (1 - weight) * images[partner].float())


def test_blends_follow_torchs_seed() -> None:
    images = torch.zeros(5, 1, 2, 2)
    torch.manual_seed(3)
    first = Augmentation(mixup_alpha=0.5).blend(images)
    torch.manual_seed(3)
    assert all(torch.equal(a, b) for a, b in zip(first, Augmentation(mixup_alpha=0.5).blend(images), strict=True))
