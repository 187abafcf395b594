import pytest

from models.budget import Budget


@pytest.mark.parametrize(
    ("budget", "images", "steps"),
    [
        (Budget(epochs=1, batch_size=64, min_steps=1), 640, 10),
        (Budget(epochs=2.5, batch_size=64, min_steps=1), 640, 25),
        (Budget(epochs=1, batch_size=64), 640, 150),
        (Budget(epochs=1, batch_size=64, min_steps=1, max_steps=4), 640, 4),
    ],
)
def test_a_budget_is_a_number_of_steps(budget: Budget, images: int, steps: int) -> None:
    assert budget.steps(images) == steps
