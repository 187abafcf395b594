"""Judge: may the candidate become the champion? Outcomes on every experience in, a verdict out, nothing touched."""

from collections.abc import Sequence

from models.gates.base import Gate, Outcomes
from records.verdict import Verdict


def judge(outcomes: Sequence[Outcomes], gate: Gate, attempt: int = 1) -> Verdict:
    """The gate's verdict on a candidate. The same outcomes, gate and attempt give the same verdict.

    `attempt` counts the candidates that were judged on these data and this parent, this one included. Raises ValueError
    if there are no outcomes, or some of a kind that the gate cannot judge.
    """
    return gate.judge(outcomes, attempt)
