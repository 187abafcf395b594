"""Images with masks in quarantine: how they are shown, and how they go out and come back."""

import io

import numpy as np
import pytest
from PIL import Image

from records.experience import Check, Report, Violation
from reports.quarantine.page import report_html
from tasks.quarantine.report_data import data
from tasks.workspace.workspace import Workspace
from tests.dataset.deliveries.masks import lay_out, picture, png, taken

CAT, DOG = [[0, 1, 1, 1]] * 3, [[2, 2, 2, 255]] * 3


@pytest.fixture
def place(tmp_path):
    workspace = Workspace(tmp_path)
    files = {f"street/images/{n}.png": picture(n) for n in range(3)}
    masks = {"street/masks/0.png": png(CAT), "street/masks/1.png": png(DOG), "street/masks/2.png": png([[1]])}
    source = lay_out(tmp_path / "in", {**files, **masks, "street/classes.txt": "background\ncat\ndog"}) / "street"
    batch, _ = taken(source, workspace.batches.parent)
    return workspace, batch


def report_on(batch):
    violations = tuple(Violation(row=row, path=f"images/{row}.png", detail=f"detail {row}") for row in range(3))
    check = Check(name="bad", severity="refuse image", meaning="", remedy="", passed=False, found=3,
                  violations=violations)  # fmt: skip
    return Report(batch=batch.id, source="street", images=3, admitted=False, summary="", checks=(check,))


def test_an_image_is_shown_under_its_mask_and_alone_if_that_is_no_good(place):
    workspace, batch = place
    shown = data(workspace, report_on(batch))
    cat, dog, bad = (shown.pictures[f"{batch.id}#{row}"] for row in range(3))
    assert cat.colours == {"cat": "#e69f00"}
    assert dog.colours == {"dog": "#56b4e9", "ignored": "#8c8c8c"}
    assert bad.colours == {}
    enlarged = np.asarray(Image.open(io.BytesIO(cat.thumbnail)))
    assert enlarged.shape == (192, 256, 3), "64 times as large"
    assert enlarged[5, 64].tolist() == [0xE6, 0x9F, 0x00], "the outline of the cat"
    assert Image.open(io.BytesIO(bad.thumbnail)).size == (4, 3)
    assert [(count.label, count.refused) for count in shown.classes] == [("cat", 1), ("dog", 1), ("no usable mask", 1)]
    page = report_html(report_on(batch), shown)
    assert '<i style="background-color:#e69f00"></i><bdi>cat</bdi>' in page
    assert '<i class="striped" style="background-color:#8c8c8c"></i><bdi>ignored</bdi>' in page
