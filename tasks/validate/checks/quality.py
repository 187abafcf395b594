"""Checks of quality: pictures that show little, judged by facts that ingestion took of every image.

What they ask is what cleanvision asks (dark, light, blurry, low information, odd size and aspect); why the facts are
taken here, and not by it, is in docs/decisions/0007-validation.md. They warn: what is too dark for one camera is
the night shift of another.
"""

import numpy as np
import pandas as pd

from adapters.expectations import Between, OneOf
from tasks.validate.checks.base import FINE, CheckGroup, Columns, ImageCheck, ValidationInput


def columns(arriving: ValidationInput, table: pd.DataFrame) -> Columns:
    """`visible`: readable and not of one colour; `odd`: how the number of pixels differs from the batch's."""
    odd = pd.Series("", index=table.index)
    readable = table[table["readable"]]
    if len(readable):
        pixels = readable["width"].astype(np.int64) * readable["height"]
        median = float(pixels.median())
        size = readable["width"].astype(str) + " x " + readable["height"].astype(str) + " pixels"
        most = arriving.params.odd_size
        for ratio, word in ((pixels / median, "more"), (median / pixels.clip(lower=1), "fewer")):
            concerned = ratio > most
            times = ratio[concerned].round(1).astype(str)
            odd.update(size[concerned] + ", " + times + f" times {word} than the batch's median")
    return {"visible": table["readable"] & (table["contrast"] > 0), "odd": odd}


QUALITY = CheckGroup(
    (
        ImageCheck(
            "blank",
            "quality",
            "refuse image",
            "An image of one single colour shows nothing: most often a camera was covered or a file was lost.",
            "Leave the image out, or set params.validate.severity for `blank` if such images mean something.",
            words="blank",
            expectation=lambda a: Between(column="contrast", least=1e-9, where="readable"),
            detail="every pixel has the grey level {brightness}",
        ),
        ImageCheck(
            "dark",
            "quality",
            "warn",
            "95% of an image's pixels are darker than {dark} of full white, so little can be seen.",
            "Look whether what the label names can be seen; change params.validate.dark if it can.",
            ("dark",),
            words="dark",
            expectation=lambda a: Between(column="high", least=a.params.dark, where="visible"),
            detail="95% of the pixels are below {high}",
        ),
        ImageCheck(
            "bright",
            "quality",
            "warn",
            "95% of an image's pixels are brighter than {bright} of full white: it is overexposed, or nearly empty.",
            "Look whether what the label names can be seen; change params.validate.bright if it can.",
            ("bright",),
            words="bright",
            expectation=lambda a: Between(column="low", most=a.params.bright, where="visible"),
            detail="95% of the pixels are above {low}",
        ),
        ImageCheck(
            "blurry",
            "quality",
            "warn",
            "The variance of the Laplacian, which edges make large, is below {blurry}: the image is blurred.",
            "Look at the image; a camera out of focus blurs all of them. Change params.validate.blurry if it is fine.",
            ("blurry",),
            words="blurred",
            expectation=lambda a: Between(column="sharpness", least=a.params.blurry, where="visible"),
            detail="sharpness {sharpness}",
        ),
        ImageCheck(
            "low-information",
            "quality",
            "warn",
            "The grey levels of the image have less than {low_information} bits of entropy: nearly all are the same.",
            "Look whether there is anything in the picture; change params.validate.low_information if there is.",
            ("low_information",),
            words="with little in the picture",
            expectation=lambda a: Between(column="entropy", least=a.params.low_information, where="visible"),
            detail="{entropy} bits",
        ),
        ImageCheck(
            "odd-size",
            "quality",
            "warn",
            "An image with {odd_size} times more or fewer pixels than the batch's median one was made in another way.",
            "Look whether a thumbnail or a scan got in; change params.validate.odd_size if sizes vary by nature.",
            ("odd_size",),
            words="of odd size",
            expectation=lambda a: OneOf(column="odd", values=FINE),
            detail="{odd}",
        ),
    ),
    columns,
)
