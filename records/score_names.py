"""What a problem's score is called: in the names of metrics as it is, in sentences as the field writes it."""

ACCURACY = "accuracy"
"""The score of answers that are right or wrong: the share of images that are right."""
WRITTEN = {"miou": "mIoU", "iou": "IoU"}


def written(name: str) -> str:
    """The name of a score as people write it."""
    return WRITTEN.get(name, name)


def in_title(name: str) -> str:
    """The score where it stands first: `Score` for accuracy, and by its name where it is something else."""
    return "Score" if name == ACCURACY else written(name)


def labelled(name: str) -> str:
    """The score above a column or a row of numbers: `right answers` for accuracy, else its name."""
    return "right answers" if name == ACCURACY else written(name)
