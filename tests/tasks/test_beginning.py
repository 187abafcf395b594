"""Small deliveries, night by night, with the limits that ship: the beginning ends by itself.

Played without the tools around it: ingest, validate, update, evaluate, judge.
"""

from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path

import pandas as pd
import pyarrow.parquet as parquet
import pytest

from dataset.archive import Archive
from dataset.batches import count_tests
from models.networks.mlp import MLP
from records.experience import Experience
from tasks.evaluate.evaluate import evaluate
from tasks.ingest.ingest import ingest
from tasks.judge import judge, read_pairs
from tasks.params.params import Params
from tasks.update.settings import UpdateParams
from tasks.update.update import update
from tasks.validate.earlier import EarlierImages
from tasks.validate.validate import validate

PARAMS = Params(update=UpdateParams(network=MLP(hidden=(32,))))


@pytest.fixture
def play(deliver, tmp_path) -> Callable[[int, int], list[str]]:
    """`play(300, 6)`: what becomes of six nights with so many images of two shapes each."""
    archive = Archive(tmp_path / "batches", tmp_path / "cache")
    seen: list[tuple[Experience, pd.DataFrame]] = []

    def arrive(images: int, night: int) -> Experience:
        folder = deliver(tmp_path / f"delivery-{night}", {"bar": images // 2, "column": images // 2}, night)
        held = count_tests(archive.batches, (), PARAMS.ingest.enough_test_images)
        day = date(2026, 3, 1 + night)
        batch = ingest(archive.batches, tmp_path / "staging", folder, day, PARAMS.ingest, held=held).batch
        shard = parquet.read_table(archive.batches / batch.id / batch.shards[0].name)
        facts = shard.drop_columns(["encoded"]).to_pandas()
        experience, _ = validate(facts, batch, EarlierImages.of(seen), (), PARAMS.validation)
        seen.append((experience, facts))
        return experience

    def learn(parent: Path | None, new: Sequence[Experience], night: int, attempt: int) -> tuple[Path, str]:
        out = tmp_path / f"night-{night}"
        snapshot, earlier = (parent / "snapshot", parent / "evaluation") if parent else (None, None)
        version = 0 if parent is None else 1
        update(snapshot, version, new, archive, PARAMS.update, f"{night:064x}", out / "snapshot")
        problem = PARAMS.update.problem
        evaluate(out / "snapshot", parent, archive, problem, PARAMS.evaluate, out / "evaluation")
        return out, judge(read_pairs(out / "evaluation", earlier), PARAMS.judge, attempt).decision

    def play(images: int, nights: int) -> list[str]:
        parent, pending, decisions, attempt = None, [], [], 0
        for night in range(1, nights + 1):
            pending.append(arrive(images, night))
            tests = sum(experience.test for experience in pending)
            if parent is None and PARAMS.ingest.beginning(len(pending), tests):
                decisions.append("waits")
                continue
            attempt += 1
            out, decision = learn(parent, pending, night, attempt)
            decisions.append(decision)
            if decision == "accept":
                parent, pending, attempt = out, [], 0
        return decisions

    return play


@pytest.mark.slow
@pytest.mark.parametrize("nights", [3, 5])
def test_a_beginning_of_300_images_ends_by_itself(play, nights):
    assert play(300, nights) == ["waits", *["accept"] * (nights - 1)]


@pytest.mark.slow
@pytest.mark.parametrize(("images", "waits"), [(60, 6), (100, 4)])
def test_small_deliveries_wait_for_each_other_and_are_then_learned_night_by_night(play, images, waits):
    nights = play(images, 12)
    begun = nights.index("accept")
    assert abs(begun - waits) <= 1
    assert nights == ["waits"] * begun + ["accept"] * (12 - begun)
