"""Every configuration in the repository is valid, and what stands twice is equal, and what is wrong is told."""

import re
import socket
from pathlib import Path
from typing import get_args

import pytest
import yaml

from adapters.registry import Registry
from dataset.archive import ImageDataset
from models.catalogue import NetworkRecipe, StrategyChoice
from models.learner import DESCRIPTION, Description
from models.networks.cnn import CNN
from models.networks.unet import UNet
from models.problems.classification import Classification
from models.strategies.base import TrainingData
from records.errors import WrongInput, WrongParameters
from records.registration import RunFile
from records.snapshot import InputSpec
from tasks.ingest.settings import IngestParams
from tasks.params.params import Params, check_start, read_params
from tasks.params.sections import RegisterParams, read_section
from tasks.workspace.workspace import Workspace

ROOT = Path(__file__).parents[3]
TEMPLATE = ROOT / "tasks" / "workspace" / "template"
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
        ("update: {}\njudge: {}\nupdate: {}", "`update` stands in line 1 and again in line 3; put it together"),
        ("update: 3", "`update`: input should be a valid dictionary"),
    ],
)
def test_a_wrong_params_file_is_told_in_a_sentence(tmp_path: Path, content: str, sentence: str) -> None:
    path = tmp_path / "params.yaml"
    sections = yaml.safe_load(SECTIONS)
    try:
        if content.count("update:") > 1:
            raise TypeError("what stands twice is written as it is")
        path.write_text(yaml.safe_dump(sections | yaml.safe_load(content)))
    except (yaml.YAMLError, TypeError):
        path.write_text(content)
    with pytest.raises(WrongParameters) as error:
        read_params(path)
    assert sentence in str(error.value)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_gate_that_counts_answers_is_refused_for_another_score(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(Classification, "counted", False)
    path = tmp_path / "params.yaml"
    path.write_text(SECTIONS)
    with pytest.raises(WrongParameters) as error:
        read_params(path)
    assert str(error.value) == (
        f"{path}: `judge.name: paired_score` makes no sense with the problem classification: it counts right and wrong "
        "answers, and the score of this problem is made of sums; write `paired_bootstrap`."
    )
    assert read_params(path, {"judge.name": "paired_bootstrap"}).judge.name == "paired_bootstrap"


@pytest.mark.parametrize(
    ("update", "judge", "gate"),
    [
        ("{}", "{}", "paired_score"),
        ("{problem: {name: segmentation}}", "{}", "paired_bootstrap"),
        ("{problem: {name: segmentation}}", "{forgotten_mean: 0.1}", "paired_bootstrap"),
        ("{}", "{name: paired_bootstrap}", "paired_bootstrap"),
    ],
)
def test_without_a_name_the_gate_is_one_that_can_judge_the_problem(
    tmp_path: Path, update: str, judge: str, gate: str
) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(f"validate: {{}}\nupdate: {update}\nevaluate: {{}}\njudge: {judge}\n")
    assert read_params(path).judge.name == gate


@pytest.mark.parametrize("update", ["fast", "[1]", "{problem: 3}", "{problem: {name: [a]}}"])
def test_a_gate_is_no_reason_to_stumble_over_what_is_wrong_elsewhere(tmp_path: Path, update: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(f"validate: {{}}\nupdate: {update}\nevaluate: {{}}\njudge: {{}}\n")
    with pytest.raises(WrongParameters, match="update"):
        read_params(path)


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
    chosen = "update: {strategy: {name: replay_distillation, memory_weight: 2}, budget: {epochs: 3}}"
    path.write_text(SECTIONS.replace("update: {}", chosen))
    changed = read_params(path, {"update.strategy.name": "finetune", "update.memory.size": 10})
    assert changed.update.strategy.name == "finetune"
    assert changed.update.memory.size == 10
    assert changed.update.budget.epochs == 3
    kept = read_params(path, {"update.strategy.name": "replay_distillation"})
    assert kept.update.strategy.model_dump()["memory_weight"] == 2


def test_flat_names_every_value_once() -> None:
    flat = Params().flat()
    assert flat["update.strategy.name"] == "replay_distillation"
    assert flat["validate.refused_share"] == "0.05"
    assert flat["register.model"] == "retain"


def test_what_tells_one_night_from_another_is_short():
    params = Params.model_validate({"update": {"network": {"name": "mlp"}, "memory": {"size": 500}}})
    assert params.distinguishing() == {
        "update.network.name": "mlp", "update.strategy.name": "replay_distillation",
        "update.memory.size": "500", "update.budget.epochs": "1.0",
    }  # fmt: skip


def test_a_misspelt_key_of_a_choice_is_told_by_the_keys_of_that_choice(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text("validate: {}\nevaluate: {}\njudge: {}\nupdate: {strategy: {name: dark_replay, logit_wieght: 1}}\n")
    with pytest.raises(
        WrongParameters, match=r"`update.strategy.logit_wieght` is not a parameter; did you mean `logit_weight`\?"
    ):
        read_params(path)


@pytest.mark.parametrize(
    ("update", "sentence"),
    [
        (
            "{network: {name: resnt18}}",
            "`update.network.name` is `resnt18`, which is not known; did you mean `resnet18`? Known: mlp, cnn, ",
        ),
        (
            "{network: {name: resnt50}}",
            "is `resnt50`, which is not known; did you mean `torchvision` with `model: resnet50`? Known: mlp, ",
        ),
        (
            "{network: {name: fcn_resnt50}}",
            "did you mean `torchvision_segmentation` with `model: fcn_resnet50`? Known: mlp, ",
        ),
        (
            "{network: {name: torchvision, model: resnt50}}",
            "`update.network.model` is `resnt50`, which torchvision does not have; did you mean `resnet50` or ",
        ),
        (
            "{network: {name: torchvision, model: resnet50, weights: IMAGENET}}",
            "`update.network.weights` is `IMAGENET`, which torchvision does not have for resnet50; known: IMAGENET1K_",
        ),
        (
            "{network: {name: torchvision, model: inception_v3}, image: {size: 64}}",
            "torchvision's inception_v3 cannot take images of 64 x 64 pixels (",
        ),
        (
            "{memory: {size: 0}}",
            "`update`: `memory.size: 0` makes no sense with the strategy replay_distillation, which replays what is "
            "remembered; did you mean the strategy `lwf`?",
        ),
        ("{memory: {size: 0}, strategy: {name: replay}}", "did you mean the strategy `finetune`?"),
    ],
)
def test_what_a_night_would_come_to_nothing_by_is_told_at_once(tmp_path, update, sentence):
    path = tmp_path / "params.yaml"
    path.write_text(SECTIONS.replace("update: {}", f"update: {update}"))
    with pytest.raises(WrongParameters) as error:
        read_params(path)
    assert str(error.value).startswith(f"{path}: ")
    assert sentence in str(error.value)


def registered(monkeypatch: pytest.MonkeyPatch, folder: Path, network: NetworkRecipe) -> None:
    """Whoever asks is told that v3 is the champion, and that it has this network."""
    spec = InputSpec(channels=1, height=8, width=8, mean=(0.5,), std=(0.2,))
    description = Description(recipe=network, spec=spec, classes=("a", "b"))
    (folder / "v3" / "snapshot").mkdir(parents=True)
    description.write(folder / "v3" / "snapshot" / DESCRIPTION)
    monkeypatch.setattr(Registry, "start", lambda registry, parent: 3)
    monkeypatch.setattr(Registry, "fetch", lambda registry, version, into: folder / f"v{version}")


def test_another_network_than_the_champions_is_refused_before_anything_is_taken(tmp_path, monkeypatch):
    place = Workspace(tmp_path)
    place.params.write_text(SECTIONS.replace("update: {}", "update: {network: {name: mlp, hidden: [16]}}"))
    RunFile(parent=3, batches=("2026-03-02-aaaaaaaa",)).write(place.run)
    registered(monkeypatch, tmp_path, CNN())
    with pytest.raises(WrongParameters) as error:
        check_start(place)
    assert str(error.value) == (
        "`update.network` is `{name: mlp, hidden: [16]}`, but the champion's is `{name: cnn}`, and a network cannot be "
        "exchanged: restore it, or run one night with the strategy `joint`, which starts over "
        "(`retain night --strategy joint`)."
    )
    assert check_start(place, {"update.strategy.name": "joint"}).update.network.name == "mlp"
    assert check_start(place, {"update.network.name": "cnn"}).update.network == CNN()


@pytest.mark.parametrize(
    ("update", "champion", "sentence"),
    [
        (
            "{network: {name: cnn}}",
            UNet(),
            "The experiences of this workspace were learned with masks, and `update.problem` is `classification`, "
            "which needs none: restore `update.problem`, or make another workspace (`retain init`).",
        ),
        (
            "{problem: {name: segmentation}, network: {name: unet}}",
            CNN(),
            "The experiences of this workspace were learned without masks, and `update.problem` is `segmentation`, "
            "which needs them: restore `update.problem`, or make another workspace (`retain init`).",
        ),
    ],
)
def test_another_problem_than_the_champions_is_refused_whatever_the_strategy(
    tmp_path, monkeypatch, update, champion, sentence
):
    place = Workspace(tmp_path)
    place.params.write_text(SECTIONS.replace("update: {}", f"update: {update}").replace("name: paired_score", ""))
    RunFile(parent=3, batches=("2026-03-02-aaaaaaaa",)).write(place.run)
    registered(monkeypatch, tmp_path, champion)
    for overrides in ({}, {"update.strategy.name": "joint"}):
        with pytest.raises(WrongParameters) as error:
            check_start(place, overrides)
        assert str(error.value) == sentence
    # Where the registry did not answer at first, the night asks again.
    with pytest.raises(WrongParameters, match="restore `update.problem`"):
        read_params(place.params, {"update.strategy.name": "joint"}).update.check_parent(champion)


def test_a_remote_that_cannot_be_used_here_is_told_before_anything_is_taken(tmp_path):
    """A workspace that was made elsewhere, where the driver is."""
    place = Workspace(tmp_path)
    place.params.write_text(SECTIONS)
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text("[core]\nremote = storage\n['remote \"storage\"']\nurl = s4://shop\n")
    with pytest.raises(WrongInput, match="DVC knows no remote at s4://"):
        check_start(place)


@pytest.mark.parametrize("strategy", ["replay_distillation", "analytic"])
def test_a_registry_that_does_not_answer_keeps_no_delivery_from_being_taken(tmp_path, monkeypatch, strategy):
    place = Workspace(tmp_path)
    place.params.write_text(SECTIONS)
    RunFile(parent=3, batches=("2026-03-02-aaaaaaaa",)).write(place.run)
    with socket.socket() as taken:  # Bound, but nobody listens.
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{taken.getsockname()[1]}")
        assert check_start(place, {"update.strategy.name": strategy}).update.strategy.name == strategy


@pytest.mark.parametrize(
    "network",
    [
        "{name: cnn}",
        "{name: mlp}",
        pytest.param("{name: resnet18}", marks=pytest.mark.slow),
        "{name: patches, hidden: [8]}",
        pytest.param("{name: torchvision}", marks=pytest.mark.slow),
    ],
)
def test_a_head_alone_is_not_learned_on_a_network_of_chance(tmp_path, monkeypatch, network):
    place = Workspace(tmp_path)
    place.params.write_text(SECTIONS.replace("update: {}", f"update: {{network: {network}}}"))
    analytic = {"update.strategy.name": "analytic"}
    with pytest.raises(WrongParameters, match="`update.strategy.name` is `analytic`.*choose the network `patches`"):
        check_start(place, analytic)
    assert check_start(place).update.strategy.name == "replay_distillation"
    # What another strategy has trained is worth adding up.
    registered(monkeypatch, tmp_path, read_params(place.params).update.network)
    assert check_start(place, analytic).update.strategy.name == "analytic"


@pytest.mark.parametrize(
    "network", ["{name: patches}", "{name: torchvision, weights: DEFAULT}", "{name: mlp, hidden: []}"]
)
def test_a_head_alone_may_be_learned_on_features_that_are_worth_it(tmp_path, network):
    place = Workspace(tmp_path)
    place.params.write_text(SECTIONS.replace("update: {}", f"update: {{network: {network}}}"))
    assert check_start(place, {"update.strategy.name": "analytic", "update.memory.size": 0}).update.network


def test_every_strategy_that_replays_names_one_that_does_not():
    known = {strategy().name: strategy() for strategy in get_args(get_args(StrategyChoice)[0])}
    image = ImageDataset.__new__(ImageDataset)
    for strategy in known.values():
        _, replayed = strategy.draw(TrainingData(image, lambda: image, lambda: image))
        assert bool(strategy.without_memory) == (replayed is not None), strategy.name
        assert not strategy.without_memory or not known[strategy.without_memory].without_memory


@pytest.mark.parametrize(
    ("name", "kind", "text", "sentence"),
    [
        ("register", RegisterParams, "register: {model: a/b}", "`register.model`: string should match pattern"),
        ("register", RegisterParams, "register: {reload_image: 3}", "`register.reload_image` is not a parameter"),
        ("ingest", IngestParams, "ingest: {test_share: 0.6, validation_share: 0.5}", "`ingest`: test_share and"),
        ("ingest", IngestParams, "ingest: 3", "`ingest`: input should be a valid dictionary"),
    ],
)  # fmt: skip
def test_one_section_is_refused_with_the_sentence_of_the_whole_file(tmp_path, name, kind, text, sentence):
    path = tmp_path / "params.yaml"
    path.write_text("validate: {}\nupdate: {}\nevaluate: {}\njudge: {name: paired_score}\n" + text)
    with pytest.raises(WrongParameters, match=re.escape(f"{path}: {sentence}")) as alone:
        read_section(path, name, kind)
    with pytest.raises(WrongParameters) as whole:
        read_params(path)
    assert str(alone.value) == str(whole.value)


def test_a_mistake_elsewhere_does_not_keep_a_section_from_being_read(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text("update: {strategie: 3}\nregister: {model: seeds}\n")
    assert read_section(path, "register", RegisterParams).model == "seeds"
