"""What MLflow's pages say in words of a model and of its versions, in markdown."""

import re
from collections.abc import Sequence

from records.runs import Rollback

RULE = "\n\n---\n\n"
"""Below it stands what a person wrote, and stays."""
NOT_MARKDOWN = str.maketrans({c: f"\\{c}" for c in "\\`*_{}[]<>()#+!|~"})
SHOWN = 5
"""Rollbacks that are named."""
LENGTH = 4500
"""Characters of ours: MLflow's databases keep 5,000."""


def of_model(champion: int, rollbacks: Sequence[Rollback]) -> str:
    """Which version is the champion, and which rollbacks there were, newest first."""
    told = [f"**v{champion} is the champion**; the alias `champion` names it. Kept by retain."]
    if rollbacks:
        told += ["", "Rollbacks:", "", *(f"- {plain(rollback.sentence())}" for rollback in rollbacks[:SHOWN])]
    return "\n".join(told)[:LENGTH]


def beside_theirs(ours: str, before: str) -> str:
    """A new description, with what a person wrote into the one before."""
    is_ours = re.match(r"\*\*v\d+ is the champion|Kept by retain;", before)
    theirs = before.partition(RULE)[2] if is_ours else before
    return f"{ours}{RULE}{theirs}" if theirs else ours


def plain(text: str) -> str:
    """Text on one line, without markdown: what people and senders wrote means nothing here."""
    return " ".join(text.split())[:400].translate(NOT_MARKDOWN)
