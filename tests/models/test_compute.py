from collections.abc import Callable

import pytest
import torch
from torch import nn

from models.compute import ONE_CPU, Compute, default_device
from records.errors import WrongInput
from tests.models.datasets import linear


def multiplied_in(compute: Compute) -> torch.dtype:
    with compute.autocast():
        return nn.Linear(2, 2)(torch.zeros(1, 2)).dtype


@pytest.mark.parametrize(
    ("precision", "dtype"), [("auto", torch.float32), ("float32", torch.float32), ("bfloat16", torch.bfloat16)]
)
def test_a_cpu_computes_in_full_precision_unless_it_is_told(precision: str, dtype: torch.dtype) -> None:
    assert multiplied_in(Compute(precision=precision)) == dtype


@pytest.mark.parametrize(("precision", "mixed"), [("auto", True), ("bfloat16", True), ("float32", False)])
def test_a_gpu_computes_in_mixed_precision_unless_it_is_told(
    precision: str, mixed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(torch, "autocast", lambda *what: asked.append(what))
    Compute(torch.device("cuda"), precision).autocast()
    assert asked == ([("cuda", torch.bfloat16)] if mixed else [])


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_the_parts_of_all_processes_are_the_whole(processes: int) -> None:
    positions = torch.arange(100, 108)
    parts = [Compute(rank=rank, processes=processes).part(positions) for rank in range(processes)]
    assert sorted(torch.cat(parts).tolist()) == positions.tolist()
    assert {len(part) for part in parts} == {8 // processes}


def test_parts_of_different_sizes_are_refused() -> None:
    with pytest.raises(WrongInput, match="3 processes cannot share 8 images a step evenly"):
        Compute(rank=1, processes=3).part(torch.arange(8))


def test_a_process_alone_has_nothing_to_average_or_agree_on() -> None:
    layer = nn.Linear(2, 2)
    layer(torch.ones(1, 2)).sum().backward()
    before = layer.weight.grad.clone()
    ONE_CPU.average_gradients(layer)
    assert torch.equal(layer.weight.grad, before)
    assert ONE_CPU.agreed(1.25) == 1.25


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """`gpus(4)` makes a machine of four GPUs of this one; this process is the fourth of several."""

    def pretend(count: int) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setenv("LOCAL_RANK", "3")

    return pretend


@pytest.mark.parametrize(
    ("wanted", "count", "device"),
    [
        ("cpu", 4, "cpu"),
        ("", 0, "cpu"),
        ("", 4, "cuda:3"),
        ("cuda", 4, "cuda:3"),
        ("cuda:1", 4, "cuda:1"),
    ],
)
def test_each_process_has_a_gpu_of_its_own_unless_it_is_told(
    wanted: str, count: int, device: str, gpus: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    gpus(count)
    monkeypatch.setenv("RETAIN_DEVICE", wanted)
    assert default_device() == torch.device(device)


@pytest.mark.parametrize(
    ("wanted", "count", "sentence"),
    [
        (
            "gpu",
            0,
            "RETAIN_DEVICE is `gpu`; it must be `cpu`, `cuda`, or one GPU such as `cuda:0`, and what torch finds ",
        ),
        ("cuda", 0, "here is the CPU alone."),
        ("cuda:2", 2, "here is cpu, cuda:0, cuda:1."),
        ("cuda", 2, "RETAIN_DEVICE is `cuda`, which means cuda:3 for this process; it must be "),
        ("", 2, "RETAIN_DEVICE is not set, which means cuda:3 for this process; it must be "),
        ("tpu:0", 2, "RETAIN_DEVICE is `tpu:0`; it must be "),
    ],
)
def test_a_device_that_is_not_there_is_refused_with_what_is(
    wanted: str, count: int, sentence: str, gpus: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    gpus(count)
    monkeypatch.setenv("RETAIN_DEVICE", wanted)
    with pytest.raises(WrongInput) as refused:
        default_device()
    assert sentence in str(refused.value)


def test_alone_it_is_the_first_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETAIN_DEVICE", "cpu")
    here = Compute.here("float32")
    assert (here.rank, here.processes, here.precision, here.device) == (0, 1, "float32", torch.device("cpu"))


@pytest.mark.unhurried
def test_a_compiled_body_learns_the_same_and_is_written_the_same(monkeypatch) -> None:
    plain, compiled = (linear([[1.0, 2.0], [0.0, 1.0]]) for _ in range(2))
    monkeypatch.setenv("RETAIN_COMPILE", "eager")
    ONE_CPU.compiled(compiled)
    images = torch.randint(0, 256, (4, 1, 1, 2), dtype=torch.uint8)
    assert torch.equal(compiled(images), plain(images))
    assert compiled.state_dict().keys() == plain.state_dict().keys()
