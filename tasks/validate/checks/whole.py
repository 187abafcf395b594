"""Checks of the batch as a whole: is enough left, and was little refused?"""

from records.batch import Annotation
from records.formatting import count_of, percent
from tasks.validate.checks.base import BatchCheck, CheckGroup, FilteredBatch, Measurement


def _refused(filtered: FilteredBatch) -> Measurement:
    refused, images = int(filtered.table["refused"].sum()), len(filtered.table)
    limit = filtered.arriving.params.refused_share
    note = f"{refused} of {count_of(images)} ({percent(refused / images, limit)}), at most {100 * limit:.4g}% allowed"
    return Measurement(refused / images, note, refused)


def _left_for(split: str, purpose: str, filtered: FilteredBatch) -> Measurement:
    params = filtered.arriving.params
    least = params.min_train if split == "train" else params.min_test
    number = int((filtered.learned["split"] == split).sum())
    note = f"{count_of(number)} left for {purpose}, at least {least} needed"
    return Measurement(number, note, max(0, least - number), final=number == 0)


def _annotated(filtered: FilteredBatch) -> Measurement:
    wanted, found = filtered.arriving.annotation, filtered.arriving.batch.annotation
    words = {"": "no masks", "mask": "masks"}
    note = f"it comes with {words[found]}, and the problem that is learned needs {words[wanted]}"
    if wanted == found:
        note = f"it comes with {words[found]}, as the problem that is learned needs"
    remedy = REMEDIES[wanted] if wanted != found else ""
    return Measurement(float(wanted != found), note, filtered.arriving.batch.images, final=True, remedy=remedy)


REMEDIES: dict[Annotation, str] = {
    "": "Set `update.problem: {name: segmentation}` (docs/how-to/segmentation.md) and release it.",
    "mask": "Deliver images with masks: a folder with images/, masks/ and classes.txt, COCO's JSON, or Pascal VOC.",
}
"""What to do about a batch that comes with something else than the problem needs, by what it needs."""


WHOLE = CheckGroup(
    (
        BatchCheck(
            "annotation",
            "batch",
            "refuse batch",
            "Images come with what the problem learns from: masks for segmentation, labels alone for classification.",
            "Deliver them as params.update.problem needs them, or learn them in a workspace of their own.",
            measure=_annotated,
            most=lambda params: 0,
        ),
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
            measure=lambda filtered: _left_for("train", "training", filtered),
            least=lambda params: params.min_train,
        ),
        BatchCheck(
            "least-test",
            "batch",
            "refuse batch",
            "Enough images must be left for testing once others are left out.",
            "Send a larger batch, or lower params.validate.min_test.",
            ("min_test",),
            measure=lambda filtered: _left_for("test", "testing", filtered),
            least=lambda params: params.min_test,
        ),
    )
)
