"""`fashion-mnist`: the 70,000 images of Xiao et al. (2017, arXiv:1708.07747), 28 x 28 pixels, through torchvision."""

import gzip
import shutil
import tempfile
from datetime import timedelta
from pathlib import Path

import numpy as np

from dataset.streams.delivery import FIRST_DAY, StreamDelivery
from dataset.streams.pictures import Pictures
from records.errors import WrongInput

FASHION = (
    "t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip


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


def fashion_nights(pictures: Pictures) -> tuple[StreamDelivery, ...]:
    """Five nights of two new classes."""
    nights = []
    for night in range(5):
        first, second = 2 * night, 2 * night + 1
        story = f"two new classes: {FASHION[first]} and {FASHION[second]}"
        part = pictures.of(first, second)
        nights.append(StreamDelivery(f"night-{night + 1}", FIRST_DAY + timedelta(night), part.write, story, {}))
    return tuple(nights)


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
