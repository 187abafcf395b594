"""The one place that knows every choice. To add one: write its file, add it here; the contract tests then cover it."""

from typing import Annotated

from pydantic import Field

from models.gates.paired_bootstrap import PairedBootstrap
from models.gates.paired_score import PairedScore
from models.networks.cnn import CNN
from models.networks.mlp import MLP
from models.networks.resnet import ResNet18
from models.networks.torchvision import Torchvision
from models.problems.classification import Classification
from models.strategies.finetune import Finetune
from models.strategies.joint import Joint
from models.strategies.replay import Replay
from models.strategies.replay_distillation import ReplayDistillation

NetworkRecipe = Annotated[MLP | CNN | ResNet18 | Torchvision, Field(discriminator="name")]
ProblemChoice = Annotated[Classification, Field()]
StrategyChoice = Annotated[Finetune | Joint | Replay | ReplayDistillation, Field(discriminator="name")]
GateChoice = Annotated[PairedScore | PairedBootstrap, Field(discriminator="name")]
