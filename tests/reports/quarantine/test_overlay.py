import numpy as np
from PIL import Image

from reports.quarantine.overlay import overlaid


def test_a_class_is_half_transparent_its_outline_firm_and_the_background_untouched():
    picture = Image.new("L", (9, 9), 100)
    values = np.zeros((9, 9), np.uint8)
    values[1:8, 1:8] = 1
    drawn = np.asarray(overlaid(picture, values, ("#000000", "#ff0080")))
    assert drawn[0, 0].tolist() == [100, 100, 100]
    assert drawn[1, 1].tolist() == drawn[2, 4].tolist() == [255, 0, 128]
    # Half of 100 and half of (255, 0, 128), and half numbers are rounded to even ones.
    assert drawn[3, 3].tolist() == [178, 50, 114]


def test_what_nobody_knows_is_striped_grey_without_an_outline():
    drawn = np.asarray(overlaid(Image.new("RGB", (16, 1)), np.full((1, 16), 255, np.uint8), ()))
    # Half of 140, and nine tenths, over black; four pixels each.
    assert drawn[0, :, 0].tolist() == [70] * 4 + [126] * 4 + [70] * 4 + [126] * 4
