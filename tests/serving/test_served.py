import base64
import io
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from mlflow.exceptions import MlflowException
from PIL import Image

from dataset.archive import ADMITTED
from dataset.decoding.fit import fit
from dataset.images import decode
from models.bundle import ModelBundle
from models.learner import Learner
from models.memory import Memory
from models.networks.mlp import MLP
from records.experience import Experience
from records.snapshot import InputSpec
from serving.program import write_program
from serving.served import Served

SPEC = InputSpec(channels=3, height=6, width=5, mean=(0.5, 0.4, 0.3), std=(0.2, 0.2, 0.2))
CLASSES = ("cat", "dog", "Ünï $x")


def write_snapshot(folder, spec=SPEC, seed=1):
    learner = Learner.fresh(MLP(hidden=(16,)), spec, CLASSES, seed)
    learned = Experience(batch="2026-01-05-aaaaaaaa", digest="d", classes=CLASSES, train=8, validation=0, test=5)
    nothing = ModelBundle.of_nothing(MLP(hidden=(16,)), spec, seed)
    nothing.after(learner, Memory.empty(), {}, [learned], "aa", 0).write(folder)
    return learner


class Model:
    """A model as MLflow would load it, and the learner whose answers it must give."""

    def __init__(self, place, spec=SPEC):
        self.spec, self.learner = spec, write_snapshot(place / "snapshot", spec)
        self.artifacts = {"snapshot": place / "snapshot", "program": write_program(place / "snapshot", place / "p")}
        self.loaded = self.load()

    def load(self):
        loaded = Served()
        loaded.load_context(type("Context", (), {"artifacts": {k: str(v) for k, v in self.artifacts.items()}})())
        return loaded

    def __call__(self, given, **params):
        return self.loaded.predict(None, given, params)

    def learned(self, *images):
        """Probabilities [n, classes] that the learner gives to decoded images [h, w, c] of any size."""
        sides = self.spec.channels, self.spec.height, self.spec.width
        outputs = self.learner.outputs(torch.from_numpy(np.stack([fit(image, *sides) for image in images])))
        return outputs.softmax(dim=1).numpy()


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return Model(tmp_path_factory.mktemp("model"))


