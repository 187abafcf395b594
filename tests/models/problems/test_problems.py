"""Contract of every problem in the catalogue: what strategies, gates and the training loop count on."""

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from torch import Tensor

from models.catalogue import ProblemChoice
from models.problems.base import Problem
from tests.models.catalogue import listed

IMAGES, CLASSES = 24, 4
every_problem = pytest.mark.parametrize("problem", listed(ProblemChoice), ids=lambda problem: problem.name)


def random(columns: int = CLASSES, seed: int = 0) -> Tensor:
    return torch.randn(IMAGES, columns, generator=torch.Generator().manual_seed(seed))


def targets() -> Tensor:
    """Each class as often as any other."""
    return torch.arange(IMAGES) % CLASSES


def perfect() -> Tensor:
    """The outputs of a network that is sure of every image, and right."""
    return 20.0 * torch.nn.functional.one_hot(targets(), CLASSES)


def prior() -> Tensor:
    """A step that holds next to nothing of one class."""
    return torch.tensor([0.5, 0.3, 0.2, 1e-6]).log()


@every_problem
def test_it_is_read_from_what_it_is_written_as(problem: Problem) -> None:
    choice: TypeAdapter[Problem] = TypeAdapter(ProblemChoice)
    assert choice.validate_json(problem.model_dump_json()) == problem


@every_problem
@pytest.mark.parametrize("log_prior", [None, prior()], ids=["no prior", "prior"])
def test_losses_are_finite_one_an_image_and_can_be_descended(problem: Problem, log_prior: Tensor | None) -> None:
    outputs = random().requires_grad_()
    losses = problem.losses(outputs, targets(), log_prior)
    assert losses.shape == (IMAGES,)
    assert losses.isfinite().all()
    losses.sum().backward()
    assert outputs.grad.isfinite().all()
    assert outputs.grad.any(dim=1).all()  # No image is left out.


@every_problem
def test_the_loss_of_an_image_does_not_depend_on_the_others(problem: Problem) -> None:
    outputs, order = random(), torch.randperm(IMAGES, generator=torch.Generator().manual_seed(1))
    losses = problem.losses(outputs, targets(), prior())
    torch.testing.assert_close(problem.losses(outputs[order], targets()[order], prior()), losses[order])
    torch.testing.assert_close(problem.losses(outputs[:1], targets()[:1], prior()), losses[:1])


@every_problem
def test_the_loss_is_the_weighted_mean_of_the_losses(problem: Problem) -> None:
    outputs, weight = random(), torch.linspace(0, 3, IMAGES)
    losses = problem.losses(outputs, targets(), prior())
    torch.testing.assert_close(problem.loss(outputs, targets(), prior()), losses.mean())
    weighted = (losses * weight).sum() / weight.sum()
    torch.testing.assert_close(problem.loss(outputs, targets(), prior(), weight), weighted)


@every_problem
def test_who_descends_the_loss_comes_to_answer_right(problem: Problem) -> None:
    outputs = random().requires_grad_()
    descent = torch.optim.Adam([outputs], lr=0.1)
    before = problem.loss(outputs, targets()).item()
    for _ in range(100):
        descent.zero_grad()
        problem.loss(outputs, targets()).backward()
        descent.step()
    assert problem.loss(outputs, targets()).item() < before / 2
    assert problem.score(problem.outcomes(outputs.detach(), targets(), CLASSES).overall) > 0.95


@every_problem
def test_a_prior_asks_more_where_a_class_is_rare(problem: Problem) -> None:
    """What the step holds little of must be answered the more clearly; so the step's frequencies are not learned."""
    plain, corrected = (problem.losses(torch.zeros(IMAGES, CLASSES), targets(), p) for p in (None, prior()))
    rare = targets() == CLASSES - 1
    assert (corrected[rare] > plain[rare]).all()
    assert (corrected[targets() == 0] < plain[targets() == 0]).all()


def distances(problem: Problem) -> list:
    return [
        problem.distance,
        *(lambda student, teacher, t=t: problem.divergence(student, teacher, t) for t in (1.0, 2.0, 10.0)),
    ]


@every_problem
def test_a_student_that_answers_as_its_teacher_is_at_no_distance_from_it(problem: Problem) -> None:
    for distance in distances(problem):
        found = distance(random(), random())
        assert found.ndim == 0
        assert found.item() == pytest.approx(0, abs=1e-5)
        assert distance(random(), random(seed=1)).item() > 1e-4


@every_problem
def test_the_way_to_the_teacher_can_be_descended_and_the_teacher_stays(problem: Problem) -> None:
    for distance in distances(problem):
        student, teacher = random().requires_grad_(), random(seed=1)
        before = distance(student, teacher)
        before.backward()
        assert student.grad.isfinite().all()
        assert student.grad.any()
        nearer = (student - 0.1 * student.grad).detach()
        assert distance(nearer, teacher) < before


