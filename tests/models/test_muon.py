import pytest
import torch
from torch import nn

from models.muon import Muon, orthogonal, takes


def turned(shape: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(5, 40), (40, 5), (16, 16), (1, 7)])
def test_the_nearest_orthogonal_matrix_keeps_directions_and_evens_their_lengths(shape: tuple[int, int]) -> None:
    matrix = turned(shape)
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    found = orthogonal(matrix)
    in_its_directions = left.T @ found @ right.T
    lengths = in_its_directions.diagonal()
    assert lengths.min() > 0.65
    assert lengths.max() < 1.25
    assert (in_its_directions - lengths.diag()).abs().max() < 1e-4


def test_a_matrix_of_zeros_stays_one() -> None:
    assert not orthogonal(torch.zeros(3, 4)).any()


@pytest.mark.parametrize("shape", [(6, 9), (9, 6)])
def test_steps_are_those_of_torch_but_for_its_rounding(shape: tuple[int, int]) -> None:
    mine, its = (nn.Parameter(turned(shape)) for _ in range(2))
    optimisers = Muon([mine], lr=0.02), torch.optim.Muon([its], lr=0.02, weight_decay=0.0)
    for seed in range(1, 6):
        for weight in (mine, its):
            weight.grad = turned(shape, seed)
        for optimiser in optimisers:
            optimiser.step()
    torch.testing.assert_close(mine, its, atol=2e-3, rtol=0)
    assert (mine - turned(shape)).abs().max() > 0.02


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_kernel_is_the_matrix_that_it_is_to_a_patch_wherever_its_numbers_lie(layout: torch.memory_format) -> None:
    kernel = nn.Parameter(turned((8, 3, 2, 2)).to(memory_format=layout))
    matrix = nn.Parameter(turned((8, 3, 2, 2)).flatten(1))
    kernel.grad = turned((8, 3, 2, 2), 1).to(memory_format=layout)
    matrix.grad = turned((8, 3, 2, 2), 1).flatten(1)
    Muon([kernel, matrix], lr=0.1).step()
    torch.testing.assert_close(kernel.flatten(1), matrix)
    assert kernel.is_contiguous(memory_format=layout)


def test_what_has_no_gradient_stays() -> None:
    weight = nn.Parameter(turned((3, 3)))
    Muon([weight], lr=0.1).step()
    torch.testing.assert_close(weight.detach(), turned((3, 3)), rtol=0, atol=0)


def test_kernels_of_single_channels_and_vectors_are_left_to_others() -> None:
    assert takes(turned((4, 3)))
    assert takes(turned((4, 3, 3, 3)))
    assert not takes(turned((4, 1, 3, 3)))
    assert not takes(turned((4,)))