def drawn(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def file_of(picture, kind="PNG", **options):
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


COLOUR, GREY = drawn(427, 640, 3), drawn(90, 160, seed=1)
PNG, JPEG = file_of(Image.fromarray(COLOUR)), file_of(Image.fromarray(drawn(160, 160, 3, seed=2)), "JPEG")


def expected_of(model, *encoded):
    return model.learned(*(decode(one, ADMITTED).pixels for one in encoded))


@pytest.mark.parametrize(
    ("given", "encoded"),
    [
        (COLOUR, [PNG]),
        (COLOUR[None], [PNG]),
        (COLOUR.astype(np.int64), [PNG]),
        (torch.from_numpy(COLOUR), [PNG]),
        (GREY, [file_of(Image.fromarray(GREY))]),
        (GREY[:, :, None], [file_of(Image.fromarray(GREY))]),
        ([COLOUR, GREY, COLOUR[:50]], [PNG, file_of(Image.fromarray(GREY)), file_of(Image.fromarray(COLOUR[:50]))]),
        ([COLOUR.tolist()], [PNG]),
        (PNG, [PNG]),
        (bytearray(JPEG), [JPEG]),
        ([PNG, JPEG], [PNG, JPEG]),
        (base64.b64encode(JPEG).decode(), [JPEG]),
        ("data:image/jpeg;base64," + base64.b64encode(JPEG).decode(), [JPEG]),
        (base64.encodebytes(PNG).decode(), [PNG]),
        (np.array([base64.b64encode(one).decode() for one in (PNG, JPEG)]), [PNG, JPEG]),
        (np.array(base64.b64encode(PNG).decode()), [PNG]),
        (Image.open(io.BytesIO(JPEG)), [JPEG]),
        ([Image.fromarray(COLOUR), JPEG, GREY], [PNG, JPEG, file_of(Image.fromarray(GREY))]),
        (pd.DataFrame({"photo": [PNG, JPEG]}), [PNG, JPEG]),
        (pd.Series([COLOUR, JPEG], index=[7, 3]), [PNG, JPEG]),
        ({"image": np.array([base64.b64encode(PNG).decode()])}, [PNG]),
        ([{"image": np.array(base64.b64encode(PNG).decode())}], [PNG]),
    ],
)
def test_an_image_may_come_in_many_forms_and_sizes(model, given, encoded):
    answers, expected = model(given, probabilities=True), expected_of(model, *encoded)
    assert list(answers.columns) == ["label", "confidence", *(f"probability/{name}" for name in CLASSES)]
    np.testing.assert_allclose(answers.iloc[:, 2:], expected, atol=1e-6)
    np.testing.assert_allclose(answers["confidence"], expected.max(axis=1), atol=1e-6)
    assert answers["label"].tolist() == [CLASSES[i] for i in expected.argmax(axis=1)]


def test_a_path_is_read(model, tmp_path):
    (tmp_path / "photo.jpg").write_bytes(JPEG)
    expected = expected_of(model, JPEG)
    for given in (str(tmp_path / "photo.jpg"), tmp_path / "photo.jpg", pd.DataFrame({"x": [tmp_path / "photo.jpg"]})):
        np.testing.assert_allclose(model(given, probabilities=True).iloc[:, 2:], expected, atol=1e-6)


def turned(orientation):
    exif = Image.Exif()
    exif[274] = orientation
    return file_of(Image.fromarray(drawn(40, 60, 3)), "JPEG", exif=exif)


def palette():
    return Image.fromarray(drawn(30, 44, 3)).quantize(16)


PICTURES = {
    "1": file_of(Image.fromarray(drawn(9, 31) > 128)),
    "L": file_of(Image.fromarray(GREY)),
    "LA": file_of(Image.fromarray(drawn(20, 30, 2), "LA")),
    "P": file_of(palette()),
    "P transparent": file_of(palette(), transparency=3),
    "RGBA": file_of(Image.fromarray(drawn(33, 21, 4))),
    "RGB transparent": file_of(Image.fromarray(drawn(8, 8, 3)), transparency=(0, 0, 0)),
    "I;16": file_of(Image.fromarray(drawn(25, 35).astype(np.uint16) * 257)),
    "CMYK": file_of(Image.fromarray(drawn(50, 20, 4), "CMYK"), "JPEG"),
    "GIF": file_of(palette(), "GIF", save_all=True, append_images=[palette()]),
    "WEBP": file_of(Image.fromarray(drawn(64, 3, 4)), "WEBP"),
    "TIFF": file_of(Image.fromarray(drawn(7, 80, 3)), "TIFF"),
    "one pixel": file_of(Image.fromarray(drawn(1, 1, 3))),
    "the network's size": file_of(Image.fromarray(drawn(6, 5, 3))),
    **{f"turned {orientation}": turned(orientation) for orientation in range(1, 9)},
}


@pytest.mark.parametrize("channels", [1, 3])
def test_an_image_is_seen_bit_for_bit_as_in_training(tmp_path, channels):
    """Whatever a file stores, as bytes and opened with Pillow."""
    spec = SPEC.model_copy(update={"channels": channels, "mean": (0.5,) * channels, "std": (0.2,) * channels})
    served = Model(tmp_path, spec).loaded
    for name, encoded in PICTURES.items():
        expected = fit(decode(encoded, ADMITTED).pixels, channels, 6, 5)
        np.testing.assert_array_equal(served._seen(1, encoded)[0], expected, name)
        np.testing.assert_array_equal(served._seen(1, Image.open(io.BytesIO(encoded)))[0], expected, name)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (COLOUR / 255, "Image 1: its pixels are float64; they must be uint8, whole numbers 0 to 255."),
        ([GREY, COLOUR.astype(np.float32)], "Image 2: its pixels are float32; they must be uint8, whole"),
        (COLOUR.astype(np.int64) - 1, "Image 1: its pixels are -1 to 254; they must be whole numbers 0 to 255."),
        (COLOUR.transpose(2, 0, 1), "Image 1: its shape is [3, 427, 640]; it must be [height, width], or [height, "),
        (drawn(5, 4, 2), "Image 1: its shape is [5, 4, 2]; it must be"),
        (drawn(7), "Image 1: its shape is [7]; it must be"),
        (drawn(0, 4, 3), "Image 1: its shape is [0, 4, 3]; it must be"),
        (drawn(2, 2, 2, 2, 3), "Image 1: its shape is [2, 2, 2, 2, 3]; it must be"),
        ("cat.jpg", "Image 1: there is no file 'cat.jpg', and it is no image in base64."),
        ("x" * 99 + "/", "Image 1: its first bytes are those of no image format."),
        ("no base64, " * 20, "Image 1: there is no file 'no base64, no base64, "),
        (".", "Image 1: there is no file '.', and it is no image in base64."),
        ("a\0b", "Image 1: there is no file 'a\\x00b', and it is no image in base64."),
        ("Übungen\n" * 9, "Image 1: there is no file 'Übungen\\nÜbungen"),
        (b"", "Image 1: the file has no bytes."),
        (b"%PDF-1.7", "Image 1: its format is PDF; readable are PNG, JPEG, WEBP, BMP, TIFF, GIF."),
        ([PNG, PNG[:-100]], "Image 2: the PNG file ends before the picture does."),
        (
            Image.fromarray(drawn(5, 5).astype(np.float32)),
            "Image 1: pixels of mode F have no known range",
        ),
        (None, "A NoneType is no image, no list of images, and no array or table of them."),
        ([None], "Image 1: a NoneType of this kind is no image."),
        (pd.DataFrame({"a": [PNG], "b": [1]}), "A table of images has one column, and this one has 2 (a, b)."),
        (pd.DataFrame(), "A table of images has one column, and this one has 0 (none)."),
    ],
)
def test_what_cannot_be_answered_is_told_in_a_sentence(model, given, sentence):
    with pytest.raises(MlflowException) as raised:
        model(given)
    assert raised.value.message.startswith(sentence)
    assert "\n" not in raised.value.message
    assert raised.value.get_http_status_code() == 400


