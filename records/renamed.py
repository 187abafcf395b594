"""Parameters that had another name: a params.yaml of before is read as it was meant, and `retain params` says what to
write now. So are the networks of versions that were registered before. Nothing else knows of the old names.
"""

from typing import Any

from records.errors import WrongParameters

LIMITS = {"together": "min_group_size"}
RENAMED: dict[str, dict[str, str]] = {
    "ingest": {"enough_test": "enough_test_images", "begin_test": "min_test_images"},
    "update": {"scarcity": "prior_exponent"},
    "update.budget": {
        "least_steps": "min_steps",
        "most_steps": "max_steps",
        "seconds": "max_seconds",
        "batch": "batch_size",
        "replayed": "replay_batch_size",
    },
    "update.optimiser": {
        "rate": "learning_rate",
        "matrix_rate": "matrix_learning_rate",
        "adapt": "adapt_learning_rate",
        "average": "ema_decay",
    },
    "update.augmentation": {"mix": "mixup_alpha", "shift": "translate"},
    "update.strategy: replay_distillation": {
        "remembered": "memory_weight",
        "fresh": "new_weight",
        "features": "feature_weight",
    },
    "update.strategy: dark_replay": {"stored": "logit_weight"},
    "update.strategy: ewc": {"strength": "penalty_weight", "fading": "decay_factor", "sample": "fisher_images"},
    "update.strategy: si": {"strength": "penalty_weight"},
    "update.strategy: lwf": {"strength": "distillation_weight"},
    "update.strategy: icarl": {"strength": "distillation_weight"},
    "update.strategy: importance_weighted": {"strength": "exponent", "most": "max_weight"},
    "update.strategy: reptile": {"inner": "inner_steps", "rate": "outer_learning_rate"},
    "update.correction: interpolation": {"parent": "parent_weight"},
    "update.network: mlp": {"start": "initialisation"},
    "update.network: patches": {"size": "patch_size", "grid": "pooling_grid"},
    "update.network: torchvision": {"frozen_statistics": "freeze_batch_norm"},
    "evaluate": {"better": "reference_confidence", "images": "max_images"},
    "judge: paired_score": LIMITS,
    "judge: paired_bootstrap": LIMITS,
}
"""Section, with the choice that it makes if the name belongs to that, to old and new name of a parameter."""


def modernise(content: dict[str, Any], old_wins: bool = False) -> list[tuple[str, str]]:
    """Give the parameters in `content`, sections as in params.yaml, their present names; tells old and new, dotted.

    Raises `WrongParameters` if one stands under both names, unless `old_wins`: it was asked for later.
    """
    found = []
    for place, names in RENAMED.items():
        path, _, choice = place.partition(": ")
        section: Any = content
        for part in path.split("."):
            section = section.get(part) if isinstance(section, dict) else None
        if not isinstance(section, dict) or (choice and section.get("name") != choice):
            continue
        for old, new in names.items():
            if old not in section:
                continue
            if new in section and not old_wins:
                raise WrongParameters(
                    f"`{path}.{old}` is called `{path}.{new}` now, and both are given: leave the old one out."
                )
            section[new] = section.pop(old)
            found.append((f"{path}.{old}", f"{path}.{new}"))
    return found


def what_to_write(renamed: list[tuple[str, str]]) -> str:
    """What to write in params.yaml; empty if everything has its present name."""
    if not renamed:
        return ""
    changes = "; ".join(f"`{old}` is `{new.rpartition('.')[2]}` now" for old, new in renamed)
    return f"params.yaml has names of before: {changes}. It was read as it was meant; write the new names."
