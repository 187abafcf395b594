"""How models were logged before they stood alone, with the packages `models` and `records` beside them."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from models.bundle import ModelBundle
from models.learner import Learner


class Served(PythonModel):
    """Answers with the name of the most probable class."""

    learner: Learner

    def load_context(self, context: PythonModelContext) -> None:
        """Read the snapshot. Raises `DamagedState` if a file of it is not the one that was registered."""
        self.learner = ModelBundle.read(Path(context.artifacts["snapshot"])).learner

    # MLflow takes the bare class for "any array" and would try to check a more exact annotation itself.
    def predict(
        self,
        context: PythonModelContext,
        model_input: np.ndarray,
        params: dict[str, Any] | None = None,
    ) -> pd.DataFrame:
        """`label` and `confidence` (probability of that label, 0..1) for each of n images, uint8 [n, H, W, C].

        Height, width and channels are those that the network was made for: an image of another size would have to be
        brought to it exactly as in training. Raises `ValueError` with the expected shape.
        """
        spec = self.learner.spec
        expected = (spec.height, spec.width, spec.channels)
        images = np.asarray(model_input)
        if images.ndim != 4 or images.shape[1:] != expected or images.dtype != np.uint8:
            raise ValueError(f"expected uint8 [n, {', '.join(map(str, expected))}], got {images.dtype} {images.shape}")
        device = "cuda" if torch.cuda.is_available() else "cpu"
        pixels = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
        confidence, answer = self.learner.outputs(pixels, device).softmax(dim=1).max(dim=1)
        names = np.array(self.learner.classes, dtype=object)
        return pd.DataFrame({"label": names[answer.numpy()], "confidence": confidence.double().numpy()})


set_model(Served())
