"""Which test images a person is shown of a night."""

import pandas as pd
import pytest

from tasks.evaluate.exhibits import worst


@pytest.fixture
def scored(tmp_path):
    """Writes outcomes of a version, image to score; images `t...` came on tuesday."""

    def write(name, **images):
        folder = tmp_path / name / "evaluation"
        folder.mkdir(parents=True)
        experience = ["tuesday" if image.startswith("t") else "monday" for image in images]
        table = pd.DataFrame({"experience": experience, "image": list(images), "overall": list(images.values())})
        table.to_parquet(folder / "outcomes.parquet")
        return folder

    return write


def test_the_images_that_lost_most_come_first_and_then_those_that_score_least(scored):
    parent = scored("v1", a=0.9, b=0.5, c=0.8)
    now = scored("v2", a=0.5, b=0.6, c=0.1, t1=0.3)
    rows = worst(now, parent.parent)
    assert rows["image"].tolist() == ["c", "a", "t1", "b"]
    assert rows["before"].fillna(-1).tolist() == [0.8, 0.9, -1, 0.5]
    assert rows["now"].tolist() == [0.1, 0.5, 0.3, 0.6]
    assert worst(now, parent.parent, most=1)["image"].tolist() == ["c"]


def test_of_a_first_version_the_worst_are_shown(scored):
    rows = worst(scored("v1", a=0.9, b=0.5, c=0.8), None)
    assert rows["image"].tolist() == ["b", "c", "a"]
    assert rows["before"].isna().all()


def test_a_loss_that_nobody_would_see_is_none(scored):
    parent = scored("v1", a=0.904, b=0.5)
    assert worst(scored("v2", a=0.9, b=0.5), parent.parent)["image"].tolist() == ["b", "a"]
