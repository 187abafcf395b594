"""Scores that are no mean over images: hand-worked sums in, losses, influences and draws out."""

import time
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.verdict_tallies import Scene, mean_iou, night, spread
from models.gates.decision import decide
from models.gates.hypothesis import Hypothesis
from models.gates.outcomes import Outcomes, Pairs, Tallies
from models.gates.paired_bootstrap import PairedBootstrap
from models.gates.paired_score import PairedScore
from models.gates.questions import forgotten_of, missed_of, taken_of
from models.gates.tally_draws import at_stake, redrawn, seed_of
from models.gates.tally_losses import TallyLosses

GATE = PairedBootstrap()
# Two images of two classes, I U T each: the sums are 18/20 of the first class and 6/10 of the second, so 0.75.
BEFORE = np.array([[9.0, 10, 10, 6, 8, 8], [9, 10, 9, 0, 2, 0]])
# 12/20 and 6/10: 0.6.
AFTER = np.array([[3.0, 10, 10, 6, 8, 8], [9, 10, 9, 0, 2, 0]])


def accuracy(sums):
    """The share of right answers, as a score of tallies (right, 1)."""
    return sums[:, 0] / sums[:, 1]


def counted(right):
    return np.stack([right, np.ones(len(right))], axis=1)


def outcomes(before, after, overall=None, name="a", score=mean_iou, pairs=None):
    """A past experience by its tallies, or a new one; the scores of single images are for people."""
    each = np.full(len(after), 0.5)
    overall = after if overall is None else overall
    tallies = Tallies(score, overall, after, before)
    return Outcomes(name, before is None, each, each, None if before is None else each, tallies=tallies, pairs=pairs)


def test_losses_are_differences_of_the_score_of_all_images():
    taken = np.array([[3.0, 10, 10, 3, 8, 8], [9, 10, 9, 0, 2, 0]])  # 12/20 and 3/10: 0.45
    past = outcomes(BEFORE, AFTER, taken)
    assert forgotten_of(past).mean == pytest.approx(0.15)
    assert taken_of(past).mean == pytest.approx(0.15)
    assert missed_of(outcomes(None, AFTER)).mean == pytest.approx(0.4)
    assert [one.low for one in (forgotten_of(past), taken_of(past), missed_of(outcomes(None, AFTER)))] == [-1, -1, 0]
    # With new classes competing the score may also be higher: what they take may have been wrong.
    assert taken_of(outcomes(BEFORE, taken, AFTER)).mean == pytest.approx(-0.15)


def test_experiences_together_are_scored_as_one():
    first, second = (TallyLosses.of(name, -1, mean_iou, BEFORE[[i]], AFTER[[i]]) for i, name in enumerate("ab"))
    # 9/10, 6/8 then 3/10, 6/8; and 9/10, with nothing of the second class there, twice.
    assert (first.mean, second.mean) == pytest.approx((0.3, 0))
    both = TallyLosses.pooled([first, second])
    assert (both.experience, both.total, both.mean) == ("a to b", 2, pytest.approx(0.15))
    assert both.worst == ("a", pytest.approx(0.3))
    assert TallyLosses.pooled([first]) is first
    new = TallyLosses.pooled([TallyLosses.of("c", 0, mean_iou, None, AFTER)] * 2)
    assert (new.sample.before, new.mean) == (None, pytest.approx(0.4))


def test_what_images_hold_and_vary_by_is_that_of_a_share_for_a_share():
    right = (np.arange(50) < 40).astype(float)
    losses = TallyLosses.of("a", 0, accuracy, None, counted(right))
    assert losses.mean == pytest.approx(0.2)
    assert losses.sample.variance == pytest.approx(0.8 * 0.2)
    paired = TallyLosses.of("a", -1, accuracy, counted(right), counted(right[::-1].copy()))
    assert paired.sample.variance == pytest.approx(20 / 50)  # ten lost, ten gained
    # 0.8 can be lost of what 40 images have right, and 0.8 of it again where the denominator grows, with all 50.
    held, images = losses.sample.held
    assert held == pytest.approx([0.8, 0.8 + 0.64])
    # 40 images hold 0.02 + 0.0128 each, ten 0.0128.
    assert images == pytest.approx([40, 1.44**2 / (40 * 0.0328**2 + 10 * 0.0128**2)])


