"""An archive in working memory, so that a benchmark of learning measures learning and not files."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.streams import Stream
from dataset.archive import Archive
from dataset.labels import Labels, Names
from records.experience import Experience
from records.snapshot import InputSpec


class MemoryArchive(Archive):
    """The batches of a stream, one a night, under the names `night-01`, `night-02`, ..."""

    def __init__(self, stream: Stream) -> None:
        super().__init__(Path(), Path())
        self.stream = stream
        self._labels = {n.name: _labels(n.name, n.targets, n.test, stream.classes) for n in stream.nights}
        self._pixels = {night.name: night.images for night in stream.nights}

    def labels(self, batch_id: str) -> Labels:
        """Content id, label and split of every row."""
        return self._labels[batch_id]

    def pixels(self, batch_id: str, spec: InputSpec) -> NDArray[np.uint8]:
        """All rows of a batch, as they are."""
        return self._pixels[batch_id]

    def experiences(self) -> tuple[Experience, ...]:
        """Every night's batch, wholly admitted."""
        return tuple(
            Experience(
                batch=night.name,
                digest=night.name,
                classes=tuple(sorted({self.stream.classes[t] for t in night.targets})),
                train=int((~night.test).sum()),
                validation=0,
                test=int(night.test.sum()),
            )
            for night in self.stream.nights
        )

    def input_spec(self, experiences: Sequence[Experience], size: int | None, channels: int | None) -> InputSpec:
        """The images' own shape; mean and deviation over the training images of `experiences`."""
        first = np.concatenate([self._pixels[e.batch][self._labels[e.batch].split.equal("train")] for e in experiences])
        axes = (0, 2, 3)
        count, height, width = first.shape[1:]
        return InputSpec(
            channels=count,
            height=height,
            width=width,
            mean=tuple((first.mean(axis=axes) / 255).round(6).tolist()),
            std=tuple((first.std(axis=axes) / 255).round(6).tolist()),
        )


def _labels(name: str, targets: NDArray[np.int64], test: NDArray[np.bool_], classes: Sequence[str]) -> Labels:
    return Labels(
        image=np.array([f"{name}/{row}" for row in range(len(targets))], dtype=np.bytes_),
        label=Names(targets.astype(np.int32), tuple(classes)),
        split=Names(test.astype(np.int32), ("train", "test")),
    )
