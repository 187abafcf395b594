"""What a logged model carries besides its snapshot, so that it answers without retain: a program and a few files.

The program is the network as torch.export sees it: a graph of torch's own operations, told as JSON, without weights. It
takes these as an input, so they lie in the model once, as the snapshot's safetensors. The files are those that decode
and resize images here: copied, so that a version sees an image for ever as its training did.
"""

import json
import shutil
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from dataset.decoding import codecs, costly, damage, fit, formats, jpeg, levels, png, tiff
from models.bundle import sha256
from models.learner import Learner
from models.networks.base import Network

MOST_AT_ONCE = 64
"""Images that the program takes in one call; who has more calls it again."""
PICTURES = (codecs, costly, damage, fit, formats, jpeg, levels, png, tiff)
"""These import each other, numpy and Pillow, and nothing else."""


def write_program(snapshot: Path, folder: Path) -> Path:
    """Write what the learner in a snapshot's folder needs to answer by itself into `folder`, which is made.

    `files.json` has the SHA-256 of each file: torch does not look at the checksums in the program.
    """
    folder.mkdir(parents=True)
    program = program_of(Learner.read(snapshot))
    # What it was traced with; it would be written as a pickle.
    program.example_inputs = None
    torch.export.save(program, folder / "program.pt2")
    for module in PICTURES:
        shutil.copy(str(module.__file__), folder)
    digests = {path.name: sha256(path) for path in folder.iterdir()}
    (folder / "files.json").write_text(json.dumps(digests), encoding="utf-8")
    return folder


def program_of(learner: Learner) -> ExportedProgram:
    """From weights, in the order of their names, and uint8 images [n, C, H, W], to probabilities [n, classes].

    Those of a dense network are [n, classes, H, W].
    """
    network = learner.network.cpu().eval()
    weights = dict(sorted(network.state_dict().items()))
    spec = learner.spec
    images = torch.zeros(2, spec.channels, spec.height, spec.width, dtype=torch.uint8)
    shapes = {"weights": dict.fromkeys(weights), "images": {0: Dim("n", max=MOST_AT_ONCE)}}
    with torch.no_grad():
        return torch.export.export(Answers(network), (weights, images), dynamic_shapes=shapes, strict=False)


class Answers(nn.Module):
    """A network whose weights come with each call."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        # Within a tuple torch does not see it, so its weights are no part of the program.
        self._network = (network,)

    def forward(self, weights: dict[str, Tensor], images: Tensor) -> Tensor:
        """Probabilities [n, classes], or [n, classes, H, W]."""
        outputs: Tensor = torch.func.functional_call(self._network[0], weights, (images,))
        return outputs.softmax(dim=1)
