"""What strategies are called, for those who offer them before PyTorch is there: `--help`, and Prefect's form.

The same names as in `models/catalogue.py`, in the same order; a test keeps it so. Here because the catalogue imports
every strategy, which takes seconds.
"""

from typing import Literal

StrategyName = Literal[
    "finetune", "joint", "replay", "dark_replay", "er_ace", "lwf", "replay_distillation", "icarl", "ewc", "si",
    "importance_weighted", "reptile", "analytic",
]  # fmt: skip
Strategy = Literal["as configured", StrategyName]
"""What a night can be asked to learn with: as params.yaml has it, or otherwise this once."""
