"""A params.yaml of before is read as it was meant, and told what to write now."""

import pytest

from records.errors import WrongParameters
from records.renamed import RENAMED, modernise, what_to_write
from tasks.params.params import Params, read_params
from tasks.params.sections import renamed_in

OLD = """
validate: {}
evaluate: {better: 0.9, images: 500}
judge: {name: paired_score, together: 50}
update:
  strategy: {name: ewc, strength: 3, fading: 0.5, sample: 7}
  budget: {least_steps: 60, batch: 32, replayed: 16}
  optimiser: {rate: 0.01}
"""
NEW = """
validate: {}
evaluate: {reference_confidence: 0.9, max_images: 500}
judge: {name: paired_score, min_group_size: 50}
update:
  strategy: {name: ewc, penalty_weight: 3, decay_factor: 0.5, fisher_images: 7}
  budget: {min_steps: 60, batch_size: 32, replay_batch_size: 16}
  optimiser: {learning_rate: 0.01}
"""


def test_old_names_mean_what_they_meant(tmp_path):
    (tmp_path / "old.yaml").write_text(OLD)
    (tmp_path / "new.yaml").write_text(NEW)
    assert read_params(tmp_path / "old.yaml") == read_params(tmp_path / "new.yaml")
    assert renamed_in(tmp_path / "new.yaml") == []
    assert ("update.budget.batch", "update.budget.batch_size") in renamed_in(tmp_path / "old.yaml")


def test_an_old_name_replaces_a_value_for_one_night(tmp_path):
    (tmp_path / "params.yaml").write_text(OLD)
    assert read_params(tmp_path / "params.yaml", {"update.budget.batch": 8}).update.budget.batch_size == 8


def test_a_parameter_under_both_names_is_refused(tmp_path):
    (tmp_path / "params.yaml").write_text(OLD.replace("batch: 32", "batch: 32, batch_size: 32"))
    with pytest.raises(WrongParameters) as refused:
        read_params(tmp_path / "params.yaml")
    assert str(refused.value) == (
        f"{tmp_path}/params.yaml: `update.budget.batch` is called `update.budget.batch_size` now, and both are given: "
        "leave the old one out."
    )


@pytest.mark.parametrize("place", RENAMED)
def test_every_new_name_is_a_parameter_and_no_old_one_is(place):
    path, _, choice = place.partition(": ")
    for old, new in RENAMED[place].items():
        content = {}
        inner = content
        for part in path.split("."):
            inner = inner.setdefault(part, {})
        inner |= {"name": choice} if choice else {}
        default = Params.model_validate(content).model_dump(by_alias=True)
        for part in path.split("."):
            default = default[part]
        assert new in default
        assert old not in default


def test_the_names_of_before_are_told():
    renamed = modernise({"update": {"budget": {"batch": 8, "seconds": 3}}})
    assert what_to_write(renamed) == (
        "params.yaml has names of before: `update.budget.seconds` is `max_seconds` now; `update.budget.batch` is "
        "`batch_size` now. It was read as it was meant; write the new names."
    )
    assert what_to_write([]) == ""
