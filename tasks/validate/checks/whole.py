"""Checks of the batch as a whole: is enough left, and was little refused?"""

from records.formatting import count_of, percent
from tasks.validate.checks.base import BatchCheck, CheckGroup, FilteredBatch, Measured


def _refused(left: FilteredBatch) -> Measured:
    refused, images = int(left.table["refused"].sum()), len(left.table)
    limit = left.arriving.params.refused_share
    note = f"{refused} of {count_of(images)} ({percent(refused / images, limit)}), at most {100 * limit:.4g}% allowed"
    return Measured(refused / images, note, refused)


def _left_for(split: str, purpose: str, left: FilteredBatch) -> Measured:
    params = left.arriving.params
    least = params.min_train if split == "train" else params.min_test
    number = int((left.learned["split"] == split).sum())
    note = f"{count_of(number)} left for {purpose}, at least {least} needed"
    return Measured(number, note, max(0, least - number), final=number == 0)


WHOLE = CheckGroup(
    (
        BatchCheck(
            "refused-share",
            "batch",
            "refuse batch",
            "If too many images are bad, the batch was probably made in a wrong way, and the rest is in doubt.",
            "Mend or leave out the images listed below and release the batch, or deliver it again.",
            ("refused_share",),
            measure=_refused,
            most=lambda params: params.refused_share,
        ),
        BatchCheck(
            "least-train",
            "batch",
            "refuse batch",
            "Enough images must be left for training once others are left out.",
            "Send a larger batch, or lower params.validate.min_train.",
            ("min_train",),
            measure=lambda left: _left_for("train", "training", left),
            least=lambda params: params.min_train,
        ),
        BatchCheck(
            "least-test",
            "batch",
            "refuse batch",
            "Enough images must be left for testing once others are left out.",
            "Send a larger batch, or lower params.validate.min_test.",
            ("min_test",),
            measure=lambda left: _left_for("test", "testing", left),
            least=lambda params: params.min_test,
        ),
    )
)
