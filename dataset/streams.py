"""Streams of real images to try retain on, delivered as a user's images would arrive: folders of PNG files.

`digits`: the 1,797 handwritten digits of scikit-learn (8 x 8 pixels; Alpaydin and Kaynak, 1998, UCI), nothing to
download. `fashion-mnist`: the 70,000 images of Xiao et al. (2017), 28 x 28 pixels, through torchvision.
"""

import gzip
import io
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dataset.split import content_id, split_of
from records.errors import WrongInput
from records.pace import Progress

StreamName = Literal["digits", "fashion-mnist"]
FIRST_DAY = date(2026, 3, 2)
"""The day on which a stream's first delivery arrives; the others follow daily, so ids are the same for everybody."""
FASHION = (
    "t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip

Writer = Callable[[Path, Progress], None]


@dataclass(frozen=True)
class StreamDelivery:
    """What arrives on one day, and how the night that takes it is run."""

    name: str
    day: date
    write: Writer
    """Writes the delivery's files below a folder that does not exist yet."""
    story: str
    """What this night shows, for a person who watches."""
    request: Mapping[str, object]
    """What this night does differently, as the manual form would ask."""
    pure: bool = True
    """False for a delivery that is bad on purpose."""


@dataclass(frozen=True)
class Pictures:
    """Images of one size with their class indices."""

    pixels: NDArray[np.uint8]
    """[n, height, width]"""
    labels: NDArray[np.int64]
    classes: tuple[str, ...]

    def of(self, *indices: int) -> "Pictures":
        """Those of some classes."""
        chosen = np.isin(self.labels, indices)
        return Pictures(self.pixels[chosen], self.labels[chosen], self.classes)

    def part(self, start: int, stop: int | None) -> "Pictures":
        """Of each class the images `start` to `stop`, in their order."""
        chosen = [np.flatnonzero(self.labels == c)[start:stop] for c in np.unique(self.labels)]
        rows = np.sort(np.concatenate(chosen))
        return Pictures(self.pixels[rows], self.labels[rows], self.classes)

    def write(self, folder: Path, progress: Progress = lambda done, total: None) -> None:
        """Write as `<folder>/<class>/<number>.png`."""
        for index in np.unique(self.labels):
            (folder / self.classes[index]).mkdir(parents=True, exist_ok=True)
        for number, (pixels, label) in enumerate(zip(self.pixels, self.labels, strict=True)):
            (folder / self.classes[label] / f"{number:05d}.png").write_bytes(png(pixels))
            progress(number + 1, len(self.labels))


def deliveries(stream: StreamName, root: Path | None, test_share: float) -> tuple[StreamDelivery, ...]:
    """The nights of a stream, in order. `root`: folder with Fashion-MNIST's four files; None downloads them."""
    if stream == "digits":
        return _digit_nights(digits(), test_share)
    return _fashion_nights(fashion_mnist(root))


def digits() -> Pictures:
    """The handwritten digits that scikit-learn ships; grey levels 0..16 become 0..255."""
    from sklearn.datasets import load_digits

    data = load_digits()
    pixels = np.round(data.images * (255 / 16)).astype(np.uint8)
    return Pictures(pixels, data.target.astype(np.int64), tuple("0123456789"))


def fashion_mnist(root: Path | None) -> Pictures:
    """All 70,000 images. Raises `WrongInput` if `root` lacks one of the four files, or nothing can be downloaded."""
    from torchvision.datasets import FashionMNIST

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        if root is not None:
            _lay_out(root, folder / "FashionMNIST" / "raw")
        try:
            parts = [FashionMNIST(str(folder), train=train, download=root is None) for train in (True, False)]
        except (OSError, RuntimeError) as error:
            raise WrongInput(
                f"Fashion-MNIST could not be loaded ({str(error).splitlines()[0]}). Name a folder that holds its four "
                "files with --root; Debian's package dataset-fashion-mnist puts them below "
                "/usr/share/datasets/fashion-mnist."
            ) from error
    pixels = np.concatenate([part.data.numpy() for part in parts])
    labels = np.concatenate([part.targets.numpy() for part in parts])
    return Pictures(pixels, labels, FASHION)


def png(pixels: NDArray[np.uint8]) -> bytes:
    """A grey PNG file of pixels [height, width], stored without compression.

    Uncompressed, so that the bytes, and with them a batch's digest, are the same whatever zlib this machine has.
    """
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=0)
    return file.getvalue()


