"""Images with masks in quarantine: how they are shown, and how they go out and come back."""

import io
from datetime import date

import numpy as np
import pytest
from PIL import Image

from dataset.rows import read_rows
from records.errors import WrongInput
from records.experience import Check, Report, Violation
from reports.quarantine.page import report_html
from tasks.ingest.corrections import Correction, correct
from tasks.quarantine.export import read_files, write_files
from tasks.quarantine.mask_files import write_legend
from tasks.quarantine.release import ReleaseRequest, _chosen
from tasks.quarantine.report_data import data
from tasks.workspace.workspace import Workspace
from tests.dataset.deliveries.masks import lay_out, picture, png, taken, values_of

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


def test_masks_go_out_as_a_delivery_that_becomes_the_same_masks_again(place, tmp_path):
    workspace, batch = place
    written = write_files(workspace, report_on(batch), tmp_path / "look")
    assert written.images == 3
    again = tmp_path / "look" / "again"
    assert sorted(path.name for path in (again / "masks").iterdir()) == ["000000.png", "000001.png"]
    assert not (again / "labelled_for.txt").exists()
    assert read_files(tmp_path / "look" / "manifest.csv", report_on(batch)).labels == {0: "cat", 1: "dog", 2: ""}
    (again / "masks" / "000002.png").write_bytes(png(CAT))
    mended, rows = taken(again, tmp_path / "home")
    assert mended.mask_classes == batch.mask_classes
    assert [row["label"] for row in rows] == ["cat", "dog", "cat"]
    assert [values_of(row) for row in rows] == [CAT, DOG, CAT]
    assert rows[0]["annotation_id"] == rows[2]["annotation_id"]


def test_what_was_looked_for_in_all_images_goes_with_them(tmp_path):
    write_legend(tmp_path, ("background", "cat", "cow", "dog"), ["cat/dog", "", "cow/dog"])
    assert (tmp_path / "classes.txt").read_text().split() == ["background", "cat", "cow", "dog"]
    assert (tmp_path / "labelled_for.txt").read_text() == "dog\n"
    write_legend(tmp_path, ("background", "cat"), ["background", "cat"])
    assert (tmp_path / "labelled_for.txt").read_text() == "background\n"


def corrected(workspace, batch, **values):
    made = correct(
        workspace.batches, workspace.state / "staging", batch, Correction(replaces=True, **values), date(2026, 1, 6),
        2**20,
    )  # fmt: skip
    return made, [row for _, row in read_rows(workspace.batches, made, range(made.images))]


def test_a_correction_keeps_masks(place):
    workspace, batch = place
    made, rows = corrected(workspace, batch, labels={1: "dog"})
    assert (made.classes, made.mask_classes) == (("dog",), batch.mask_classes)
    assert values_of(rows[0]) == DOG
    with pytest.raises(WrongInput, match="images/1.png of .* has a mask, and its label says what is in it"):
        corrected(workspace, batch, labels={1: "cow"})


def test_a_class_is_renamed_in_masks_and_may_become_one_with_another(place):
    workspace, batch = place
    made, rows = corrected(workspace, batch, labels={0: "cat", 1: "dog", 2: ""}, renamed={"cat": "fox"})
    assert (made.classes, made.mask_classes) == (("dog", "fox"), ("background", "dog", "fox"))
    assert [row["label"] for row in rows] == ["fox", "dog", ""]
    assert values_of(rows[0]) == [[0, 2, 2, 2]] * 3
    assert rows[0]["class_pixels"] == [3, 0, 9]
    made, rows = corrected(workspace, batch, labels={0: "cat", 1: "dog"}, renamed={"cat": "dog"})
    assert (made.classes, made.mask_classes) == (("dog",), ("background", "dog"))
    assert values_of(rows[1]) == [[1, 1, 1, 255]] * 3


def test_relabel_renames_a_class_of_masks_that_is_there(place):
    workspace, batch = place

    def chosen(old, new):
        return _chosen(workspace, report_on(batch), batch, ReleaseRequest(relabel=((old, new),)))

    assert chosen("cat", "fox") == {0: "cat", 1: "dog", 2: ""}
    with pytest.raises(WrongInput, match="No image to release is labelled 'cow'; labels there: cat, dog."):
        chosen("cow", "fox")
    with pytest.raises(WrongInput, match="The background of masks is no class that can be renamed"):
        chosen("cat", "background")
