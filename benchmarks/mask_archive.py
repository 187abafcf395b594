"""The nights of digits on canvases in working memory, so that a benchmark measures learning and not files."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dataset.archive import Archive
from dataset.labels import Labels, Names
from dataset.split import content_id, split_of
from dataset.streams.canvases import Canvases
from dataset.streams.digits_on_canvas import LabelledNight
from records.batch import BACKGROUND
from records.experience import Experience
from records.snapshot import InputSpec


class MaskArchive(Archive):
    """A batch a night, under the night's name, split by what its images show."""

    def __init__(self, nights: Sequence[LabelledNight], test_share: float) -> None:
        super().__init__(Path(), Path())
        self.nights = {night.name: night for night in nights}
        self._canvases = {night.name: night.canvases() for night in nights}
        self._labels = {n.name: _labels(n, self._canvases[n.name], test_share) for n in nights}

    def labels(self, batch_id: str) -> Labels:
        """Content id, classes, split of every row; all classes of the batch were looked for."""
        return self._labels[batch_id]

    def mask_classes(self, batch_id: str) -> tuple[str, ...]:
        """Names of the values in the masks of a batch."""
        return (BACKGROUND, *self.nights[batch_id].classes)

    def pixels(self, batch_id: str, spec: InputSpec) -> NDArray[np.uint8]:
        """All rows of a batch, as they are."""
        return self._canvases[batch_id].pixels[:, None]

    def masks(self, batch_id: str, spec: InputSpec) -> NDArray[np.uint8]:
        """Their masks."""
        return self._canvases[batch_id].masks(self.nights[batch_id].labelled)

    def input_spec(self, experiences: Sequence[Experience], size: int | None, channels: int | None) -> InputSpec:
        """The images' own shape; mean and deviation over all images of `experiences`."""
        first = np.concatenate([self._canvases[e.batch].pixels for e in experiences]) / 255
        mean, std = (round(float(value), 6) for value in (first.mean(), first.std()))
        return InputSpec(channels=1, height=first.shape[1], width=first.shape[2], mean=(mean,), std=(std,))

    def experiences(self) -> tuple[Experience, ...]:
        """Every night's batch, wholly admitted."""
        return tuple(
            Experience(
                batch=name,
                digest=name,
                classes=night.classes,
                train=int(self._labels[name].split.equal("train").sum()),
                validation=0,
                test=int(self._labels[name].split.equal("test").sum()),
            )
            for name, night in self.nights.items()
        )


def _labels(night: LabelledNight, canvases: Canvases, test_share: float) -> Labels:
    ids = [content_id(pixels[:, :, None]) for pixels in canvases.pixels]
    names = (BACKGROUND, *night.classes)
    shown = [[names[value] for value in np.unique(mask) if value] for mask in canvases.masks(night.labelled)]
    return Labels(
        image=np.array(ids, dtype=np.bytes_),
        label=_names(["/".join(found) or BACKGROUND for found in shown]),
        split=_names([split_of(image, test_share, 0) for image in ids]),
        labelled_for=_names([""] * len(ids)),
    )


def _names(values: Sequence[str]) -> Names:
    names, code = np.unique(values, return_inverse=True)
    return Names(code.astype(np.int32), tuple(names.tolist()))
