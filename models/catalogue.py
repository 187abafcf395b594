"""The one place that knows every choice. To add one: write its file, add it here; the contract tests then cover it."""

from typing import Annotated

from pydantic import Field

from models.corrections.bias_layer import BiasLayer
from models.corrections.interpolation import Interpolation
from models.corrections.weight_aligning import WeightAligning
from models.gates.paired_bootstrap import PairedBootstrap
from models.gates.paired_score import PairedScore
from models.networks.cnn import CNN
from models.networks.mlp import MLP
from models.networks.patches import Patches
from models.networks.resnet import ResNet18
from models.networks.torchvision import Torchvision
from models.networks.torchvision_segmentation import TorchvisionSegmentation
from models.networks.unet import UNet
from models.problems.classification import Classification
from models.problems.segmentation import Segmentation
from models.strategies.analytic import Analytic
from models.strategies.dark_replay import DarkReplay
from models.strategies.er_ace import ErAce
from models.strategies.ewc import EWC
from models.strategies.finetune import Finetune
from models.strategies.icarl import ICaRL
from models.strategies.importance_weighted import ImportanceWeighted
from models.strategies.joint import Joint
from models.strategies.lwf import LwF
from models.strategies.replay import Replay
from models.strategies.replay_distillation import ReplayDistillation
from models.strategies.reptile import Reptile
from models.strategies.si import SI

NetworkRecipe = Annotated[
    MLP | CNN | ResNet18 | Torchvision | Patches | UNet | TorchvisionSegmentation, Field(discriminator="name")
]
ProblemChoice = Annotated[Classification | Segmentation, Field(discriminator="name")]
StrategyChoice = Annotated[
    Finetune
    | Joint
    | Replay
    | DarkReplay
    | ErAce
    | LwF
    | ReplayDistillation
    | ICaRL
    | EWC
    | SI
    | ImportanceWeighted
    | Reptile
    | Analytic,
    Field(discriminator="name"),
]
GateChoice = Annotated[PairedScore | PairedBootstrap, Field(discriminator="name")]
CorrectionChoice = Annotated[WeightAligning | BiasLayer | Interpolation, Field(discriminator="name")]
