import json
import pickle
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from models import learner as module
from models.learner import Learner
from models.networks.cnn import CNN
from models.networks.mlp import MLP
from records.errors import DamagedState
from records.snapshot import InputSpec

SPEC = InputSpec(channels=1, height=8, width=6, mean=(0.4,), std=(0.2,))
RECIPES = [MLP(hidden=(5,)), CNN(width=8)]


def images(count, seed=0):
    return torch.randint(0, 256, (count, 1, 8, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def learner(recipe=RECIPES[0], classes=("b", "a"), seed=0):
    return Learner.fresh(recipe, SPEC, classes, seed)


class Trap:
    """Unpickled, it leaves a file behind."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_written_and_read_back_it_gives_equal_outputs(recipe, tmp_path):
    first = learner(recipe)
    first.write(tmp_path)
    again = Learner.read(tmp_path)
    assert (again.recipe, again.spec, again.classes) == (recipe, SPEC, ("b", "a"))
    assert torch.equal(again.outputs(images(9)), first.outputs(images(9)))


def test_equal_learners_give_equal_files(tmp_path):
    for name in "ab":
        learner().write(tmp_path / name)
    for name in ("weights.safetensors", "learner.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_at_rest_it_is_tensors_and_text_alone(tmp_path):
    learner().write(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["learner.json", "weights.safetensors"]
    content = (tmp_path / "weights.safetensors").read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    assert set(header) == set(learner().network.state_dict())


@pytest.mark.parametrize("write", [lambda trap, path: path.write_bytes(pickle.dumps(trap)), torch.save])
def test_a_pickle_in_place_of_the_weights_is_refused_and_not_run(write, tmp_path):
    learner().write(tmp_path / "learner")
    write(Trap(tmp_path / "sprung"), tmp_path / "learner" / "weights.safetensors")
    with pytest.raises(SafetensorError):
        Learner.read(tmp_path / "learner")
    assert not (tmp_path / "sprung").exists()


def test_without_its_description_it_cannot_be_read(tmp_path):
    learner().write(tmp_path)
    (tmp_path / "learner.json").unlink()
    with pytest.raises(DamagedState, match=r"learner\.json is missing"):
        Learner.read(tmp_path)


def test_new_classes_are_appended_in_the_order_of_their_names():
    grown = learner()
    before = grown.outputs(images(9))
    grown.add_classes(["d", "a", "c"], seed=1)
    assert grown.classes == ("b", "a", "c", "d")
    after = grown.outputs(images(9))
    assert after.shape == (9, 4)
    assert torch.allclose(after[:, :2], before, atol=1e-6)


def test_meeting_known_classes_changes_nothing():
    same = learner()
    before = same.network.state_dict()
    same.add_classes(["a", "b"], seed=1)
    assert same.classes == ("b", "a")
    assert all(torch.equal(value, before[name]) for name, value in same.network.state_dict().items())


def test_a_class_that_two_deliveries_bring_is_met_once():
    grown = learner()
    grown.add_classes(["c", "d", "c"], seed=1)
    assert grown.classes == ("b", "a", "c", "d")


def test_equal_seeds_give_equal_weights_and_leave_other_randomness_alone():
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    first, second, other = learner(seed=1), learner(seed=1), learner(seed=2)
    for one in (first, second):
        one.add_classes(["c"], seed=3)
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(first.outputs(images(9)), second.outputs(images(9)))
    assert not torch.equal(first.outputs(images(9))[:, :2], other.outputs(images(9)))


def test_outputs_do_not_depend_on_how_many_images_are_asked_at_once(monkeypatch):
    many = images(23)
    whole = learner().outputs(many)
    monkeypatch.setattr(module, "PIXELS_AT_ONCE", 5 * many[0].numel())
    assert learner().at_once == 5
    outputs = learner().outputs(many)
    assert torch.allclose(outputs, whole, atol=1e-6)
    assert outputs.shape == (23, 2)
    assert torch.allclose(outputs[-3:], learner().outputs(many[-3:]), atol=1e-6)
    assert learner().outputs(many[:0]).shape == (0, 2)


def test_one_that_knows_nothing_can_be_written_and_read(tmp_path):
    learner(classes=()).write(tmp_path)
    again = Learner.read(tmp_path)
    again.add_classes(["a"], seed=0)
    assert again.outputs(images(2)).shape == (2, 1)


def test_a_network_of_before_its_parameters_were_renamed_is_read(tmp_path):
    learner = Learner.fresh(MLP(initialisation="orthogonal"), SPEC, ("a", "b"), 0)
    learner.write(tmp_path)
    description = tmp_path / "learner.json"
    description.write_text(description.read_text().replace("initialisation", "start"))
    assert Learner.read(tmp_path).recipe == learner.recipe
