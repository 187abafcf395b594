"""Contract of every problem in the catalogue: what strategies, gates and the training loop count on."""

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from torch import Tensor

from models.catalogue import ProblemChoice
from models.problems.base import Answers, Problem, names_of
from tests.models.catalogue import listed
from tests.models.problems.examples import CLASSES, IMAGES, SIDE, outputs_at_random, sure_of, targets_of

every_problem = pytest.mark.parametrize("problem", listed(ProblemChoice), ids=lambda problem: problem.name)
random, targets = outputs_at_random, targets_of


def perfect(problem: Problem) -> Tensor:
    """The outputs of a network that is sure of every image, and right."""
    return sure_of(problem, targets(problem))


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
    outputs = random(problem).requires_grad_()
    losses = problem.losses(outputs, targets(problem), log_prior)
    assert losses.shape == (IMAGES,)
    assert losses.isfinite().all()
    losses.sum().backward()
    assert outputs.grad.isfinite().all()
    assert outputs.grad.flatten(1).any(dim=1).all()  # No image is left out.


@every_problem
def test_the_loss_of_an_image_does_not_depend_on_the_others(problem: Problem) -> None:
    outputs, order = random(problem), torch.randperm(IMAGES, generator=torch.Generator().manual_seed(1))
    losses = problem.losses(outputs, targets(problem), prior())
    torch.testing.assert_close(problem.losses(outputs[order], targets(problem)[order], prior()), losses[order])
    torch.testing.assert_close(problem.losses(outputs[:1], targets(problem)[:1], prior()), losses[:1])


@every_problem
def test_the_loss_is_the_weighted_mean_of_the_losses(problem: Problem) -> None:
    outputs, weight = random(problem), torch.linspace(0, 3, IMAGES)
    losses = problem.losses(outputs, targets(problem), prior())
    torch.testing.assert_close(problem.loss(outputs, targets(problem), prior()), losses.mean())
    weighted = (losses * weight).sum() / weight.sum()
    torch.testing.assert_close(problem.loss(outputs, targets(problem), prior(), weight), weighted)


@every_problem
def test_who_descends_the_loss_comes_to_answer_right(problem: Problem) -> None:
    outputs = random(problem).requires_grad_()
    descent = torch.optim.Adam([outputs], lr=0.1)
    before = problem.loss(outputs, targets(problem)).item()
    for _ in range(100):
        descent.zero_grad()
        problem.loss(outputs, targets(problem)).backward()
        descent.step()
    assert problem.loss(outputs, targets(problem)).item() < before / 2
    assert problem.scores_of(problem.outcomes(outputs.detach(), targets(problem), CLASSES))[0] > 0.95


@every_problem
def test_a_prior_asks_more_where_a_class_is_rare(problem: Problem) -> None:
    """What the step holds little of must be answered the more clearly; so the step's frequencies are not learned."""
    if not problem.prior:
        pytest.skip(f"{problem.name} does not correct for frequencies")
    plain, corrected = (problem.losses(torch.zeros(IMAGES, CLASSES), targets(problem), p) for p in (None, prior()))
    rare = targets(problem) == CLASSES - 1
    assert (corrected[rare] > plain[rare]).all()
    assert (corrected[targets(problem) == 0] < plain[targets(problem) == 0]).all()


def distances(problem: Problem) -> list:
    return [
        problem.distance,
        *(lambda student, teacher, t=t: problem.divergence(student, teacher, t) for t in (1.0, 2.0, 10.0)),
    ]


@every_problem
def test_a_student_that_answers_as_its_teacher_is_at_no_distance_from_it(problem: Problem) -> None:
    for distance in distances(problem):
        found = distance(random(problem), random(problem))
        assert found.ndim == 0
        assert found.item() == pytest.approx(0, abs=1e-5)
        assert distance(random(problem), random(problem, seed=1)).item() > 1e-4


@every_problem
def test_the_way_to_the_teacher_can_be_descended_and_the_teacher_stays(problem: Problem) -> None:
    for distance in distances(problem):
        student, teacher = random(problem).requires_grad_(), random(problem, seed=1)
        before = distance(student, teacher)
        before.backward()
        assert student.grad.isfinite().all()
        assert student.grad.any()
        nearer = (student - 0.1 * student.grad).detach()
        assert distance(nearer, teacher) < before


@every_problem
def test_classes_that_the_teacher_does_not_know_are_no_part_of_the_distance(problem: Problem) -> None:
    """While the student does not answer with them: for pixels they may take the place of the background alone."""
    student, teacher = random(problem), random(problem, seed=1)
    for distance in distances(problem):
        grown = torch.cat([student, random(problem, 2, seed=2) - 1e3], dim=1)
        torch.testing.assert_close(distance(grown, teacher), distance(student, teacher))


@every_problem
def test_perfect_answers_score_one_and_the_worst_score_zero(problem: Problem) -> None:
    right = problem.outcomes(perfect(problem), targets(problem), CLASSES)
    assert problem.scores_of(right) == (1, 1)
    shown = (
        targets(problem).tolist()
        if not problem.dense
        else [[c in (0, n % CLASSES) for c in range(CLASSES)] for n in range(IMAGES)]
    )
    assert right.answer.tolist() == shown
    assert right.confidence == pytest.approx(1, abs=1e-3)
    wrong = problem.outcomes(perfect(problem), (targets(problem) + 1) % CLASSES, CLASSES)
    assert problem.scores_of(wrong) == (0, 0)
    assert problem.loss(perfect(problem), targets(problem)) < problem.loss(random(problem), targets(problem))


