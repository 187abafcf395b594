import numpy as np
import pytest

from dataset.decoding.fit import fit, unfit

GREY = np.array([[1, 2, 3], [4, 5, 6]], dtype=np.uint8)
NOISE = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)


def test_fit_leaves_images_of_the_right_size_alone():
    assert (fit(NOISE, 3, 40, 50) == NOISE.transpose(2, 0, 1)).all()
    assert fit(GREY[:, :, None], 1, 2, 3).tolist() == [GREY.tolist()]


def test_fit_repeats_grey_and_weighs_colour():
    assert (fit(GREY[:, :, None], 3, 2, 3) == GREY).all()
    red_green_blue = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], dtype=np.uint8)
    assert fit(red_green_blue, 1, 1, 3).tolist() == [[[76, 150, 29]]]


def test_fit_crops_at_the_centre():
    wide = np.array([[10, 20, 30, 40], [50, 60, 70, 80]], dtype=np.uint8)[:, :, None]
    assert fit(wide, 1, 2, 2).tolist() == [[[20, 30], [60, 70]]]
    assert fit(wide.transpose(1, 0, 2), 1, 2, 2).tolist() == [[[20, 60], [30, 70]]]


def test_fit_takes_every_pixel_into_account_when_it_shrinks():
    board = (np.indices((64, 64)).sum(axis=0) % 2 * 255).astype(np.uint8)[:, :, None]
    assert np.abs(fit(board, 1, 8, 8).astype(int) - 127).max() <= 2


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 300, 3), (300, 1, 1), (5, 7, 3)])
@pytest.mark.parametrize("channels", [1, 3])
def test_fit_gives_the_shape_that_was_asked_for(shape, channels):
    assert fit(np.zeros(shape, np.uint8), channels, 32, 24).shape == (channels, 32, 24)


def test_fit_refuses_other_numbers_of_channels():
    with pytest.raises(ValueError, match="1 or 3 channels, not 4"):
        fit(NOISE, 4, 8, 8)


@pytest.mark.parametrize(("height", "width"), [(8, 12), (24, 32), (30, 100), (5, 7), (1, 1), (200, 90)])
def test_what_was_cropped_is_outside_and_the_rest_is_nearest(height, width):
    """Of an image of 8-bit places that is brought to size by nearest neighbours, each pixel finds its own again."""
    values = np.arange(96, dtype=np.uint8).reshape(8, 12)
    whole = unfit(values, height, width, 255)
    assert whole.shape == (height, width)
    scale = min(height / 8, width / 12)
    for y in range(height):
        for x in range(width):
            row, column = (y + 0.5 - height / 2) / scale + 4, (x + 0.5 - width / 2) / scale + 6
            inside = 0 <= row < 8 and 0 <= column < 12
            assert whole[y, x] == (values[int(row), int(column)] if inside else 255)


def test_unfit_of_the_networks_own_size_changes_nothing():
    values = np.arange(96, dtype=np.uint8).reshape(8, 12)
    np.testing.assert_array_equal(unfit(values, 8, 12, 255), values)
