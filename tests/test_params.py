"""Every configuration in the repository is valid, and what stands twice is equal."""

from pathlib import Path
from typing import get_args

import pytest
import yaml

from flows.cli.options import Choice
from flows.night import Strategy
from models.catalogue import StrategyChoice
from records.errors import WrongParameters
from records.registration import RunFile
from tasks.params import Params, read_params

ROOT = Path(__file__).parents[1]
TEMPLATE = ROOT / "tasks" / "template"
SECTIONS = "validate: {}\nupdate: {}\nevaluate: {}\njudge: {name: paired_score}\n"


@pytest.mark.parametrize("path", [*TEMPLATE.glob("params*.yaml"), ROOT / "params.yaml"], ids=lambda p: p.name)
def test_every_committed_params_file_is_valid(path: Path) -> None:
    assert isinstance(read_params(path), Params)


@pytest.mark.parametrize("name", ["dvc.yaml", "prefect.yaml"])
def test_the_repository_is_a_workspace_like_any_other(name: str) -> None:
    assert (ROOT / name).read_text() == (TEMPLATE / name).read_text()


def test_the_repositorys_own_parameters_are_those_of_the_digits() -> None:
    assert (ROOT / "params.yaml").read_text() == (TEMPLATE / "params-digits.yaml").read_text()
    assert RunFile.read(ROOT / "run.json").parent == 0


def test_forms_offer_every_strategy_of_the_catalogue() -> None:
    known = ["as configured", *(s().name for s in get_args(get_args(StrategyChoice)[0]))]
    assert list(get_args(Strategy)) == known
    assert [choice.value for choice in Choice] == known


def test_deployments_are_the_two_that_are_documented() -> None:
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    assert [d["name"] for d in deployments] == ["nightly", "manual"]
    assert deployments[0]["schedules"][0]["timezone"]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("update: {budgte: {epochs: 1}}", "`update.budgte` is not a parameter; did you mean `budget`?"),
        ("update: {budget: {epochs: many}}", "`update.budget.epochs`: input should be a valid number"),
        ("update: {budget: {epochs: 0}}", "`update.budget.epochs`: input should be greater than 0 (given: 0)"),
        (
            "update: {strategy: {name: reply}}",
            "`update.strategy.name` is `reply`, which is not known; did you mean `replay`? Known: finetune, ",
        ),
        ("update: {strategy: {name: replay, colour: red}}", "colour` is not a parameter"),
        ("learn: {}", "`learn` is not a parameter; known here: evaluate, ingest, judge, register, update, validate."),
        ("- a\n- b", "must hold sections (ingest, validate, ...), not a list"),
        ("update: [", "is not readable as YAML"),
        ("update: 3", "`update`: input should be a valid dictionary"),
    ],
)
def test_a_wrong_params_file_is_told_in_a_sentence(tmp_path: Path, content: str, sentence: str) -> None:
    path = tmp_path / "params.yaml"
    sections = yaml.safe_load(SECTIONS)
    try:
        path.write_text(yaml.safe_dump(sections | yaml.safe_load(content)))
    except (yaml.YAMLError, TypeError):
        path.write_text(content)
    with pytest.raises(WrongParameters) as error:
        read_params(path)
    assert sentence in str(error.value)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_empty_sections_mean_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(SECTIONS)
    assert read_params(path) == Params()


def test_a_section_that_dvc_tracks_must_be_there(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("update: {}")
    with pytest.raises(WrongParameters, match="section `validate` is missing"):
        read_params(path)


def test_overrides_replace_values_for_one_reading(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    chosen = "update: {strategy: {name: replay_distillation, remembered: 2}, budget: {epochs: 3}}"
    path.write_text(SECTIONS.replace("update: {}", chosen))
    changed = read_params(path, {"update.strategy.name": "finetune", "update.memory.size": 10})
    assert changed.update.strategy.name == "finetune"
    assert changed.update.memory.size == 10
    assert changed.update.budget.epochs == 3
    kept = read_params(path, {"update.strategy.name": "replay_distillation"})
    assert kept.update.strategy.model_dump()["remembered"] == 2


def test_flat_names_every_value_once() -> None:
    flat = Params().flat()
    assert flat["update.strategy.name"] == "replay_distillation"
    assert flat["validate.refused_share"] == "0.05"
    assert flat["register.model"] == "retain"


def test_what_tells_one_night_from_another_is_short():
    params = Params.model_validate({"update": {"network": {"name": "mlp"}, "memory": {"size": 500}}})
    assert params.telling() == {
        "update.network.name": "mlp", "update.strategy.name": "replay_distillation",
        "update.memory.size": "500", "update.budget.epochs": "1.0",
    }  # fmt: skip


def test_a_misspelt_key_of_a_choice_is_told_by_the_keys_of_that_choice(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text("validate: {}\nevaluate: {}\njudge: {}\nupdate: {strategy: {name: dark_replay, stroed: 1}}\n")
    with pytest.raises(WrongParameters, match=r"`update.strategy.stroed` is not a parameter; did you mean `stored`\?"):
        read_params(path)
