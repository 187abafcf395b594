"""A picture of masks: a row an image, with its truth, what was answered before, what is answered now, and where that
is wrong. Colours are told apart by people who see no red or green."""

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from records.batch import IGNORED
from records.formatting import in_percent, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Mask = NDArray[np.integer[Any]]

INK, FAINT, PAPER = "#22303c", "#6d7780", "#ffffff"
CLASS_COLOURS = (
    "#e69f00", "#56b4e9", "#009e73", "#cc79a7", "#f0e442", "#0072b2", "#d55e00", "#882255", "#aa4499", "#ddcc77",
)  # fmt: skip
"""Of Okabe and Ito, "Color Universal Design" (2008), and after them of Paul Tol, "Colour schemes" (2021)."""
RIGHT, MISSED, FALSE, CONFUSED, UNCOUNTED = range(5)
"""What a pixel is: right; an object answered as background; background answered as an object; an object answered as
another one; and one that counts nowhere."""
MISTAKES = {
    MISSED: ("#d55e00", "missed: an object answered as background"),
    FALSE: ("#0072b2", "false: background answered as an object"),
    CONFUSED: ("#f0e442", "another class than it is"),
    UNCOUNTED: ("#5f6b75", "not counted: nobody knows, or nobody looked"),
}
"""Colour and meaning; what is not counted is chequered."""
SIDE, LEFT, TOP, GAP = 1.3, 1.75, 0.9, 0.06
"""In inches: an image, what stands beside the rows, what stands above them, and what is between two images."""
LINE = 0.2
"""Of a legend."""
FADED = 0.55
"""How far an image goes to white below colours."""
LONGEST_NAME, IN_A_LINE = 22, 6
QUALITY = 80
"""Of a small picture, 1 to 95."""
SQUARES = 32
"""Over the height of an image."""


@dataclass(frozen=True)
class Answered:
    """One image, and how its pixels were answered."""

    title: str
    """What it was delivered with."""
    image: NDArray[np.uint8]
    """[H, W, C]"""
    truth: Mask
    """[H, W] class indices, 255 for what nobody knows."""
    before: Mask | None
    """[H, W] what the version before answered; None if there is none."""
    now: Mask
    """[H, W]"""
    looked: NDArray[np.bool_]
    """[classes] which classes were looked for in it."""
    score_before: float | None
    """Its own score, 0..1; None if the version before was not asked."""
    score: float


