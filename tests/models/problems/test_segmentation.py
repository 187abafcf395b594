import math

import pytest
import torch
from torch import Tensor

from models.problems.segmentation import Segmentation

PROBLEM = Segmentation()
PLAIN = Segmentation(dice_weight=0)


def mask(*rows: list[int]) -> Tensor:
    """One image, uint8 [1, H, W]."""
    return torch.tensor([rows], dtype=torch.uint8)


def answered(*rows: list[int], classes: int = 4, sure: float = 30.0) -> Tensor:
    """Outputs [1, classes, H, W] that answer so."""
    return sure * torch.nn.functional.one_hot(torch.tensor([rows]), classes).movedim(3, 1).float()


def probabilities(*pixels: list[float]) -> Tensor:
    """Outputs [1, classes, 1, W] whose softmax is this, pixel by pixel."""
    return torch.tensor(pixels).log().T[None, :, None, :]


def looked_for(*classes: int, of: int = 4) -> Tensor:
    """bool [1, classes]; the background always is."""
    return torch.tensor([[index == 0 or index in classes for index in range(of)]])


def test_the_score_is_the_mean_iou_of_the_classes_that_are_shown() -> None:
    # Background: 2 met of 3 that are it or are called so; class 1: 1 of 2. Class 2 is answered and not shown.
    answers = PROBLEM.outcomes(answered([0, 0, 1, 2]), mask([0, 0, 1, 1]), known=4)
    assert answers.tally.tolist() == [[2, 2, 2, 1, 2, 2, 0, 1, 0, 0, 0, 0]]
    assert answers.overall.tolist() == [(2 / 2 + 1 / 2) / 2]
    assert answers.answer.tolist() == [[True, True, True, False]]


def test_what_is_ignored_counts_nowhere() -> None:
    answers = PROBLEM.outcomes(answered([0, 1, 2, 3]), mask([0, 1, 255, 255]), known=4)
    assert answers.tally.tolist() == [[1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0]]
    assert PROBLEM.outcomes(answered([1, 1]), mask([255, 255]), known=4).overall.tolist() == [1]
    assert PLAIN.losses(answered([1, 1]), mask([255, 255])).tolist() == [0]


def test_an_object_that_nobody_looked_for_is_no_mistake_where_the_label_says_background() -> None:
    """But where a person saw another class, it is one."""
    outputs, truth = answered([3, 3, 2, 0]), mask([0, 1, 0, 0])
    answers = PROBLEM.outcomes(outputs, truth, 4, looked_for(1, 2))
    assert answers.tally.tolist() == [[1, 2, 2, 0, 1, 1, 0, 1, 0, 0, 1, 0]]
    # If nothing is said, what was known at that time was looked for.
    assert PROBLEM.outcomes(outputs, truth, 3).tally.tolist() == answers.tally.tolist()


def test_among_known_only_the_first_classes_compete() -> None:
    outputs = answered([0, 3, 3], sure=2.0) + answered([0, 1, 2])
    answers = PROBLEM.outcomes(outputs + answered([0, 3, 3]), mask([0, 1, 2]), known=3)
    assert (answers.overall[0], answers.among_known[0]) == (pytest.approx(1 / 3), 1)


def test_classes_that_the_network_does_not_know_are_missed() -> None:
    """As the parent is asked about new images."""
    answers = PROBLEM.outcomes(answered([0, 1, 1], classes=2), mask([0, 1, 3]), known=2)
    assert answers.tally.tolist() == [[1, 1, 1, 1, 2, 1, 0, 0, 0, 0, 1, 1]]


def test_the_loss_is_cross_entropy_and_dice() -> None:
    outputs, truth = probabilities([0.25, 0.75], [0.25, 0.75]), mask([0, 1])
    cross_entropy = -(math.log(0.25) + math.log(0.75)) / 2
    assert PLAIN.losses(outputs, truth).item() == pytest.approx(cross_entropy)
    # Class 1 is shown by one pixel and answered with 1.5, of which 0.75 are right; one is added above and below.
    dice = (2 * 0.75 + 1) / (1.5 + 1 + 1)
    assert PROBLEM.losses(outputs, truth).item() == pytest.approx(cross_entropy + 1 - dice)


def test_a_background_stands_for_all_that_nobody_looked_for() -> None:
    """Cermelli et al. (2020): "background or a class that was not looked for" is what the label means."""
    outputs = probabilities([0.1, 0.2, 0.3, 0.4])
    assert PLAIN.losses(outputs, mask([0]), labelled_for=looked_for(1)).item() == pytest.approx(-math.log(0.8))
    assert PLAIN.losses(outputs, mask([0]), labelled_for=looked_for(1, 2, 3)).item() == pytest.approx(-math.log(0.1))
    assert PLAIN.losses(outputs, mask([1]), labelled_for=looked_for(1)).item() == pytest.approx(-math.log(0.2))
    at_its_word = Segmentation(dice_weight=0, pseudo_labels=None)
    assert at_its_word.losses(outputs, mask([0]), labelled_for=looked_for(1)).item() == pytest.approx(-math.log(0.1))


