"""What was admitted before a batch, for looking up its images by their content."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

import pandas as pd

from records.experience import Experience

LOOKED_UP = ("image", "label", "split", "phash", "width", "height")
"""Columns of the facts that are looked up."""


@dataclass(frozen=True, eq=False)
class EarlierImages:
    """What was admitted before, for looking up an image by its content. Made once a night."""

    images: pd.DataFrame
    """Index: content id, each once. Columns `label`, `split`, `phash`, `side` (shorter side, pixels), `experience`."""

    @classmethod
    def of(cls, learned: Iterable[tuple[Experience, pd.DataFrame]]) -> Self:
        """Take the admitted rows of earlier experiences, each with the facts of its whole batch (index 0..n-1).

        The batch that is to be validated must not be among them: all its images would be known.
        """
        columns = ["image", "label", "split", "phash"]
        nothing = pd.DataFrame(columns=[*columns, "experience"], dtype=str).assign(side=pd.Series(dtype="int64"))
        tables = [nothing]
        for experience, facts in learned:
            admitted = facts.drop(index=list(experience.left_out))
            side = admitted[["width", "height"]].min(axis=1)
            tables.append(admitted[columns].assign(side=side, experience=experience.batch))
        images = pd.concat(tables[1:] or tables, ignore_index=True)
        # Should an image have come twice, what matters is that it has been tested on.
        images = images.sort_values("split", key=lambda s: s != "test", kind="stable").drop_duplicates("image")
        return cls(images.set_index("image"))

    def and_also(self, experience: Experience, facts: pd.DataFrame) -> Self:
        """With one experience more."""
        images = pd.concat([self.images, type(self).of([(experience, facts)]).images])
        return type(self)(images[~images.index.duplicated()])

    def tests_like(self, looks: Iterable[str], side: int) -> Mapping[str, str]:
        """Of the given perceptual hashes, those of test images with a shorter side of at least `side` pixels.

        Each is mapped to the experience of one such image.
        """
        like = self.images[self.images["phash"].isin(set(looks))]
        like = like[(like["split"] == "test") & (like["side"] >= side)]
        return dict(zip(like["phash"], like["experience"], strict=True))


NOTHING_EARLIER = EarlierImages.of(())
"""Before the first experience."""