@every_problem
@pytest.mark.parametrize("known", [1, 2, CLASSES])
def test_outcomes_are_a_row_an_image_in_range(problem: Problem, known: int) -> None:
    found = problem.outcomes(random(problem), targets(problem), known)
    for values in (found.confidence, found.overall, found.among_known):
        assert values.shape == (IMAGES,)
    if problem.dense:
        assert found.answer.shape == (IMAGES, CLASSES)
        assert found.answer.any(axis=1).all()
    else:
        assert set(found.answer.tolist()) <= set(range(CLASSES))
    for values in (found.confidence, found.overall, found.among_known):
        assert ((values >= 0) & (values <= 1)).all()
    if not problem.dense:  # Fewer classes that compete make no answer worse, of images whose class is among them.
        there = (targets(problem) < known).numpy()
        assert (found.among_known >= found.overall)[there].all()
    if known == CLASSES:
        assert (found.among_known == found.overall).all()


@every_problem
def test_the_outcome_of_an_image_does_not_depend_on_the_others(problem: Problem) -> None:
    whole = problem.outcomes(random(problem), targets(problem), 2)
    parts = [problem.outcomes(random(problem)[n : n + 1], targets(problem)[n : n + 1], 2) for n in range(IMAGES)]
    together = Answers.together(parts)
    for name in ("answer", "confidence", "overall", "among_known", "tally", "tally_known"):
        assert getattr(together, name) == pytest.approx(getattr(whole, name))


@every_problem
def test_outputs_that_are_no_numbers_are_told_as_wrong(problem: Problem) -> None:
    """A training that diverged is an update to refuse, not a failure."""
    for value in (torch.nan, torch.inf, -torch.inf):
        outputs = perfect(problem)
        outputs[0] = value
        found = problem.outcomes(outputs, targets(problem), CLASSES)
        assert (found.overall[0], found.among_known[0], found.confidence[0]) == (0, 0, 0)
        assert (found.overall[1:] == 1).all()


@every_problem
def test_the_score_is_one_number_of_any_rows_of_outcomes(problem: Problem) -> None:
    """A gate resamples: images are left out, come twice, and stand in another order."""
    answers = problem.outcomes(random(problem), targets(problem), CLASSES)
    rows = np.stack([answers.overall, np.ones(IMAGES)], axis=1) if answers.tally is None else answers.tally
    score = problem.score_of(rows)
    assert score == pytest.approx(problem.scores_of(answers)[0])
    assert problem.score_of(rows[::-1]) == pytest.approx(score)
    assert problem.score_of(np.concatenate([rows, rows])) == pytest.approx(score)
    dice = np.random.default_rng(0)
    drawn = torch.from_numpy(np.stack([dice.choice(rows, 7).sum(axis=0) for _ in range(20)])).requires_grad_()
    scores = problem.score(drawn)
    assert scores.shape == (20,)
    assert ((scores >= 0) & (scores <= 1)).all()
    # How much an image counts is read from the gradient; sums that are twice as large score the same.
    gradient = torch.autograd.grad(scores.sum(), drawn)[0]
    assert gradient.isfinite().all()
    assert (gradient * drawn).sum(dim=1).abs().max() < 1e-9


@every_problem
def test_what_is_said_of_classes_comes_from_tallies_alone(problem: Problem) -> None:
    answers = problem.outcomes(perfect(problem), targets(problem), CLASSES)
    if answers.tally is None:
        pytest.skip(f"the score of {problem.name} is a mean over images")
    names = [f"class {n}" for n in range(CLASSES)]
    of_images = problem.by_class(answers.tally)
    assert of_images.shape == (IMAGES, CLASSES)
    assert np.array_equal(~np.isnan(of_images), answers.answer)
    assert np.nanmin(of_images) == 1
    assert problem.per_class(answers.tally.sum(axis=0), names) == dict.fromkeys(names, 1.0)
    assert set(problem.report(answers.tally.sum(axis=0), names).values()) == {1.0}


@every_problem
def test_classes_can_be_added(problem: Problem) -> None:
    """A network that knows more classes, and gives the new ones no chance, is the network of before."""
    places = (SIDE, SIDE) if problem.dense else ()
    grown = torch.cat([random(problem), torch.full((IMAGES, 3, *places), -50.0)], dim=1)
    before, after = (problem.outcomes(outputs, targets(problem), CLASSES) for outputs in (random(problem), grown))
    for name in ("confidence", "overall", "among_known"):
        assert getattr(after, name) == pytest.approx(getattr(before, name))
    assert names_of(after.answer, "abcdefg") == names_of(before.answer, "abcdefg")
    torch.testing.assert_close(
        problem.losses(grown, targets(problem)), problem.losses(random(problem), targets(problem))
    )
    # What they take is taken from `overall` alone: among the classes of before nothing is forgotten.
    grown[:, CLASSES:] = 50.0
    taken = problem.outcomes(grown, targets(problem), CLASSES)
    assert problem.scores_of(taken) == (pytest.approx(0), pytest.approx(problem.scores_of(before)[1]))
    assert taken.among_known == pytest.approx(before.among_known)


@every_problem
def test_chance_is_a_score_and_what_outputs_at_random_score_on_average(problem: Problem) -> None:
    assert problem.chance(targets(problem), 0) == 0
    for known in range(1, CLASSES + 1):
        assert 0 <= problem.chance(targets(problem), known) <= 1
    answers = [problem.outcomes(random(problem, seed=n), targets(problem), CLASSES) for n in range(300)]
    scores = [problem.scores_of(one)[0] for one in answers]
    assert problem.chance(targets(problem), CLASSES) == pytest.approx(np.mean(scores), abs=0.03)