def test_the_champion_fills_in_what_nobody_looked_for() -> None:
    """It knows classes 0 to 2; class 3 is new, and alone was looked for."""
    teacher = probabilities(
        [0.9, 0.1, 0.0],  # it is sure that there is nothing
        [0.1, 0.8, 0.1],  # it is sure of class 1
        [0.4, 0.3, 0.3],  # it does not know
        [0.0, 1.0, 0.0],  # a person saw class 3
        [0.0, 1.0, 0.0],  # a person could not tell
    )
    filled, looked = PROBLEM.complete(mask([0, 0, 0, 3, 255]), looked_for(3), teacher)
    assert filled.tolist() == [[[0, 1, 255, 3, 255]]]
    assert filled.dtype == torch.uint8
    assert looked.tolist() == [[True, True, True, True]]


def test_what_a_person_looked_for_is_not_asked_of_the_champion() -> None:
    """An image labelled for class 1 shows none where the mask says background, whatever the champion thinks."""
    filled, looked = PROBLEM.complete(mask([0, 0]), looked_for(1), probabilities([0.1, 0.9, 0.0], [0.1, 0.0, 0.9]))
    assert filled.tolist() == [[[0, 2]]]
    assert looked.tolist() == [[True, True, True, False]]


def test_nothing_is_filled_in_if_everything_was_looked_for_or_nobody_asks_for_it() -> None:
    teacher = probabilities([0.0, 1.0, 0.0])
    assert PROBLEM.complete(mask([0]), None, teacher)[0].tolist() == [[[0]]]
    assert PROBLEM.complete(mask([0]), looked_for(1, 2, 3), teacher)[0].tolist() == [[[0]]]
    assert not Segmentation(pseudo_labels=None).completes


def test_what_is_kept_is_measured_where_nobody_looked_and_the_champion_is_sure() -> None:
    """It knows classes 1 and 2; class 3 is new, and alone was looked for."""
    one, two, nothing = [0.1, 0.9, 0.0], [0.1, 0.0, 0.9], [0.9, 0.1, 0.0]
    teacher = probabilities(one, one, one, two, nothing, [0.4, 0.3, 0.3], one)
    answers, truth = answered([1, 1, 0, 0, 1, 1, 1], classes=4), mask([0, 0, 0, 0, 0, 0, 3])
    kept = PROBLEM.kept(answers, truth, looked_for(3), teacher)
    # Of class 1 two of three pixels are seen, and one where there is none; of class 2 nothing is left. What the
    # champion is unsure of counts nowhere, and what a person saw neither.
    assert kept.tolist() == [[pytest.approx(math.nan, nan_ok=True), pytest.approx(2 / 4), 0]]
    assert PROBLEM.kept(answers, truth, looked_for(1, 2, 3), teacher).isnan().all()
    assert PROBLEM.kept(answers, truth, None, teacher).isnan().all()
    at_its_word = Segmentation(pseudo_labels=None)
    torch.testing.assert_close(at_its_word.kept(answers, truth, looked_for(3), teacher), kept, equal_nan=True)


def test_a_speck_that_the_champion_sees_is_passed_over() -> None:
    teacher = probabilities(*[[0.1, 0.9]] * 2, *[[0.9, 0.1]] * 998)
    assert PROBLEM.kept(teacher, mask([0] * 1000), looked_for(2), teacher).isnan().all()


def test_the_rim_of_an_object_that_a_person_labelled_is_passed_over() -> None:
    """Class 2 is looked for; the champion takes it for class 1, and its rim as well. An object beside it counts."""
    outputs, one = answered([0, 0, 0, 2, 2, 2], classes=3), [0.1, 0.9]
    rim = PROBLEM.kept(outputs, mask([0, 0, 0, 2, 2, 2]), looked_for(2), probabilities(*[one] * 6))
    assert rim.isnan().all()
    beside = PROBLEM.kept(outputs, mask([0, 0, 0, 0, 2, 2]), looked_for(2), probabilities(*[one] * 6))
    assert beside[0, 1] == 0


def test_logits_that_differ_by_a_constant_are_the_same_answer() -> None:
    outputs = probabilities([0.2, 0.3, 0.5], [0.1, 0.1, 0.8])
    assert PROBLEM.distance(outputs + 7, outputs).item() == pytest.approx(0, abs=1e-6)


def test_a_new_class_may_take_the_place_of_what_the_champion_takes_for_background() -> None:
    """Class 2 is new: answered instead of the background it costs nothing, instead of class 1 it does."""
    teacher = probabilities([0.8, 0.2])
    assert PROBLEM.distance(probabilities([0.1, 0.2, 0.7]), teacher).item() == pytest.approx(0, abs=1e-6)
    instead = 0.8 * math.log(0.8 / 0.9) + 0.2 * math.log(0.2 / 0.1)
    assert PROBLEM.distance(probabilities([0.8, 0.1, 0.1]), teacher).item() == pytest.approx(instead)


def test_report_and_classes_are_those_of_the_sums() -> None:
    answers = PROBLEM.outcomes(answered([0, 0, 1, 2]), mask([0, 0, 1, 1]), known=4)
    sums, names = answers.tally.sum(axis=0), ["background", "cat", "dog", "cow"]
    assert PROBLEM.per_class(sums, names) == {"background": 1, "cat": 0.5}
    assert PROBLEM.report(sums, names) == {"pixel_accuracy": 0.75, "mean_dice": pytest.approx((1 + 2 / 3) / 2)}