@every_problem
def test_classes_that_the_teacher_does_not_know_are_no_part_of_the_distance(problem: Problem) -> None:
    student, teacher = random(), random(seed=1)
    for distance in distances(problem):
        grown = torch.cat([student, random(2, seed=2)], dim=1)
        torch.testing.assert_close(distance(grown, teacher), distance(student, teacher))


@every_problem
def test_perfect_answers_score_one_and_the_worst_score_zero(problem: Problem) -> None:
    right = problem.outcomes(perfect(), targets(), CLASSES)
    assert problem.score(right.overall) == problem.score(right.among_known) == 1
    assert right.answer.tolist() == targets().tolist()
    assert right.confidence == pytest.approx(1, abs=1e-3)
    wrong = problem.outcomes(perfect(), (targets() + 1) % CLASSES, CLASSES)
    assert problem.score(wrong.overall) == problem.score(wrong.among_known) == 0
    assert problem.loss(perfect(), targets()) < problem.loss(random(), targets())


@every_problem
@pytest.mark.parametrize("known", [1, 2, CLASSES])
def test_outcomes_are_a_row_an_image_in_range(problem: Problem, known: int) -> None:
    found = problem.outcomes(random(), targets(), known)
    for values in (found.answer, found.confidence, found.overall, found.among_known):
        assert values.shape == (IMAGES,)
    assert set(found.answer.tolist()) <= set(range(CLASSES))
    for values in (found.confidence, found.overall, found.among_known):
        assert ((values >= 0) & (values <= 1)).all()
    # Fewer classes that compete make no answer worse, of images whose class is among them.
    there = (targets() < known).numpy()
    assert (found.among_known >= found.overall)[there].all()
    if known == CLASSES:
        assert (found.among_known == found.overall).all()


@every_problem
def test_the_outcome_of_an_image_does_not_depend_on_the_others(problem: Problem) -> None:
    whole = problem.outcomes(random(), targets(), 2)
    parts = [problem.outcomes(random()[n : n + 1], targets()[n : n + 1], 2) for n in range(IMAGES)]
    for name in ("answer", "confidence", "overall", "among_known"):
        together = np.concatenate([getattr(part, name) for part in parts])
        assert together == pytest.approx(getattr(whole, name))


@every_problem
def test_outputs_that_are_no_numbers_are_told_as_wrong(problem: Problem) -> None:
    """A training that diverged is an update to refuse, not a failure."""
    for value in (torch.nan, torch.inf, -torch.inf):
        outputs = perfect()
        outputs[0] = value
        found = problem.outcomes(outputs, targets(), CLASSES)
        assert (found.overall[0], found.among_known[0], found.confidence[0]) == (0, 0, 0)
        assert (found.overall[1:] == 1).all()


@every_problem
def test_the_score_is_one_number_of_any_rows_of_outcomes(problem: Problem) -> None:
    """A gate resamples: rows are left out, come twice, and stand in another order."""
    rows = problem.outcomes(random(), targets(), CLASSES).overall
    assert isinstance(problem.score(rows), float)
    assert problem.score(rows[::-1]) == pytest.approx(problem.score(rows))
    assert problem.score(np.concatenate([rows, rows])) == pytest.approx(problem.score(rows))
    dice = np.random.default_rng(0)
    assert all(0 <= problem.score(dice.choice(rows, 7)) <= 1 for _ in range(20))
    assert (problem.score(np.zeros(5)), problem.score(np.ones(5))) == (0, 1)
    better = np.where(np.arange(IMAGES) < 5, 1.0, rows)
    assert problem.score(better) >= problem.score(rows)


@every_problem
def test_classes_can_be_added(problem: Problem) -> None:
    """A network that knows more classes, and gives the new ones no chance, is the network of before."""
    grown = torch.cat([random(), torch.full((IMAGES, 3), -50.0)], dim=1)
    before, after = (problem.outcomes(outputs, targets(), CLASSES) for outputs in (random(), grown))
    for name in ("answer", "confidence", "overall", "among_known"):
        assert getattr(after, name) == pytest.approx(getattr(before, name))
    torch.testing.assert_close(problem.losses(grown, targets()), problem.losses(random(), targets()))
    # What they take is taken from `overall` alone: among the classes of before nothing is forgotten.
    grown[:, CLASSES:] = 50.0
    taken = problem.outcomes(grown, targets(), CLASSES)
    assert problem.score(taken.overall) == 0
    assert taken.among_known == pytest.approx(before.among_known)


@every_problem
def test_chance_is_a_score_and_what_outputs_at_random_score_on_average(problem: Problem) -> None:
    assert problem.chance(targets(), 0) == 0
    for known in range(1, CLASSES + 1):
        assert 0 <= problem.chance(targets(), known) <= 1
    scores = [problem.score(problem.outcomes(random(seed=n), targets(), CLASSES).overall) for n in range(300)]
    assert problem.chance(targets(), CLASSES) == pytest.approx(np.mean(scores), abs=0.03)
