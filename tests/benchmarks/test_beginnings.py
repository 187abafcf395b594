"""What decision 0017 promises of small streams, of the figures that `python -m benchmarks.beginnings` prints."""

import pytest

from benchmarks.beginnings import GATE, SHIPPED, STREAMS, Start, accepted_at, churned, let_through, start_of


@pytest.mark.parametrize(("images", "start"), [(60, Start(7, 30)), (100, Start(4, 50)), (300, Start(2, 150))])
def test_a_first_version_waits_for_as_many_test_images_as_ship(images, start):
    assert start_of(images, SHIPPED) == start


def test_batches_of_unlike_size_are_not_simulated():
    with pytest.raises(ValueError, match="only those of one size"):
        start_of(100, SHIPPED.model_copy(update={"min_test_images": 400}))


@pytest.mark.parametrize("images", STREAMS)
def test_no_harmless_stream_is_stuck_once_it_began(images):
    comparison = accepted_at(start_of(images, SHIPPED), churned)
    assert (comparison == 1).mean() > 0.85
    assert (comparison > 23).mean() < 0.001


def test_a_stream_that_began_too_early_is_stuck():
    early = start_of(100, SHIPPED.model_copy(update={"min_test_images": 100}))
    assert (accepted_at(early, churned) > 28).mean() > 0.05


@pytest.mark.parametrize("images", STREAMS)
def test_what_forgets_too_much_gets_through_no_more_often_than_promised(images):
    first, _ = let_through(start_of(images, SHIPPED), GATE.forgotten_mean, nights=1)
    assert first < 0.05
    first, ever = let_through(start_of(images, SHIPPED), 0.06)
    assert first < 0.02
    assert ever < 0.05