@pytest.mark.parametrize("given", [[], np.zeros((0, 9, 9, 3), np.uint8), pd.DataFrame({"image": []})])
def test_no_images_have_no_answers(model, given):
    assert model(given).shape == (0, 2)


def test_a_long_list_goes_through_the_network_in_parts(model):
    images = list(drawn(150, 9, 9, 3))
    many = model(iter(images))
    assert many["label"].tolist() == [model(image)["label"][0] for image in images]
    assert model.loaded.at_once < 150


def test_a_server_reads_no_files_for_strangers(model, tmp_path, monkeypatch):
    (tmp_path / "photo.jpg").write_bytes(JPEG)
    monkeypatch.setenv("_MLFLOW_IS_IN_SERVING_ENVIRONMENT", "true")
    with pytest.raises(MlflowException, match=r"is no image in base64, and a server reads no files\."):
        model(str(tmp_path / "photo.jpg"))
    assert len(model(base64.b64encode(JPEG).decode())) == 1


def test_the_device_is_the_one_that_is_named(model, monkeypatch):
    monkeypatch.setenv("RETAIN_DEVICE", "cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert model.load().device == torch.device("cpu")
    monkeypatch.setenv("RETAIN_DEVICE", "cuda:99")
    with pytest.raises(MlflowException, match="RETAIN_DEVICE is `cuda:99`, and torch finds no such device here"):
        model.load()


@pytest.mark.parametrize("name", ["weights.safetensors", "learner.json", "program.pt2", "codecs.py"])
def test_files_that_were_changed_are_not_used(model, tmp_path, monkeypatch, name):
    for part, folder in model.artifacts.items():
        monkeypatch.setitem(model.artifacts, part, shutil.copytree(folder, tmp_path / part))
    (path,) = tmp_path.rglob(name)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(MlflowException, match=rf"{name} is missing or was changed after it was written"):
        model.load()
    path.unlink()
    with pytest.raises(MlflowException, match=rf"{name} is missing or was changed after it was written"):
        model.load()
