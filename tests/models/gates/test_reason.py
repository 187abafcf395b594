"""The sentence of a verdict, word by word."""

from models.gates.reason import reason
from models.gates.wording import Wording
from records.verdict import ClassFinding, Finding


def of_class(label, right, kept, decision, lower=0.0):
    return ClassFinding(
        label=label, images=20, right=right, kept=kept, lower=lower, upper=1.0, limit=0.8, decision=decision
    )


def finding(question, subject, estimate, lower, upper, limit, decision, settle=None, **more):
    return Finding(
        question=question,
        subject=subject,
        estimate=estimate,
        lower=lower,
        upper=upper,
        limit=limit,
        images=100,
        decision=decision,
        images_to_settle=settle,
        **more,
    )


def test_accepted():
    findings = [
        finding("forgotten", "mean", 0.004, -0.01, 0.019, 0.03, "accept"),
        finding("forgotten", "a", 0.004, -0.01, 0.019, 0.1, "accept"),
        finding("taken", "mean", 0.061, 0.05, 0.07, 0.25, "accept"),
        finding("learned", "b", 0.972, 0.95, 0.98, 0.6, "accept"),
    ]
    assert reason("accept", findings) == (
        "Accepted: lost 6.5% of what was learned before: forgot 0.4% on average (at most 1.9%, limit 3.0%), "
        "new classes took 6.1% (limit 25.0%); learned the new images to 97.2% (limit 60.0%)."
    )


def test_accepted_on_the_first_night():
    findings = [
        finding("learned", "a", 0.972, 0.95, 0.98, 0.6, "accept"),
        finding("learned", "b", 0.91, 0.88, 0.93, 0.6, "accept"),
    ]
    assert reason("accept", findings) == "Accepted: learned the new images to 91.0% or more (limit 60.0%)."


def test_nothing_forgotten():
    findings = [finding("forgotten", "mean", -0.004, -0.02, -0.001, 0.03, "accept")]
    assert reason("accept", findings) == "Accepted: forgot nothing on average (at most 0.0%, limit 3.0%)."


def test_refused_for_one_experience():
    findings = [
        finding("forgotten", "mean", 0.02, 0.01, 0.04, 0.03, "inconclusive", 500),
        finding("forgotten", "2026-01-03-ab12cd34", 0.4, 0.312, 0.48, 0.1, "refuse"),
    ]
    assert reason("refuse", findings) == "Refused: forgot at least 31.2% of 2026-01-03-ab12cd34 (limit 10.0%)."


def test_refused_for_many_reasons():
    findings = [
        finding("forgotten", "mean", 0.3, 0.2, 0.4, 0.03, "refuse"),
        finding("forgotten", "a", 0.3, 0.25, 0.4, 0.1, "refuse"),
        finding("forgotten", "b", 0.4, 0.35, 0.5, 0.1, "refuse"),
        finding("taken", "mean", 0.5, 0.45, 0.6, 0.25, "refuse"),
        finding("learned", "c", 0.2, 0.1, 0.3, 0.6, "refuse"),
        finding("learned", "d", 0.3, 0.2, 0.4, 0.6, "refuse"),
    ]
    assert reason("refuse", findings) == (
        "Refused: forgot at least 20.0% on average (limit 3.0%), forgot at least 35.0% of b (limit 10.0%) "
        "and too much of 1 more, new classes took at least 45.0% on average (limit 25.0%), "
        "learned at most 30.0% of c (limit 60.0%) and too little of 1 more."
    )


def test_inconclusive():
    findings = [finding("forgotten", "mean", 0.021, 0.009, 0.034, 0.03, "inconclusive", 1388)]
    assert reason("inconclusive", findings) == (
        "Inconclusive: forgot 2.1% on average, somewhere between 0.9% and 3.4% (limit 3.0%); "
        "about 1,400 test images would settle it."
    )


