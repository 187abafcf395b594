"""How a verdict speaks of losses: as shares of right answers, or as points of a score that is no share of images."""

from dataclasses import dataclass

from records.formatting import in_percent
from records.score_names import ACCURACY, written
from records.verdict import ClassFinding, Finding

OF_THE_CHAMPION = " of what the champion sees"


@dataclass(frozen=True)
class Wording:
    """Right answers are lost by images; of another score, such as the mIoU, it is said how far it fell."""

    score: str = ACCURACY
    class_score: str = ACCURACY

    @property
    def counts(self) -> bool:
        """Whether the score is the share of images that are right."""
        return self.score == ACCURACY

    @property
    def of(self) -> str:
        """What stands between what was lost and where."""
        return "of" if self.counts else "on"

    def loss(self, value: float) -> str:
        """`2.1%`, or `2.1 points`."""
        return in_percent(value) if self.counts else f"{in_percent(value).removesuffix('%')} points"

    def named_loss(self, value: float) -> str:
        """`2.1%`, or `2.1 points of mIoU`."""
        return self.loss(value) if self.counts else f"{self.loss(value)} of {written(self.score)}"

    def bound(self, f: Finding, value: float) -> str:
        """A bound or limit of a finding, which is a score where it is asked what was learned, and else a loss."""
        return in_percent(value) if f.question == "learned" else self.loss(value)

    def reached(self, value: str) -> str:
        """A score: `97.2%`, or `97.2% mIoU`."""
        return value if self.counts else f"{value} {written(self.score)}"

    def learned(self, value: str, subject: str) -> str:
        """`learned 62.0% of monday`, or `learned monday to 62.0% mIoU`."""
        return f"learned {value} of {subject}" if self.counts else f"learned {subject} to {self.reached(value)}"

    def few(self, f: Finding) -> str:
        """An experience of which there are too few images to say whether it was learned."""
        return f"{self.reached(in_percent(f.estimate))} {self.of} {f.images}"

    def kept(self, of: ClassFinding) -> str:
        """How much of a class is left: `1 of 3 right`, or `IoU 20.0%, was 60.0%`."""
        if self.counts:
            return f"{of.kept:g} of {of.right:g} right"
        now, before = (in_percent(total / of.images) for total in (of.kept, of.right))
        return f"{written(self.class_score)} {now}{OF_THE_CHAMPION if of.unlabelled else f', was {before}'}"

    @property
    def still(self) -> str:
        """What is asked of a class in the future."""
        return "still will be right" if self.counts else "still will be found"

    def lost_class(self, share: float, name: str) -> str:
        """How much of a class is gone."""
        whole = f"class {name}" if self.counts else f"the {written(self.class_score)} of class {name}"
        return f"lost at least {in_percent(share)} of {whole}"

    def open_class(self, of: ClassFinding, name: str) -> str:
        """What a class had and has, where that leaves it open whether too much is lost."""
        if self.counts:
            left = "none is any more" if of.kept == 0 else f"as many as {of.kept:g} are"
            return f"of {of.right:g} test images of class {name} that were right {left}"
        now, before = (in_percent(total / of.images) for total in (of.kept, of.right))
        score = written(self.class_score)
        then = OF_THE_CHAMPION if of.unlabelled else f" and was {before}"
        return f"on {of.images} test images the {score} of class {name} is {now}{then} on average"
