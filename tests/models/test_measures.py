"""Three classes and six images, worked by hand, and scikit-learn on drawn ones.

image    0    1    2    3    4    5
class    a    a    a    b    b    c
answer   a    a    b    b    c    c
right    1    1    0    1    0    1

per class   a 2/3, b 1/2, c 1
F1 of a     2 * 2 / (3 images + 2 answers) = 0.8
F1 of b     2 * 1 / (2 + 2)                = 0.5
F1 of c     2 * 1 / (1 + 2)                = 2/3
macro F1    (0.8 + 0.5 + 2/3) / 3          = 0.65556
"""

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, f1_score, recall_score

from models.measures import calibration_error, macro_f1, negative_flips, per_class, positive_flips

TARGET = np.array([0, 0, 0, 1, 1, 2])
ANSWER = np.array([0, 0, 1, 1, 2, 2])
RIGHT = (TARGET == ANSWER).astype(float)


def test_classes_and_f1_equal_those_worked_by_hand() -> None:
    assert per_class(TARGET, RIGHT, ("a", "b", "c")) == pytest.approx({"a": 2 / 3, "b": 0.5, "c": 1})
    assert macro_f1(TARGET, ANSWER) == pytest.approx((0.8 + 0.5 + 2 / 3) / 3)
    matrix = [[2, 1, 0], [0, 1, 1], [0, 0, 1]]
    assert confusion_matrix(TARGET, ANSWER).tolist() == matrix


def test_a_class_without_test_images_has_no_score_and_no_f1() -> None:
    """Four classes are known and `d` is answered once, for an image of `a`: F1 of a = 2 * 1 / (3 + 1) = 0.5."""
    answer = np.array([0, 3, 1, 1, 2, 2])
    assert set(per_class(TARGET, (answer == TARGET).astype(float), ("a", "b", "c", "d"))) == {"a", "b", "c"}
    assert macro_f1(TARGET, answer) == pytest.approx((0.5 + 0.5 + 2 / 3) / 3)


@pytest.mark.parametrize("seed", range(5))
def test_f1_and_classes_equal_scikit_learn(seed: int) -> None:
    generator = np.random.default_rng(seed)
    target, answer = generator.integers(0, 9, 200), generator.integers(0, 12, 200)
    present = np.unique(target)
    assert macro_f1(target, answer) == pytest.approx(f1_score(target, answer, labels=present, average="macro"))
    recall = recall_score(target, answer, labels=present, average=None)
    shares = per_class(target, (target == answer).astype(float), [str(c) for c in range(12)])
    assert list(shares.values()) == pytest.approx(recall.tolist())


def test_calibration_error_equals_that_worked_by_hand() -> None:
    """Bins of width 1/15: 0.95 and 0.97 lie in the last (above 0.9333), 0.5 in (0.4667, 0.5333], 0.4 in (0.3333, 0.4].

    last       mean confidence 0.96, accuracy 1/2, 2 images   0.46 * 2/4 = 0.23
    0.5        accuracy 1, 1 image                            0.5 * 1/4  = 0.125
    0.4        accuracy 0, 1 image                            0.4 * 1/4  = 0.1
                                                              sum          0.455
    """
    confidence, right = np.array([0.95, 0.97, 0.5, 0.4]), np.array([1.0, 0.0, 1.0, 0.0])
    assert calibration_error(confidence, right) == pytest.approx(0.455)


def test_within_a_bin_right_and_wrong_make_up_for_each_other() -> None:
    confidence, right = np.array([0.75, 0.75, 0.75, 0.75]), np.array([1.0, 1.0, 1.0, 0.0])
    assert calibration_error(confidence, right) == pytest.approx(0)
    assert calibration_error(np.array([1.0, 0.0]), np.array([1.0, 0.0])) == 0  # both ends have a bin


def test_flips_are_counted_each_way() -> None:
    """Of five images two were lost and one was gained; the net loss, 1/5, hides two flips of three."""
    before, after = np.array([1.0, 1.0, 1.0, 0.0, 0.0]), np.array([1.0, 0.0, 0.0, 1.0, 0.0])
    assert negative_flips(before, after) == pytest.approx(0.4)
    assert positive_flips(before, after) == pytest.approx(0.2)
