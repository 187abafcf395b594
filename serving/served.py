"""The registered model as MLflow loads it (models from code): images of any kind in, names and confidences out.

MLflow copies this file into the model and runs it there. Beside it lie the snapshot, of which it reads the weights and
the names of the classes, the network as an exported program, and the files that decoded what was learned. It imports
nothing of retain, so a version keeps answering as it was judged: in any application, beside any other version.
"""

import base64
import hashlib
import importlib
import importlib.util
import io
import json
import os
import sys
import uuid
from collections.abc import Iterable, Iterator, Mapping
from importlib.machinery import ModuleSpec
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.pyfunc.model import PythonModel, PythonModelContext
from PIL import Image as Pillow
from PIL.PngImagePlugin import PngInfo
from safetensors.torch import load_file
from torch.export import ExportedProgram
from torch.export.passes import move_to_device_pass

PIXELS_AT_ONCE, MOST_AT_ONCE = 2**20, 64
"""Pixels, over all channels, and images, that go through the network in one call."""
MOST_PIXELS = 2**27
"""Of an image; a file of a few bytes may claim any number."""
WHOLE_NUMBERS = (np.dtype(np.uint8), np.dtype(np.int64))
"""Types of pixels: what images are, and what becomes of them in JSON."""
SHORTEST_BASE64 = 36
"""Characters that the smallest image has in base64; a shorter text is meant as a path."""
BACKGROUND, UNSEEN = "background", 255
"""Of masks: the class that is no thing, and the value of pixels that were cropped away."""


Seen = list[tuple[np.ndarray, tuple[int, int]]]
"""Images as the network sees them, and the heights and widths that they came with."""


