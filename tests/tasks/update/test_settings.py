"""What of a problem's parameters goes together, and what is said of what does not."""

import pytest
from pydantic import ValidationError

from tasks.update.settings import UpdateParams

SEGMENTATION = {"problem": {"name": "segmentation"}}


def test_a_problem_brings_its_own_defaults_and_what_is_given_stands() -> None:
    params = UpdateParams.model_validate(SEGMENTATION)
    assert (params.network.name, params.imbalance) == ("unet", "none")
    assert UpdateParams().network.name == "cnn"
    assert UpdateParams().imbalance == "prior"
    given = UpdateParams.model_validate(SEGMENTATION | {"network": {"name": "unet", "width": 16}})
    assert given.network.model_dump()["width"] == 16
    assert UpdateParams.model_validate_json(params.model_dump_json()) == params


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (
            SEGMENTATION | {"network": {"name": "cnn"}},
            "the problem segmentation, which asks every pixel; these do: unet",
        ),
        ({"network": {"name": "unet"}}, "the problem classification, which asks whole images; these do: mlp, cnn"),
        (SEGMENTATION | {"strategy": {"name": "icarl"}}, "the strategy icarl needs one answer an image"),
        (SEGMENTATION | {"correction": {"name": "weight_aligning"}}, "`correction` makes no sense"),
        (SEGMENTATION | {"augmentation": {"mixup_alpha": 0.5}}, "masks cannot be blended"),
        (SEGMENTATION | {"imbalance": "prior"}, "`imbalance: prior` makes no sense"),
    ],
)
def test_what_does_not_go_together_is_said_in_a_sentence(given: dict, sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        UpdateParams.model_validate(given)


@pytest.mark.parametrize(
    "strategy", ["finetune", "joint", "replay", "replay_distillation", "lwf", "ewc", "si", "reptile"]
)
def test_strategies_that_need_no_answer_an_image_learn_masks(strategy: str) -> None:
    assert UpdateParams.model_validate(SEGMENTATION | {"strategy": {"name": strategy}}).problem.dense
