"""Multi-layer perceptron: the network of most published comparisons on small grey images."""

from typing import Literal

from pydantic import Field
from torch import nn

from models.networks.base import Recipe
from records.snapshot import InputSpec


class MLP(Recipe):
    """Fully connected layers with ReLU. Fast on a CPU; knows nothing of neighbouring pixels."""

    name: Literal["mlp"] = "mlp"
    hidden: tuple[int, ...] = (400, 400)
    """Widths of the hidden layers."""
    initialisation: Literal["uniform", "orthogonal"] = "uniform"
    """How weights begin: as PyTorch draws them, or orthogonal (Saxe et al., 2014, arXiv:1312.6120), biases 0."""
    dropout: float = Field(default=0.0, ge=0, lt=1)

    @property
    def begins_as_chance(self) -> bool:
        """Without hidden layers, features are the pixels."""
        return bool(self.hidden)

    def body(self, spec: InputSpec) -> tuple[nn.Module, int]:
        """Features are the last hidden layer's activations."""
        layers: list[nn.Module] = [nn.Flatten()]
        width = spec.channels * spec.height * spec.width
        for hidden in self.hidden:
            layers += [nn.Linear(width, hidden), nn.ReLU()]
            if self.dropout:
                layers.append(nn.Dropout(self.dropout))
            width = hidden
        if self.initialisation == "orthogonal":
            for layer in layers:
                if isinstance(layer, nn.Linear):
                    nn.init.orthogonal_(layer.weight, gain=2**0.5)
                    nn.init.zeros_(layer.bias)
        return nn.Sequential(*layers), width
