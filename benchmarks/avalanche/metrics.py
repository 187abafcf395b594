"""What Avalanche's metric classes compute for accuracy matrices small enough to check by hand.

    python metrics.py

Prints one JSON line per matrix (row: after training experience i, column: tested on experience j; `baseline` is the
accuracy of the untrained network on each experience). Avalanche's plugin metrics are driven as its evaluation loop
drives them, and the standalone classes are asked as well. What comes out:

* Forgetting of an experience is the accuracy when it was first trained (the diagonal) less the present one; it is not
  taken from the best earlier accuracy. An experience that was just trained, or not yet, has none. The stream's value is
  the mean over the experiences that have one.
* Backward transfer (BWT) is forgetting with the other sign.
* Forward transfer of experience j is the accuracy on j after experience j - 1 less that of the untrained network; the
  first experience has none. The stream's value is the mean over the experiences that have one.
* Stream accuracy is the share of right answers over all samples of all experiences, which is the mean of the row only
  where all experiences have equally many samples.
"""

import json
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import torch
from avalanche.evaluation.metrics import StreamAccuracy, TrainedExperienceAccuracy
from avalanche.evaluation.metrics.forgetting_bwt import (
    BWT,
    ExperienceBWT,
    ExperienceForgetting,
    Forgetting,
    StreamBWT,
    StreamForgetting,
)
from avalanche.evaluation.metrics.forward_transfer import (
    ExperienceForwardTransfer,
    ForwardTransfer,
    StreamForwardTransfer,
)

SAMPLES = 100
BASELINE = [0.1, 0.1, 0.1]
MATRICES = {
    "falling": [[0.9, 0.1, 0.2], [0.7, 0.8, 0.3], [0.6, 0.5, 0.85]],
    "best after the first training": [[0.7, 0.1, 0.2], [0.9, 0.8, 0.3], [0.6, 0.5, 0.85]],
}
PLUGINS = (
    StreamAccuracy,
    TrainedExperienceAccuracy,
    ExperienceForgetting,
    StreamForgetting,
    ExperienceBWT,
    StreamBWT,
    ExperienceForwardTransfer,
    StreamForwardTransfer,
)


def situation(number: int) -> SimpleNamespace:
    """What the metrics look at in a strategy while it is at this experience."""
    experience = SimpleNamespace(
        current_experience=number, task_labels=[0], task_label=0, origin_stream=SimpleNamespace(name="test")
    )
    clock = SimpleNamespace(train_iterations=0)
    return SimpleNamespace(experience=experience, clock=clock, eval_every=0, is_eval=True, is_training=False)


def answers(accuracy: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Labels and outputs of which this share agrees."""
    labels = torch.zeros(SAMPLES, dtype=torch.long)
    guesses = (torch.arange(SAMPLES) >= round(accuracy * SAMPLES)).long()
    return labels, torch.nn.functional.one_hot(guesses, 2).float()


def evaluate(metric: Any, row: Iterable[float]) -> None:
    """Send the metric through an evaluation of all experiences, as the strategy would."""
    now = situation(0)
    metric.before_eval(now)
    for number, accuracy in enumerate(row):
        now = situation(number)
        now.mb_y, now.mb_output = answers(accuracy)
        now.mb_task_id = torch.zeros(SAMPLES, dtype=torch.long)
        metric.before_eval_exp(now)
        metric.after_eval_iteration(now)
        metric.after_eval_exp(now)
    metric.after_eval(now)


def plain(result: Any) -> Any:
    """The result rounded, with text for keys."""
    if isinstance(result, dict):
        return {str(key): round(value, 6) for key, value in result.items()}
    return round(result, 6)


def plugin_values(matrix: list[list[float]]) -> dict[str, list[Any]]:
    """For every plugin metric, its result after each training experience."""
    values = {}
    for plugin in PLUGINS:
        metric: Any = plugin()
        evaluate(metric, BASELINE)
        results = []
        for number, row in enumerate(matrix):
            metric.before_training_exp(situation(number))
            metric.after_training_exp(situation(number))
            evaluate(metric, row)
            results.append(plain(metric.result()))
        values[plugin.__name__] = results
    return values


def standalone_values(matrix: list[list[float]]) -> dict[str, Any]:
    """The standalone classes at the end: told the diagonal, the last row, the entries above the diagonal."""
    forgetting, bwt, forward = Forgetting(), BWT(), ForwardTransfer()
    for number in range(len(matrix)):
        forward.update(number, BASELINE[number], initial=True)
        if number > 0:
            forward.update(number, matrix[number - 1][number])
        for metric in (forgetting, bwt):
            metric.update(number, matrix[number][number], initial=True)
            if number < len(matrix) - 1:
                metric.update(number, matrix[-1][number])
    return {metric.__class__.__name__: plain(metric.result()) for metric in (forgetting, bwt, forward)}


def main() -> None:
    """Print the values for every matrix."""
    for name, matrix in MATRICES.items():
        line = {"name": name, "matrix": matrix, "baseline": BASELINE}
        print(json.dumps(line | {"plugins": plugin_values(matrix), "standalone": standalone_values(matrix)}))


if __name__ == "__main__":
    main()
