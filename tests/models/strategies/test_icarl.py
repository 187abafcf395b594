import copy
from dataclasses import replace

import torch

from dataset.archive import ImageDataset
from models.networks.base import Network
from models.networks.mlp import MLP
from models.problems.classification import Classification
from models.strategies.base import TrainingContext, TrainingData, frozen
from models.strategies.icarl import SHARPNESS, ICaRL
from models.training import Plan, train
from records.snapshot import InputSpec
from tests.models.datasets import coloured, in_a_row, linear, seen

SPEC = InputSpec(channels=1, height=4, width=4, mean=(0.3,), std=(0.25,))
PLAN = Plan(budget={"min_steps": 5, "max_steps": 5, "batch_size": 4, "replay_batch_size": 4})


def fresh(classes: int) -> Network:
    torch.manual_seed(0)
    return Network(MLP(hidden=(8,)), SPEC, classes)


def nearest_means(network: Network, datasets: list[ImageDataset], images: torch.Tensor, classes: int) -> list[int]:
    """By brute force: the class whose normalised mean of normalised features is nearest to the normalised features."""
    by_class: dict[int, list[torch.Tensor]] = {c: [] for c in range(classes)}
    with torch.no_grad():
        for dataset in datasets:
            for image, target in zip(dataset.all_images(), dataset.target.tolist(), strict=True):
                feature = network.features(image[None])[0]
                by_class[target].append(feature / feature.norm())
        means = [torch.stack(features).mean(dim=0) for features in by_class.values()]
        means = [mean / mean.norm() for mean in means]
        answers = []
        for image in images:
            feature = network.features(image[None])[0]
            feature = feature / feature.norm()
            answers.append(min(range(classes), key=lambda c: float((feature - means[c]).norm())))
    return answers


def noisy(targets: list[int]) -> ImageDataset:
    """Images of 16 pixels, of the grey of their class and much noise."""
    generator = torch.Generator().manual_seed(sum(targets))
    grey = 40 * torch.tensor(targets)[:, None] + torch.randint(0, 130, (len(targets), 16), generator=generator)
    dataset = in_a_row(grey.tolist(), targets)
    return replace(dataset, pixels=(dataset.pixels[0].reshape(-1, 1, 4, 4),))


def test_the_head_answers_the_nearest_class_mean() -> None:
    context = TrainingContext(fresh(3), frozen(fresh(2)), Classification(), seed=1)
    memory, new = noisy([0, 1] * 6), noisy([2] * 6)
    train(context, ICaRL(), TrainingData(new, lambda: memory, lambda: None), PLAN)
    assert torch.equal(context.network.head.bias, torch.zeros(3))
    torch.testing.assert_close(context.network.head.weight.norm(dim=1), torch.full((3,), SHARPNESS))
    images = torch.randint(0, 256, (200, 1, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        answers = context.network(images).argmax(dim=1).tolist()
    assert len(set(answers)) == 3
    assert answers == nearest_means(context.network, [memory, new], images, 3)


def test_means_by_hand() -> None:
    context = TrainingContext(linear([[0, 0], [0, 0], [1, 1]]), None, Classification())
    ICaRL().begin(context, None)
    new, old = in_a_row([[3, 4], [0, 9]], [1, 1]), in_a_row([[7, 0]], [0])
    ICaRL().finish(context, TrainingData(new, lambda: old, lambda: None))
    middle = torch.tensor([0.6 + 0, 0.8 + 1]) / torch.tensor([0.6, 1.8]).norm()
    kept = torch.tensor([1.0, 1.0]) / 2**0.5  # no exemplar: the row it had
    expected = SHARPNESS * torch.stack([torch.tensor([1.0, 0.0]), middle, kept])
    torch.testing.assert_close(context.network.head.weight.detach(), expected)
    assert context.network(seen([[10, 1]])).argmax() == 0


def test_the_trained_head_is_taken_up_again_by_student_and_parent() -> None:
    first = TrainingContext(fresh(2), None, Classification(), seed=1)
    train(first, ICaRL(), TrainingData(coloured(4, 1), lambda: coloured(4, 0), lambda: None), PLAN)
    trained = first.state["head.weight"]
    assert not torch.equal(trained, first.network.head.weight)
    assert first.state.keys() == {"head.weight", "head.bias"}
    parent, student = frozen(copy.deepcopy(first.network)), copy.deepcopy(first.network)
    student.grow(3)
    grown = student.head.weight[2].detach().clone()
    following = TrainingContext(student, parent, Classification(), dict(first.state), seed=2)
    ICaRL().begin(following, TrainingData(coloured(4, 2), lambda: coloured(4, 0), lambda: None))
    assert torch.equal(student.head.weight[:2], trained)
    assert torch.equal(student.head.weight[2], grown)
    assert torch.equal(parent.head.weight, trained)
    assert torch.equal(parent.head.bias, first.state["head.bias"])