def _lay_out(root: Path, raw: Path) -> None:
    raw.mkdir(parents=True)
    for name in ("train-images", "train-labels", "t10k-images", "t10k-labels"):
        file = f"{name}-idx{3 if 'images' in name else 1}-ubyte"
        places = [root / f"{file}.gz", root / "FashionMNIST" / "raw" / f"{file}.gz", root / file]
        found = next((place for place in places if place.exists()), None)
        if found is None:
            raise WrongInput(f"{root} does not hold {file}.gz; it must hold the four files of Fashion-MNIST.")
        if found.suffix == ".gz":
            with gzip.open(found) as packed, (raw / file).open("wb") as plain:
                shutil.copyfileobj(packed, plain)
        else:
            shutil.copyfile(found, raw / file)


def _fashion_nights(pictures: Pictures) -> tuple[StreamDelivery, ...]:
    nights = []
    for night in range(5):
        first, second = 2 * night, 2 * night + 1
        story = f"two new classes: {FASHION[first]} and {FASHION[second]}"
        part = pictures.of(first, second)
        nights.append(StreamDelivery(f"night-{night + 1}", FIRST_DAY + timedelta(night), part.write, story, {}))
    return tuple(nights)


def _digit_nights(pictures: Pictures, test_share: float) -> tuple[StreamDelivery, ...]:
    # A third of the first night's digits is held back: it arrives on the fifth night, as more of an old class.
    zeros_and_ones = pictures.of(0, 1)
    early = zeros_and_ones.part(0, 120)
    late = zeros_and_ones.part(120, None)

    def write_bad(folder: Path, progress: Progress) -> None:
        _write_bad_delivery(folder, pictures, early, test_share)

    nights = (
        ("zeros-and-ones", early.write, "two new classes: 0 and 1"),
        ("twos-and-threes", pictures.of(2, 3).write, "two new classes: 2 and 3"),
        (
            "from-a-broken-scanner",
            write_bad,
            "a bad batch: broken files, wrong labels, leaks, black and white exchanged",
        ),
        ("fours-and-fives", pictures.of(4, 5).write, "two new classes: 4 and 5"),
        ("more-zeros-and-ones", late.write, "more of old classes, learned by plain fine-tuning, which forgets"),
        ("sixes-and-sevens", pictures.of(6, 7).write, "two new classes: 6 and 7, and what was refused"),
        ("eights-and-nines", pictures.of(8, 9).write, "two new classes: 8 and 9"),
    )
    return tuple(
        StreamDelivery(
            name,
            FIRST_DAY + timedelta(night),
            write,
            story,
            request={"strategy": "finetune"} if name == "more-zeros-and-ones" else {},
            pure=write is not write_bad,
        )
        for night, (name, write, story) in enumerate(nights)
    )


def _write_bad_delivery(folder: Path, pictures: Pictures, early: Pictures, test_share: float) -> None:
    """What a broken scanner might send: some good images among broken, foreign, mislabelled and leaked ones.

    Half of what it scanned came out with black and white exchanged: old classes that suddenly look different.
    """
    fours, fives = pictures.of(4), pictures.of(5)
    pictures.of(4, 5).part(0, 20).write(folder)
    old = pictures.of(2, 3).part(0, 30)
    Pictures(255 - old.pixels, old.labels, old.classes).write(folder)

    def add(label: str, name: str, images: Iterable[NDArray[np.uint8]], most: int | None = None) -> None:
        (folder / label).mkdir(exist_ok=True)
        for number, pixels in enumerate(images):
            (folder / label / f"{name}-{number}.png").write_bytes(png(pixels)[:most])

    add("5", "half", fives.part(20, 28).pixels, most=90)
    add("4", "lamp-off", fours.part(30, 36).pixels // 12)
    add("4", "again", fours.part(0, 4).pixels)
    add("4", "blank", [np.full((8, 8), level, dtype=np.uint8) for level in (0, 1, 2, 255)])
    add("four?", "unsure", fours.part(20, 28).pixels)
    add("5.", "slip", fives.part(30, 34).pixels)
    add("5", "both", fours.part(36, 38).pixels)
    add("4", "both", fours.part(36, 38).pixels)
    tests = (p for p in early.of(0).pixels if split_of(content_id(p[:, :, None]), test_share, 0) == "test")
    add("0", "copy", islice(tests, 12))
    for number in range(6):
        (folder / "4" / f"note-{number}.png").write_text("Scanner error 17: lamp not ready.\n" * 3)