def test_a_class_that_two_images_show_is_at_stake_in_each_of_them():
    tally = np.tile([10.0, 10, 10, 0, 0, 0], (60, 1))
    alike = TallyLosses.of("a", -1, mean_iou, tally, tally)
    # 60 images hold the score of 1, and as much again: the union grows.
    assert [one.tolist() for one in alike.sample.held] == [pytest.approx([1, 2]), pytest.approx([60, 60])]
    assert at_stake(alike) == pytest.approx(2)
    tally = tally.copy()
    tally[:2, 3:] = 5
    rare = TallyLosses.of("a", -1, mean_iou, tally, tally)
    held, images = rare.sample.held
    assert held == pytest.approx([0.5, 1, 1.5, 2])
    assert images[:2] == pytest.approx([2, 2])
    # Of what two images hold, 1 of 2, more than three quarters can be lost unseen.
    assert at_stake(rare) * (1 - 0.05 ** (1 / 60)) == pytest.approx(1 - 0.05**0.5)
    # Ten times the images: twenty show it, of all of which a seventh can be lost unseen.
    assert at_stake(rare.scaled(10)) * (1 - 0.05 ** (1 / 600)) == pytest.approx(1 - 0.05 ** (1 / 20))


@pytest.mark.unhurried
@pytest.mark.parametrize("images", [40, 3000])
def test_redrawn_losses_vary_as_their_standard_error_says(images):
    losses = night(np.random.default_rng(0), Scene(images=images), spread, 0.1)
    drawn = redrawn(losses, 4000, 1)
    assert drawn.centre == pytest.approx(losses.mean * images / (images + 4))
    assert drawn.means.mean() == pytest.approx(drawn.centre, abs=0.1 * drawn.error)
    assert drawn.means.std() == pytest.approx(drawn.error, rel=0.1)
    assert np.median(drawn.errors) == pytest.approx(drawn.error, rel=0.2)


def test_a_share_written_as_tallies_is_bounded_much_like_the_share():
    """A little wider: that a denominator may grow is taken into account, though that of a share does not."""
    before = np.ones(400)
    after, gained = (np.arange(400) >= 12).astype(float), (np.arange(400) < 395).astype(float)
    losses = TallyLosses.of("a", -1, accuracy, counted(gained), counted(after))
    upper, lower = (
        bound([Hypothesis("forgotten", "a", (losses,), 0.1)], 0.05)[0] for bound in (GATE.uppers, GATE.lowers)
    )
    plain = forgotten_of(Outcomes("a", False, after, after, gained))
    exact, low = (bound([Hypothesis("forgotten", "a", (plain,), 0.1)], 0.05)[0] for bound in (GATE.uppers, GATE.lowers))
    assert before.mean() == 1
    assert exact - 0.002 < upper < exact + 0.008
    assert low - 0.008 < lower < low + 0.002


def test_an_experience_of_images_that_nobody_can_say_anything_of_is_never_lost():
    """One image, or a class that no redrawn sample may hold, still has a score and a width."""
    one = outcomes(BEFORE[:1], BEFORE[:1])
    assert decide(GATE, [one]).find("forgotten").upper > 0.5
    rare = np.tile([10.0, 10, 10, 0, 0, 0], (60, 1))
    rare[0, 3:] = 5
    finding = decide(GATE, [outcomes(rare, rare)]).find("forgotten")
    assert (finding.estimate, finding.decision) == (0, "inconclusive")
    assert finding.images_to_settle > 300


def test_a_shorter_tally_is_filled_up():
    short = Tallies(mean_iou, AFTER, AFTER[:, :3], BEFORE[:, :3])
    assert short.reference.tolist() == [[9, 10, 10, 0, 0, 0], [9, 10, 9, 0, 0, 0]]
    assert short.among_known.shape == (2, 6)


@pytest.mark.parametrize(
    ("tally", "message"),
    [
        (np.zeros(3), "row of numbers"),
        (np.zeros((2, 0)), "row of numbers"),
        (np.full((2, 3), np.nan), "from 0 on"),
        (np.full((2, 3), -1.0), "from 0 on"),
    ],
)
def test_impossible_tallies_are_refused(tally, message):
    with pytest.raises(ValueError, match=message):
        Tallies(mean_iou, tally, AFTER, BEFORE)