class Served(PythonModel):
    """Answers with the name of the most probable class: of an image, or of each of its pixels."""

    def load_context(self, context: PythonModelContext) -> None:
        """Read the weights and the program. Raises `MlflowException` if they are not those of the version."""
        snapshot, program = Path(context.artifacts["snapshot"]), Path(context.artifacts["program"])
        digests = _json(snapshot / "snapshot.json")["files"]
        _refuse_changed(snapshot, {name: digests[name] for name in ("learner.json", "weights.safetensors")})
        _refuse_changed(program, _json(program / "files.json"))
        learner = _json(snapshot / "learner.json")
        self.classes = tuple(learner["classes"])
        self.shape = tuple(learner["spec"][side] for side in ("channels", "height", "width"))
        self.codecs, self.fit = _import_beside_all_others(program, "codecs", "fit")
        self.device = _device()
        weights = load_file(snapshot / "weights.safetensors", device=str(self.device))
        self.weights = {name: weights[name] for name in sorted(weights)}
        exported = torch.export.load(program / "program.pt2")
        self.dense = _answers_at_each_pixel(exported)
        if self.device.type != "cpu":
            exported = move_to_device_pass(exported, self.device)
        self.program = exported.module()

    # MLflow takes this annotation for "check nothing"; without one it warns, and a true one it would check itself.
    def predict(
        self,
        context: PythonModelContext,
        model_input: np.ndarray,
        params: dict[str, Any] | None = None,
    ) -> pd.DataFrame:
        """`label` and `confidence` (probability of that label, 0..1) for each image, in the order in which they came.

        An image is an array of whole numbers 0 to 255 ([h, w], [h, w, 1], [h, w, 3], or [h, w, 4] with transparency),
        a PIL image, the bytes of a file or these in base64, or the path of a file. It may have any size. Given is one
        image, a list of them, an array [n, h, w, c], or a table with one column of them. With the parameter
        `probabilities` there is a column `probability/<class>` for each class besides. Raises `MlflowException`.

        A model that answers at each pixel gives as `label` the names of what it found, sorted, with slashes between
        them, or `background`; as `confidence` the mean over its pixels; and as `mask` a grey PNG in base64, of the
        size of the image. It has a class index at each pixel, 255 where the image was cropped, and the names of the
        indices as its text `classes`. It has no `probabilities`.
        """
        wanted = bool(params and params.get("probabilities"))
        if self.dense and wanted:
            raise _unusable("`probabilities` has no meaning here: this model answers at each pixel, see `mask`")
        images = enumerate(_one_by_one(model_input), start=1)
        seen = (self._seen(number, image) for number, image in images)
        parts = iter(lambda: list(islice(seen, self.at_once)), [])
        return self._of_pixels(parts) if self.dense else self._of_images(parts, wanted)

    def _of_images(self, parts: Iterable[Seen], wanted: bool) -> pd.DataFrame:
        found = [self._probabilities(part) for part in parts]
        probabilities = np.concatenate(found) if found else np.zeros((0, len(self.classes)), dtype=np.float32)
        answer = probabilities.argmax(axis=1)
        names = np.array(self.classes, dtype=object)
        columns = {"label": names[answer], "confidence": probabilities.max(axis=1, initial=0).astype(np.float64)}
        if wanted:
            columns |= {f"probability/{name}": probabilities[:, i] for i, name in enumerate(self.classes)}
        return pd.DataFrame(columns)

    def _of_pixels(self, parts: Iterable[Seen]) -> pd.DataFrame:
        labels, confidences, masks = [], [], []
        for part in parts:
            probabilities = self._probabilities(part)
            confidences += probabilities.max(axis=1).mean(axis=(1, 2), dtype=np.float64).tolist()
            answers = probabilities.argmax(axis=1).astype(np.uint8)
            for answer, (_, size) in zip(answers, part, strict=True):
                names = {self.classes[index] for index in np.unique(answer)} - {BACKGROUND}
                labels.append("/".join(sorted(names)) or BACKGROUND)
                masks.append(self._mask(self.fit.unfit(answer, *size, UNSEEN)))
        columns = {"label": labels, "mask": masks}
        table = pd.DataFrame(columns, dtype=object)
        table.insert(1, "confidence", np.array(confidences, dtype=np.float64))
        return table

    def _mask(self, values: np.ndarray) -> str:
        """PNG of values [h, w] in base64."""
        names = PngInfo()
        names.add_itxt("classes", "/".join(self.classes))
        stream = io.BytesIO()
        Pillow.fromarray(values).save(stream, "PNG", pnginfo=names)
        return base64.b64encode(stream.getvalue()).decode()

    @property
    def at_once(self) -> int:
        """Images that go through the network in one call."""
        return max(1, min(MOST_AT_ONCE, PIXELS_AT_ONCE // int(np.prod(self.shape))))

    @torch.inference_mode()
    def _probabilities(self, part: Seen) -> np.ndarray:
        """[n, classes], or [n, classes, H, W] of a model that answers at each pixel."""
        images = torch.from_numpy(np.stack([fitted for fitted, _ in part])).to(self.device)
        answers: np.ndarray = self.program(self.weights, images).cpu().numpy()
        return answers

    def _seen(self, number: int, image: Any) -> tuple[np.ndarray, tuple[int, int]]:
        """What the network sees of an image, uint8 [C, H, W], and the height and width that it came with."""
        try:
            pixels = self._pixels(image)
            return self.fit.fit(pixels, *self.shape), (pixels.shape[0], pixels.shape[1])
        except ValueError as error:  # a `BadImage` is one, whose detail is a clause for a person
            raise _unusable(f"image {number}: {getattr(error, 'detail', error)}") from None

    def _pixels(self, image: Any) -> np.ndarray:
        """uint8 [h, w, 1 or 3], as ingestion would have decoded it."""
        if isinstance(image, str | os.PathLike):
            image = _read(os.fspath(image))
        with self.codecs.pillow_on_our_terms():
            if isinstance(image, bytes | bytearray | memoryview):
                pixels: np.ndarray = self.codecs.read_pixels(bytes(image), MOST_PIXELS).pixels
                return pixels
            if not isinstance(image, Pillow.Image):
                pixels = _whole_numbers(image)
                if pixels.shape[2] < 4:
                    return pixels
                image = Pillow.fromarray(pixels)
            pixels = self.codecs.pixels_of(image)
            return pixels


def _one_by_one(given: Any) -> Iterator[Any]:
    """The images in whatever was given."""
    if isinstance(given, pd.DataFrame | Mapping):
        given = _only_column(given)
    if isinstance(given, torch.Tensor):
        given = given.numpy(force=True)
    several: Iterable[Any]
    if isinstance(given, np.ndarray):
        several = given.ravel() if given.dtype.kind in "OUS" else given if given.ndim == 4 else [given]
    elif isinstance(given, str | os.PathLike | bytes | bytearray | memoryview | Pillow.Image):
        several = [given]
    elif hasattr(given, "__iter__"):
        several = given
    else:
        raise _unusable(f"a {type(given).__name__} is no image, no list of images, and no array or table of them")
    for image in several:
        # What became of a list of records in JSON.
        single = _only_column(image) if isinstance(image, Mapping) else image
        yield single.item() if isinstance(single, np.ndarray) and single.ndim == 0 else single


def _only_column(table: "pd.DataFrame | Mapping[Any, Any]") -> Any:
    names = list(table)
    if len(names) != 1:
        listed = ", ".join(map(str, names[:5])) or "none"
        raise _unusable(f"a table of images has one column, and this one has {len(names)} ({listed})")
    return table[names[0]]


def _whole_numbers(given: Any) -> np.ndarray:
    """uint8 [h, w, 1, 3 or 4] of what looks like an array."""
    try:
        pixels = np.asarray(given)
    except (ValueError, TypeError, RuntimeError):
        pixels = np.array(None)
    if pixels.dtype.kind not in "biuf":
        raise ValueError(f"a {type(given).__name__} of this kind is no image")
    if pixels.dtype not in WHOLE_NUMBERS:
        raise ValueError(f"its pixels are {pixels.dtype}; they must be uint8, whole numbers 0 to 255")
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3, 4) or 0 in pixels.shape:
        raise ValueError(
            f"its shape is {list(np.shape(given))}; it must be [height, width], or [height, width, channels] with 1 "
            "channel (grey), 3 (red, green, blue) or 4 (and opacity)"
        )
    if pixels.min() < 0 or pixels.max() > 255:
        raise ValueError(f"its pixels are {pixels.min()} to {pixels.max()}; they must be whole numbers 0 to 255")
    return np.ascontiguousarray(pixels, dtype=np.uint8)


def _read(text: str) -> bytes:
    """The bytes of a file whose path is given, or which is given in base64."""
    # Who asks a server over the network has no business with the files of its machine.
    answers_strangers = os.environ.get("_MLFLOW_IS_IN_SERVING_ENVIRONMENT") == "true"
    try:
        if not answers_strangers and os.path.isfile(text):  # noqa: PTH113 (false for what can be no path)
            return Path(text).read_bytes()
        if len(text) >= SHORTEST_BASE64:
            packed = text.partition(",")[2] if text.startswith("data:") else text
            return base64.b64decode("".join(packed.split()), validate=True)
    except OSError as error:
        raise ValueError(f"the file {text} cannot be read ({error.strerror})") from None
    except ValueError:  # no base64
        pass
    shown = repr(text if len(text) <= 80 else f"{text[:77]}...")
    if answers_strangers:
        raise ValueError(f"{shown} is no image in base64, and a server reads no files")
    raise ValueError(f"there is no file {shown}, and it is no image in base64")


def _answers_at_each_pixel(program: ExportedProgram) -> bool:
    """True if what comes out is [n, classes, H, W] and not [n, classes]."""
    (name,) = program.graph_signature.user_outputs
    (shape,) = (node.meta["val"].shape for node in program.graph.nodes if node.name == name)
    return len(shape) == 4


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _refuse_changed(folder: Path, digests: dict[str, str]) -> None:
    for name, digest in digests.items():
        path = folder / name
        if not path.exists() or _sha256(path) != digest:
            raise _unusable(f"{path} is missing or was changed after it was written; fetch the version again")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _import_beside_all_others(folder: Path, *names: str) -> list[Any]:
    """Modules of a folder, under a name that no other package or version has."""
    spec = ModuleSpec(f"retain_version_{uuid.uuid4().hex}", None, is_package=True)
    spec.submodule_search_locations = [str(folder)]
    sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    return [importlib.import_module(f"{spec.name}.{name}") for name in names]


def _device() -> torch.device:
    """RETAIN_DEVICE, or the GPU if there is one."""
    named = os.environ.get("RETAIN_DEVICE")
    try:
        return torch.zeros(0, device=named or ("cuda" if torch.cuda.is_available() else "cpu")).device
    except (RuntimeError, AssertionError):
        raise _unusable(
            f"RETAIN_DEVICE is `{named}`, and torch finds no such device here; `cpu` always works"
        ) from None


def _unusable(what: str) -> MlflowException:
    """An error of one sentence; a server answers it with status 400."""
    sentence = what if what.endswith(".") else f"{what}."
    return MlflowException(sentence[0].upper() + sentence[1:], error_code=INVALID_PARAMETER_VALUE)


set_model(Served())
