from dataclasses import replace

import pytest
import torch

from models import minibatches
from models.augmentation import Augmentation
from models.budget import Budget
from models.compute import Compute
from models.minibatches import BatchSampler, Permutation, class_weights, expected_log_prior
from tests.models.datasets import shaded


@pytest.mark.parametrize("resident", [2**30, 0], ids=["in working memory", "from disk"])
def test_an_epoch_visits_every_new_image_once_over_all_pools(resident: int, monkeypatch) -> None:
    monkeypatch.setattr(minibatches, "RESIDENT_BYTES", resident)
    drawn = BatchSampler((shaded([0] * 6), shaded([1] * 2, first=6)), None, Budget(batch_size=4), 2, seed=1)
    steps = [drawn.minibatch(n) for n in range(4)]
    for epoch in (steps[:2], steps[2:]):
        images = torch.cat([s.images[:, 0, 0, 0] for s in epoch])
        targets = torch.cat([s.targets for s in epoch])
        assert sorted(images.tolist()) == list(range(8))
        assert targets.tolist() == (images >= 6).long().tolist()


def test_images_from_disk_are_those_from_working_memory(monkeypatch) -> None:
    def drawn() -> BatchSampler:
        return BatchSampler(
            (shaded([0] * 6), shaded([1] * 7, first=6)), shaded([2] * 3, first=20), Budget(batch_size=4), 3, seed=1
        )

    near = [drawn().minibatch(n) for n in range(5)]
    monkeypatch.setattr(minibatches, "RESIDENT_BYTES", 0)
    far = [drawn().minibatch(n) for n in range(5)]
    assert all(
        torch.equal(a.images, b.images) and torch.equal(a.targets, b.targets) for a, b in zip(near, far, strict=True)
    )


def test_replayed_images_stand_behind_the_new_ones() -> None:
    step = BatchSampler(
        (shaded([0] * 8),), shaded([1] * 3, first=100), Budget(batch_size=4, replay_batch_size=5), 2, seed=1
    ).minibatch(0)
    assert step.n_new == 4
    assert step.targets.tolist() == [0] * 4 + [1] * 5
    assert min(step.images[4:, 0, 0, 0].tolist()) >= 100


def test_a_step_depends_on_its_number_and_the_seed_alone() -> None:
    visits, again = Permutation(10, 4, seed=3), Permutation(10, 4, seed=3)
    in_order = [visits.at(n).tolist() for n in range(9)]
    assert [again.at(n).tolist() for n in reversed(range(9))] == in_order[::-1]
    assert in_order != [Permutation(10, 4, seed=4).at(n).tolist() for n in range(9)]


def test_a_visit_larger_than_everything_goes_round_more_than_once() -> None:
    visited = Permutation(3, 7, seed=0).at(0).tolist()
    assert sorted(visited[:3]) == sorted(visited[3:6]) == [0, 1, 2]
    assert visited[6] in (0, 1, 2)


def test_several_processes_share_each_step() -> None:
    budget = Budget(batch_size=4, replay_batch_size=2)
    seen = (shaded([0] * 8),), shaded([1] * 4, first=100), budget, 2, 1
    whole = BatchSampler(*seen).minibatch(3)
    parts = [BatchSampler(*seen, compute=Compute(rank=rank, processes=2)).minibatch(3) for rank in range(2)]
    together = torch.cat([part.images[:, 0, 0, 0] for part in parts])
    assert sorted(together.tolist()) == sorted(whole.images[:, 0, 0, 0].tolist())
    assert [part.n_new for part in parts] == [2, 2]


def test_the_prior_is_each_classs_share_of_a_step() -> None:
    prior = expected_log_prior(
        (shaded([0, 0, 0, 1]),), shaded([2, 2]), Budget(batch_size=60, replay_batch_size=20), 4
    ).exp()
    assert prior.tolist() == pytest.approx([45 / 80, 15 / 80, 20 / 80, 1e-6])


def test_weights_make_every_class_count_alike() -> None:
    share = torch.tensor([45 / 80, 15 / 80, 20 / 80, 1e-6])
    weights = class_weights(share.log())
    assert (weights * share)[:3].tolist() == pytest.approx([1 / 3] * 3)
    assert weights[3] == 0


@pytest.mark.parametrize(("imbalance", "prior", "weight"), [("prior", 1, 0), ("weights", 0, 1), ("none", 0, 0)])
def test_imbalance_is_handled_one_way_or_not_at_all(imbalance: str, prior: int, weight: int) -> None:
    step = BatchSampler((shaded([0, 0, 1]),), None, Budget(batch_size=3), 2, seed=0, imbalance=imbalance).minibatch(0)
    assert (step.log_prior is not None, step.weight is not None) == (bool(prior), bool(weight))


def test_scarcity_favours_a_class_of_few_different_images() -> None:
    seen = (shaded([0] * 16),), shaded([1] * 4, first=100), Budget(batch_size=8, replay_batch_size=8), 2
    assert expected_log_prior(*seen).exp().tolist() == pytest.approx([0.5, 0.5])
    assert expected_log_prior(*seen, 0.5).exp().tolist() == pytest.approx([4 / 6, 2 / 6])


def test_a_blended_step_says_with_what() -> None:
    drawn = BatchSampler(
        (shaded([0, 1] * 4),), None, Budget(batch_size=8), 2, seed=1, augmentation=Augmentation(mixup_alpha=0.5)
    )
    step = drawn.minibatch(0)
    assert sorted(step.partner_targets.tolist()) == [0] * 4 + [1] * 4
    assert step.mixup_lambda.min() >= 0.5
    assert step.images.is_floating_point()


def test_what_was_answered_when_an_image_was_stored_comes_with_it() -> None:
    memory = replace(shaded([1, 0, 1], first=100), outputs=torch.tensor([[0.0, 0.1], [1.0, 1.1], [2.0, 2.1]]))
    step = BatchSampler((shaded([0] * 8),), memory, Budget(batch_size=4, replay_batch_size=3), 2, seed=1).minibatch(0)
    stored = {100 + n: answer for n, answer in enumerate(memory.outputs.tolist())}
    assert step.remembered.tolist() == [stored[grey] for grey in step.images[4:, 0, 0, 0].tolist()]