def test_of_several_open_findings_the_farthest_from_settled_is_named():
    findings = [
        finding("forgotten", "mean", 0.021, 0.009, 0.034, 0.03, "inconclusive", 1388),
        finding("taken", "a", 0.4, 0.3, 0.5, 0.4, "inconclusive"),
        finding("learned", "b", 0.62, 0.5, 0.7, 0.6, "inconclusive", 7),
    ]
    assert reason("inconclusive", findings) == (
        "Inconclusive: new classes took 40.0% of a, somewhere between 30.0% and 50.0% (limit 40.0%); "
        "no practical number of test images would settle it (2 more left open)."
    )


def test_what_was_taken_is_told_with_what_was_forgotten_and_where_most_was_lost():
    findings = [
        finding("forgotten", "mean", 0.0, -0.01, 0.009, 0.05, "accept", worst="b", worst_estimate=0.433),
        finding("forgotten", "a to c", 0.0, -0.01, 0.009, 0.1, "accept", worst="b", worst_estimate=0.433),
        finding("taken", "mean", 0.17, 0.15, 0.19, 0.2, "accept", worst="d", worst_estimate=0.25),
        finding("taken", "a to c", 0.17, 0.15, 0.19, 0.3, "accept", worst="b", worst_estimate=0.2),
        finding("taken", "d", 0.17, 0.15, 0.19, 0.3, "accept"),
    ]
    assert reason("accept", findings) == (
        "Accepted: lost 17.0% of what was learned before: forgot nothing on average (at most 0.9%, limit 5.0%; "
        "most of b, 43.3%, too small to be judged alone), new classes took 17.0% (limit 20.0%; most of d, 25.0%)."
    )
    refused = [finding("forgotten", "a to c", 0.3, 0.25, 0.4, 0.1, "refuse", worst="b", worst_estimate=0.6)]
    assert reason("refuse", refused) == "Refused: forgot at least 25.0% of a to c (limit 10.0%; most of b, 60.0%)."


def test_classes_that_are_lost_are_named():
    lost = [of_class("fox", 40, 0, "refuse", 0.91), of_class("owl", 30, 0, "refuse", 0.88)]
    assert reason("refuse", [], lost) == (
        "Refused: lost at least 91.0% of class `fox` (limit 80.0%) and too much of 1 more."
    )
    open_ = [of_class("fox", 12, 0, "inconclusive"), of_class("owl", 12, 4, "inconclusive")]
    assert reason("inconclusive", [], open_) == (
        "Inconclusive: of 12 test images of class `fox` that were right none is any more, "
        "so more than 80.0% of it may be lost (1 more left open)."
    )


def test_what_is_too_small_to_say_is_named():
    findings = [
        finding("learned", "a", 0.9, 0.85, 0.95, 0.6, "accept"),
        finding("learned", "b", 0.8, 0.4, 0.97, 0.6, "inconclusive", 30, too_few=True),
    ]
    few = [of_class(f"c{i}`" + "x" * 50, 3, 1, "too few") for i in range(5)]
    sentence = reason("accept", findings, few)
    name = "c{}'" + "x" * 37 + "…"
    assert sentence == (
        "Accepted: learned the new images to 90.0% (limit 60.0%); too few test images to say whether b (80.0% of 100) "
        "was learned and whether classes "
        + ", ".join(f"`{name.format(i)}` (1 of 3 right)" for i in range(3))
        + " and 2 more still will be right."
    )


def test_an_attempt_after_the_first_says_so():
    findings = [finding("forgotten", "mean", 0.021, 0.009, 0.034, 0.03, "inconclusive", 1388)]
    sentence = reason("inconclusive", findings, attempt=3)
    assert sentence.startswith("Inconclusive at attempt 3, which must be surer than a first: forgot 2.1% on average")


MIOU = Wording(score="miou", class_score="iou")


