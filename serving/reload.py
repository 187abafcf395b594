"""Load a logged model back in a fresh process and compare: what is registered must answer as what was judged.

A fresh process costs seconds, because MLflow and torch are large. So one is started early, by `warm`; it imports the
libraries, nothing of ours, and waits. Each check is a copy of it (see `fresh.py`), clean as on its first day.
"""

import atexit
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from adapters.connection import SETTINGS
from records.errors import DamagedState, Unavailable

PACKAGES = ("flows", "tasks", "reports", "serving", "models", "dataset", "adapters", "records")
"""What a logged model must not take from here."""
TOLERANCE = 0.01
"""Confidences may differ by so much: other hardware, other rounding (a GPU's TF32 has ten bits)."""
RARE = 0.1
"""Share of images whose label may differ if it names what was found at any pixel: one at which two classes are equal
but for rounding is enough."""
ANSWER_WITHIN = 300.0
"""Seconds after which a check counts as failed."""
FRESH = Path(__file__).with_name("fresh.py")


class FreshProcess:
    """A process that has imported the libraries, or is about to."""

    def __init__(self) -> None:
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115
        self.process = subprocess.Popen(
            # -P: neither the working directory nor this folder may be imported from.
            [sys.executable, "-P", str(FRESH)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            env={**SETTINGS, **os.environ},
        )

    @property
    def usable(self) -> bool:
        """True while it takes orders."""
        return self.process.poll() is None

    def carry_out(self, order: dict[str, object]) -> None:
        """Give an order and wait. Raises `DamagedState` with the last line that the process said, if it failed."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        begin = self.errors.seek(0, os.SEEK_END)
        overdue = threading.Timer(ANSWER_WITHIN, self.process.kill)
        overdue.start()
        try:
            print(json.dumps(order), file=self.process.stdin, flush=True)
            reply = self.process.stdout.readline().strip()
        except BrokenPipeError:
            reply = ""
        finally:
            overdue.cancel()
        if reply != "0":
            self.errors.seek(begin)
            lines = self.errors.read().decode(errors="replace").strip().splitlines()
            message = lines[-1] if lines else f"it ended with {reply or '?'}"
            raise DamagedState(f"The logged model cannot be loaded back and used: {message[:500]}")

    def end(self) -> None:
        """Stop it, if it has not ended by itself."""
        self.process.kill()
        self.process.communicate()
        self.errors.close()


_waiting: FreshProcess | None = None
_one_at_a_time = threading.RLock()


def warm() -> None:
    """Start the process in the background, if none waits. Costs some seconds of one core, and no time of ours."""
    global _waiting
    with _one_at_a_time:
        if _waiting is None or not _waiting.usable:
            cool()
            _waiting = FreshProcess()
            atexit.register(cool)


def cool() -> None:
    """End the process that waits, if there is one."""
    global _waiting
    with _one_at_a_time:
        if _waiting is not None:
            _waiting.end()
            _waiting = None
            atexit.unregister(cool)


def answers(uri: str, address: str, images: NDArray[np.uint8]) -> tuple[list[str], NDArray[np.float64]]:
    """Labels and confidences that the model at `uri`, in MLflow at `address`, gives to uint8 images [n, H, W, C].

    Raises `DamagedState` if it cannot be loaded or cannot answer, `Unavailable` if there is no place to unpack it.
    """
    try:
        with _one_at_a_time, tempfile.TemporaryDirectory() as place:
            return _answers(uri, address, images, Path(place).resolve())
    except OSError as error:
        raise Unavailable(f"The logged model cannot be loaded back for a check: {error}.") from error


def _answers(uri: str, address: str, images: NDArray[np.uint8], folder: Path) -> tuple[list[str], NDArray[np.float64]]:
    np.save(folder / "images.npy", images)
    (folder / "model").mkdir()
    warm()
    assert _waiting is not None
    _waiting.carry_out(
        {
            "uri": uri,
            "address": address,
            "images": str(folder / "images.npy"),
            "packages": PACKAGES,
            "folder": str(folder / "model"),
            "answers": str(folder / "answers.json"),
        }
    )
    stored = json.loads((folder / "answers.json").read_text(encoding="utf-8"))
    return stored["label"], np.array(stored["confidence"])


def reload_and_compare(
    uri: str,
    address: str,
    images: NDArray[np.uint8],
    labels: Sequence[str],
    confidences: NDArray[np.float64],
    dense: bool = False,
) -> None:
    """Raise `DamagedState` if the logged model does not give images [n, H, W, C] these labels and confidences [n].

    With `dense` they are of a model that answers at each pixel.
    """
    given, sure = answers(uri, address, images)
    wrong = different(given, sure, labels, confidences, dense)
    if wrong.any():
        raise DamagedState(
            f"The logged model answers {int(wrong.sum())} of {len(labels)} images differently from the candidate "
            "that was judged, so it was not registered. Run the night again; its data stay pending."
        )


def different(
    given: Sequence[str],
    sure: NDArray[np.float64],
    labels: Sequence[str],
    confidences: NDArray[np.float64],
    dense: bool = False,
) -> NDArray[np.bool_]:
    """[n] where answers `given`, with confidence `sure`, are not those that are expected.

    Where no class has more than half of the probability, two may be equal but for rounding, and either is right. With
    `dense` that may happen at a pixel of any image, so few other labels are none.
    """
    other = np.array([a != b for a, b in zip(given, labels, strict=True)], dtype=bool)
    counted = other.mean() > RARE if dense else confidences > 0.5 + TOLERANCE
    return ~(np.abs(sure - confidences) <= TOLERANCE) | (other & counted)