def differences(answer: Mask, truth: Mask, looked: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """[H, W] what each pixel is, as a score sees it: see `RIGHT` and those beside it."""
    found = np.full(truth.shape, RIGHT, dtype=np.uint8)
    objects, answered = truth > 0, answer > 0
    found[objects & ~answered] = MISSED
    found[~objects & answered] = FALSE
    found[objects & answered & (truth != answer)] = CONFUSED
    beside = ~objects & answered & ~np.append(looked, [False] * 256)[answer]
    found[beside | (truth == IGNORED)] = UNCOUNTED
    return found


def mask_picture(
    answered: Sequence[Answered], classes: Sequence[str], before: str, now: str, title: str, score: str
) -> bytes:
    """The images as a PNG. `before` and `now` are what two versions are called, `score` what an image's number is."""
    from matplotlib.figure import Figure

    columns = ["image", "truth", *([before] if any(a.before is not None for a in answered) else []), now, "mistakes"]
    shown = _shown_classes(answered)
    lines = -(-len(shown) // IN_A_LINE) + 2
    across = LEFT + len(columns) * (SIDE + GAP) + 0.2
    high = TOP + len(answered) * (SIDE + GAP) + lines * LINE + 0.45
    figure = Figure(figsize=(across, high), facecolor=PAPER)
    figure.text(0.2 / across, 1 - 0.16 / high, title, va="top", size=11.5, weight="bold", color=INK)
    when = " then and now" if before in columns else ""
    subtitle = f"In each row one image; its own {score}{when}, in percent"
    figure.text(0.2 / across, 1 - 0.42 / high, subtitle, va="top", size=8.5, color=FAINT)
    for number, one in enumerate(answered):
        y = high - TOP - (number + 1) * (SIDE + GAP)
        _beside(figure, one, y / high, across, high)
        for column, pixels in enumerate(_panels(one, before in columns)):
            place = ((LEFT + column * (SIDE + GAP)) / across, y / high, SIDE / across, SIDE / high)
            axes = figure.add_axes(place)
            axes.imshow(pixels, interpolation="nearest")
            _bare(axes)
            if not number:
                axes.set_title(columns[column], size=9, color=INK, pad=4, parse_math=False)
    _legends(figure, [(colour_of(c), _name(classes, c)) for c in shown], across, high)
    stream = io.BytesIO()
    with warnings.catch_warnings():
        # A class may be named in any script; what the font lacks is drawn as a box.
        warnings.filterwarnings("ignore", message="Glyph")
        figure.savefig(stream, format="png", dpi=150, metadata={"Software": None})
    return stream.getvalue()


def small(picture: bytes) -> bytes:
    """The same as a JPEG of half the width and height: a palette would lose the colour of a small mistake."""
    whole = Pillow.open(io.BytesIO(picture)).convert("RGB")
    stream = io.BytesIO()
    whole.reduce(2).save(stream, format="JPEG", quality=QUALITY, subsampling=0, optimize=True)
    return stream.getvalue()


def colour_of(number: int) -> str:
    """Of a class that is not the background; after ten they come again."""
    return CLASS_COLOURS[(number - 1) % len(CLASS_COLOURS)]


def _panels(one: Answered, compared: bool) -> list[NDArray[np.uint8]]:
    """[H, W, 3] of each column."""
    image = np.repeat(one.image, 3, axis=2) if one.image.shape[2] == 1 else one.image[:, :, :3]
    faded = (255 - (255 - image.mean(axis=2, keepdims=True)) * (1 - FADED)).repeat(3, axis=2)
    blank = np.full_like(faded, 255)
    before = [blank if one.before is None else _coloured(faded, one.before)] if compared else []
    masks = [_coloured(faded, one.truth), *before, _coloured(faded, one.now)]
    return [image, *(mask.astype(np.uint8) for mask in (*masks, _marked(faded, one)))]


def _coloured(faded: NDArray[np.float64], mask: Mask) -> NDArray[np.float64]:
    """Each object in the colour of its class, what nobody knows chequered, and the background as it looks."""
    pixels = faded.copy()
    for number in np.unique(mask).tolist():
        if number:
            _paint(pixels, mask == number, UNCOUNTED if number == IGNORED else RIGHT, colour_of(number))
    return pixels


def _marked(faded: NDArray[np.float64], one: Answered) -> NDArray[np.float64]:
    """Mistakes in their colours; what is right looks as it does."""
    pixels, found = faded.copy(), differences(one.now, one.truth, one.looked)
    for kind, (colour, _) in MISTAKES.items():
        _paint(pixels, found == kind, kind, colour)
    return pixels


def _paint(pixels: NDArray[np.float64], where: NDArray[np.bool_], kind: int, colour: str) -> None:
    """A colour where it belongs, or a chequered pattern."""
    if kind != UNCOUNTED:
        pixels[where] = _rgb(colour)
        return
    rows, columns = np.indices(where.shape) // max(1, len(where) // SQUARES)
    pixels[where] = 255
    pixels[where & ((rows + columns) % 2 == 0)] = _rgb(MISTAKES[UNCOUNTED][0])


def _rgb(colour: str) -> NDArray[np.float64]:
    return np.array([int(colour[start : start + 2], 16) for start in (1, 3, 5)], dtype=np.float64)


def _shown_classes(answered: Sequence[Answered]) -> list[int]:
    masks = [mask for one in answered for mask in (one.truth, one.before, one.now) if mask is not None]
    found = {number for mask in masks for number in np.unique(mask).tolist()}
    return sorted(found - {0, IGNORED})


def _name(classes: Sequence[str], number: int) -> str:
    return plain(classes[number], LONGEST_NAME) if number < len(classes) else f"class {number}"


def _beside(figure: "Figure", one: Answered, y: float, across: float, high: float) -> None:
    """What stands left of a row: where the image is from, and its score."""
    middle, x = y + SIDE / high / 2, 0.2 / across
    name = plain(one.title, LONGEST_NAME)
    figure.text(x, middle + 0.11 / high, name, va="center", size=8.5, color=FAINT, parse_math=False)
    then = "" if one.score_before is None else f"{_number(one.score_before)} → "
    figure.text(x, middle - 0.11 / high, f"{then}{_number(one.score)}", va="center", size=11, weight="bold", color=INK)


def _number(score: float) -> str:
    return in_percent(score).removesuffix("%")


def _legends(figure: "Figure", classes: Sequence[tuple[str, str]], across: float, high: float) -> None:
    """Classes in one legend and mistakes in another, below the rows."""
    mistakes = [MISTAKES[kind] for kind in (MISSED, FALSE, CONFUSED, UNCOUNTED)]
    lines = -(-len(classes) // IN_A_LINE) * LINE
    _legend(figure, mistakes, (0.2 / across, (0.1 + 2 * LINE) / high), 2)
    if classes:
        _legend(figure, classes, (0.2 / across, (0.2 + 2 * LINE + lines) / high), IN_A_LINE)


def _legend(figure: "Figure", entries: Sequence[tuple[str, str]], corner: tuple[float, float], columns: int) -> None:
    from matplotlib.patches import Patch

    chequered = MISTAKES[UNCOUNTED]
    handles = [
        Patch(facecolor=PAPER, edgecolor=one[0], linewidth=0, hatch="xxxxx", label=one[1])
        if one == chequered
        else Patch(facecolor=one[0], label=one[1])
        for one in entries
    ]
    legend = figure.legend(
        handles=handles, loc="upper left", bbox_to_anchor=corner, ncols=columns, frameon=False, fontsize=8,
        labelcolor=INK, handlelength=1.0, handleheight=1.0, borderaxespad=0.0, borderpad=0.0, columnspacing=1.4,
        labelspacing=0.45,
    )  # fmt: skip
    for text in legend.get_texts():
        text.set_parse_math(False)


def _bare(axes: "Axes") -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color("#d8dce0")
        spine.set_linewidth(0.6)