def test_of_an_miou_it_is_said_by_how_many_points_it_fell():
    findings = [
        finding("forgotten", "mean", 0.021, 0.009, 0.034, 0.05, "accept", worst="b", worst_estimate=0.04),
        finding("forgotten", "b", 0.04, 0.01, 0.06, 0.1, "accept"),
        finding("taken", "mean", -0.01, -0.02, 0.01, 0.2, "accept"),
        finding("learned", "c", 0.72, 0.68, 0.75, 0.6, "accept"),
    ]
    assert reason("accept", findings, words=MIOU) == (
        "Accepted: lost 1.1 points of mIoU on what was learned before: forgot 2.1 points of mIoU on average "
        "(at most 3.4 points, limit 5.0 points; most on b, 4.0 points), new classes took nothing (limit 20.0 points); "
        "learned the new images to 72.0% mIoU (limit 60.0%)."
    )
    refused = [
        finding("forgotten", "a", 0.3, 0.25, 0.4, 0.1, "refuse"),
        finding("learned", "c", 0.2, 0.1, 0.3, 0.6, "refuse"),
    ]
    assert reason("refuse", refused, words=MIOU) == (
        "Refused: forgot at least 25.0 points of mIoU on a (limit 10.0 points), "
        "learned c to at most 30.0% mIoU (limit 60.0%)."
    )


def test_what_an_miou_leaves_open():
    open_ = [finding("forgotten", "mean", 0.021, 0.009, 0.06, 0.05, "inconclusive", 1388)]
    assert reason("inconclusive", open_, words=MIOU) == (
        "Inconclusive: forgot 2.1 points of mIoU on average, somewhere between 0.9 points and 6.0 points "
        "(limit 5.0 points); about 1,400 test images would settle it."
    )
    few = [finding("learned", "b", 0.62, 0.5, 0.7, 0.6, "inconclusive", 30)]
    assert reason("inconclusive", few, words=MIOU) == (
        "Inconclusive: learned b to 62.0% mIoU, somewhere between 50.0% and 70.0% (limit 60.0%); "
        "about 30 test images would settle it."
    )


def test_of_a_class_in_masks_it_is_said_what_its_iou_is():
    """Of 20 images the IoU of a class summed to 12 before, 60% of each image, and sums to 1 now."""
    assert reason("refuse", [], [of_class("fox", 12.0, 1.0, "refuse", 0.85)], words=MIOU) == (
        "Refused: lost at least 85.0% of the IoU of class `fox` (limit 80.0%)."
    )
    assert reason("inconclusive", [], [of_class("fox", 12.0, 1.0, "inconclusive")], words=MIOU) == (
        "Inconclusive: on 20 test images the IoU of class `fox` is 5.0% and was 60.0% on average, "
        "so more than 80.0% of it may be lost."
    )
    learned = [
        finding("learned", "a", 0.9, 0.85, 0.95, 0.6, "accept"),
        finding("learned", "b", 0.8, 0.4, 0.97, 0.6, "inconclusive", 30, too_few=True),
    ]
    assert reason("accept", learned, [of_class("fox", 12.0, 1.0, "too few")], words=MIOU) == (
        "Accepted: learned the new images to 90.0% mIoU (limit 60.0%); too few test images to say whether b "
        "(80.0% mIoU on 100) was learned and whether class `fox` (IoU 5.0%, was 60.0%) still will be found."
    )


def test_a_class_that_nobody_looked_for_is_spoken_of_by_what_the_champion_sees():
    few = of_class("fox", 20, 5, "too few").model_copy(update={"unlabelled": True})
    left = of_class("fox", 20, 5, "inconclusive").model_copy(update={"unlabelled": True})
    accepted = finding("learned", "a", 0.9, 0.8, 1.0, 0.6, "accept")
    assert reason("accept", [accepted], [few], 1, MIOU).endswith(
        "whether class `fox` in tonight's images (IoU 25.0% of what the champion sees) still will be found."
    )
    assert "the IoU of class `fox` in tonight's images is 25.0% of what the champion sees on average" in reason(
        "inconclusive", [accepted], [left], 1, MIOU
    )