def test_tallies_that_do_not_belong_to_the_outcomes_are_refused():
    each = np.full(2, 0.5)
    with pytest.raises(ValueError, match="a: tallies must be of the same"):
        Outcomes("a", False, each, each, each, tallies=Tallies(mean_iou, AFTER[:1], AFTER, BEFORE))
    with pytest.raises(ValueError, match="a: tallies must be of the same"):
        Outcomes("a", False, each, each, each, tallies=Tallies(mean_iou, AFTER, AFTER, None))
    with pytest.raises(ValueError, match="a: the score of all tallies"):
        Outcomes("a", False, each, each, each, tallies=Tallies(mean_iou, AFTER * 0, AFTER, BEFORE))
    # Of single images the score may become worse with fewer classes competing.
    Outcomes("a", False, each, each - 0.1, each, tallies=Tallies(mean_iou, AFTER, AFTER, BEFORE))


def test_a_score_without_a_derivative_is_refused():
    with pytest.raises(ValueError, match="derivative"):
        _ = TallyLosses.of("a", 0, lambda sums: (sums[:, 0] / sums[:, 0] - 1).sqrt(), None, BEFORE).sample.variance


def test_counts_are_what_paired_score_takes():
    with pytest.raises(ValueError, match=r"a: paired_score counts right and wrong answers.*paired_bootstrap"):
        decide(PairedScore(), [outcomes(BEFORE, AFTER)])
    assert PairedScore.counts_only
    assert not PairedBootstrap.counts_only


def test_the_draws_depend_on_the_question_the_experience_and_the_data():
    losses = [TallyLosses.of(name, -1, mean_iou, BEFORE, after) for name in "ab" for after in (AFTER, BEFORE)]
    seeds = {seed_of(question, one) for one in losses for question in ("forgotten", "taken")}
    assert len(seeds) == 8
    assert seed_of("forgotten", losses[0]) == seed_of("forgotten", losses[0].scaled(2))


def test_the_guard_of_each_class_takes_pairs_of_an_image_and_a_class():
    tally = night(np.random.default_rng(0), Scene(images=300), spread, 0).sample.before
    labels = np.array(["a", "b"] * 100 + ["fox"] * 100)
    now = np.where(labels == "fox", 0.0, 0.9)
    verdict = decide(GATE, [outcomes(tally, tally, pairs=Pairs(labels, now, np.full(300, 0.9)))])
    assert (verdict.decision, [c.label for c in verdict.classes]) == ("refuse", ["fox"])
    assert verdict.classes[0].right == pytest.approx(90)
    with pytest.raises(ValueError, match="the same in all arrays"):
        Pairs(labels, now[1:], now)
    with pytest.raises(ValueError, match="from 0 to 1"):
        Pairs(labels, now + 1, now)


def test_what_nobody_looked_for_in_new_images_must_not_be_gone_from_them():
    """Whatever the past experiences say: these may look otherwise."""
    tally = night(np.random.default_rng(0), Scene(images=300), spread, 0).sample.before
    labels = np.repeat(["cat", "fox"], 40)

    def verdict(fox):
        seen = Pairs(labels, np.repeat([0.9, fox], 40), np.ones(80))
        past, new = outcomes(tally, tally), outcomes(None, tally, name="b")
        return decide(GATE, [past, replace(new, unlabelled=seen)])

    assert verdict(0.8).decision == "accept"
    assert verdict(0.3).decision == "inconclusive"
    assert "of class `fox` in tonight's images that were right as many as 12 are" in verdict(0.3).reason
    refused = verdict(0.02)
    assert (refused.decision, [(c.label, c.unlabelled) for c in refused.classes]) == ("refuse", [("fox", True)])
    assert "of class `fox` in tonight's images (limit 70.0%)" in refused.reason


def test_ten_thousand_images_take_seconds():
    losses = night(np.random.default_rng(0), Scene(images=10_000, classes=14), spread, 0)
    start = time.perf_counter()
    GATE.uppers([Hypothesis("forgotten", "a", (losses,), 0.1)], 0.05)
    assert time.perf_counter() - start < 5
