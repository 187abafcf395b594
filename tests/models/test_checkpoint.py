import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from models.checkpoint import Checkpoint, Saved


@pytest.fixture
def checkpoint(tmp_path: Path) -> Checkpoint:
    return Checkpoint(tmp_path / "state" / "unfinished.safetensors", "night")


def saved(step: int = 7) -> Saved:
    return Saved(step, 1.5, {"network/weight": torch.eye(3), "seen/images": torch.tensor(step)})


def test_what_was_saved_is_loaded(checkpoint: Checkpoint) -> None:
    checkpoint.save(saved(3))
    checkpoint.save(saved(7))
    loaded = Checkpoint(checkpoint.path, "night").load()
    assert (loaded.step, loaded.seconds) == (7, 1.5)
    assert loaded.tensors.keys() == saved().tensors.keys()
    assert all(torch.equal(tensor, saved().tensors[name]) for name, tensor in loaded.tensors.items())
    assert [path.name for path in checkpoint.path.parent.iterdir()] == ["unfinished.safetensors"]


def test_another_nights_is_not_loaded(checkpoint: Checkpoint) -> None:
    checkpoint.save(saved())
    assert Checkpoint(checkpoint.path, "another night").load() is None


def test_where_nothing_was_saved_nothing_is_loaded(checkpoint: Checkpoint) -> None:
    assert checkpoint.load() is None


def test_a_kill_while_saving_leaves_the_last_one(checkpoint: Checkpoint) -> None:
    checkpoint.save(saved(3))
    half = checkpoint.path.with_name(f".{checkpoint.path.name}.123")
    half.write_bytes(checkpoint.path.read_bytes()[:50])
    assert checkpoint.load().step == 3
    checkpoint.clear()
    assert list(checkpoint.path.parent.iterdir()) == []


@pytest.mark.parametrize("left", [0, 4, 20, 270])
def test_a_file_that_is_cut_off_is_no_start(checkpoint: Checkpoint, left: int) -> None:
    checkpoint.save(saved())
    content = checkpoint.path.read_bytes()
    assert len(content) > 270
    checkpoint.path.write_bytes(content[:left])
    assert checkpoint.load() is None


class Trap:
    def __reduce__(self) -> tuple:
        return Path.touch, (Path("trapped"),)


@pytest.mark.parametrize("written", ["pickle", "torch"])
def test_a_pickle_is_no_start_and_is_not_run(
    checkpoint: Checkpoint, written: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    checkpoint.path.parent.mkdir()
    if written == "pickle":
        checkpoint.path.write_bytes(pickle.dumps(Trap()))
    else:
        torch.save({"network/weight": Trap()}, checkpoint.path)
    assert checkpoint.load() is None
    assert not (tmp_path / "trapped").exists()


@pytest.mark.parametrize("metadata", [None, {"other": "x"}, {"retain": "no json"}, {"retain": '{"identity": "night"}'}])
def test_anybody_elses_tensors_are_no_start(checkpoint: Checkpoint, metadata: dict | None) -> None:
    checkpoint.path.parent.mkdir()
    save_file({"weight": torch.eye(3)}, checkpoint.path, metadata)
    assert checkpoint.load() is None


def test_it_is_due_after_so_many_seconds(checkpoint: Checkpoint) -> None:
    assert not checkpoint.due()
    checkpoint.every = 0
    assert checkpoint.due()


def test_finished_there_is_nothing_left_and_nothing_to_clear(checkpoint: Checkpoint) -> None:
    checkpoint.save(saved())
    checkpoint.clear()
    checkpoint.clear()
    assert checkpoint.load() is None
