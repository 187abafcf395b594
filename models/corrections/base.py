"""What a correction is to the rest: a last touch, after training; most take a bias for new classes out of the head.

A night sees far more images of new classes than of old ones, and a head that is trained on them leans towards the new.
Balanced softmax takes that out of the loss (see `models/minibatches.py`); a correction repairs the head afterwards.
To add one, write its file beside this one and list it in `models/catalogue.py`.
"""

from typing import ClassVar

from models.strategies.base import TrainingContext, TrainingData
from records.record import Record


class BiasCorrection(Record):
    """A repair of the network. Nothing happens on the first night."""

    name: str
    """Tells it apart."""
    needs_memory: ClassVar[bool] = False
    """True if it is fitted on remembered images."""

    def apply(self, context: TrainingContext, data: TrainingData) -> None:
        """Change the context's network in place."""
        raise NotImplementedError


def old_and_new(context: TrainingContext) -> tuple[int, int]:
    """How many classes the parent knew, and how many came with this night."""
    old = 0 if context.parent is None else context.parent.head.out_features
    return old, context.network.head.out_features - old
