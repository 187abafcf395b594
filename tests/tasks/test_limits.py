"""The limits that ship: on real class-incremental streams a full retrain is accepted, plain fine-tuning is refused.

A lineage is played step by step without the tools around it: ingest, validate, update, evaluate, judge.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow.parquet as parquet
import pytest

from benchmarks.mask_archive import MaskArchive
from benchmarks.segmentation import ious
from dataset.archive import Archive
from dataset.streams.delivery import FIRST_DAY
from dataset.streams.digits import digits
from dataset.streams.digits_on_canvas import NIGHTS, held_out_canvases
from dataset.streams.fashion_mnist import fashion_mnist
from dataset.streams.pictures import Pictures
from models.bundle import ModelBundle
from records.batch import Batch
from records.experience import Experience
from records.scores import ScoreMatrix
from records.verdict import Verdict
from tasks.evaluate.evaluate import evaluate
from tasks.ingest.ingest import ingest
from tasks.judge import judge, read_pairs
from tasks.params.params import Params, read_params
from tasks.update.update import update
from tasks.validate.earlier import EarlierImages
from tasks.validate.validate import validate

TEMPLATE = Path(__file__).parents[2] / "tasks" / "workspace" / "template"
FASHION = Path("/usr/share/datasets/fashion-mnist")


@dataclass
class Stream:
    """Class-incremental nights of a stream, ingested and validated."""

    archive: Archive
    experiences: list[Experience]
    params: Params


def params_for(stream: str, strategy: str) -> Params:
    return read_params(TEMPLATE / f"params-{stream}.yaml", {"update.strategy.name": strategy})


def arrive(folder: Path, stream: str, nights: Sequence[Pictures]) -> Stream:
    params = params_for(stream, "joint")
    experiences, seen = [], []
    for number, pictures in enumerate(nights):
        source = folder / "deliveries" / str(number)
        pictures.write(source)
        batch = ingest(folder / "batches", folder / "staging", source, FIRST_DAY, params.ingest).batch
        facts = facts_of(folder / "batches", batch)
        experience, _ = validate(facts, batch, EarlierImages.of(seen), (), params.validation)
        experiences.append(experience)
        seen.append((experience, facts))
    return Stream(Archive(folder / "batches", folder / "cache"), experiences, params)


def facts_of(batches: Path, batch: Batch) -> pd.DataFrame:
    tables = [parquet.read_table(batches / batch.id / s.name).drop_columns(["encoded"]) for s in batch.shards]
    return pd.concat([table.to_pandas() for table in tables], ignore_index=True)


def night(stream: Stream, number: int, params: Params, parent: Path | None, out: Path) -> tuple[ScoreMatrix, Verdict]:
    """Learn experience `number` on top of the version in `parent`, and judge the candidate in `out`."""
    new = [stream.experiences[number]]
    snapshot = parent / "snapshot" if parent else None
    update(snapshot, number, new, stream.archive, params.update, f"night {number}", out / "snapshot")
    matrix = evaluate(
        out / "snapshot", parent, stream.archive, params.update.problem, params.evaluate, out / "evaluation"
    )
    earlier, problem = parent / "evaluation" if parent else None, params.update.problem
    return matrix, judge(read_pairs(out / "evaluation", earlier, problem), params.judge, problem=problem)


@pytest.fixture(scope="module")
def digit_stream(tmp_path_factory: pytest.TempPathFactory) -> Stream:
    pictures = digits()
    return arrive(tmp_path_factory.mktemp("digits"), "digits", [pictures.of(2 * n, 2 * n + 1) for n in range(5)])


@pytest.fixture(scope="module")
def fashion_stream(tmp_path_factory: pytest.TempPathFactory) -> Stream:
    if not FASHION.is_dir():
        pytest.skip("Fashion-MNIST is not on this machine: install Debian's package dataset-fashion-mnist")
    # A fifth of each class, so that five full retrains stay a matter of seconds; the test share makes up for it.
    pictures = fashion_mnist(FASHION).part(0, 1400)
    return arrive(
        tmp_path_factory.mktemp("fashion"), "fashion-mnist", [pictures.of(2 * n, 2 * n + 1) for n in range(5)]
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["digits", "fashion-mnist"])
def test_the_limits_accept_a_full_retrain_and_refuse_fine_tuning(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    stream: Stream = request.getfixturevalue("digit_stream" if name == "digits" else "fashion_stream")
    retrain, finetune = params_for(name, "joint"), params_for(name, "finetune")
    parent = None
    for number in range(5):
        if parent is not None:
            _, refused = night(stream, number, finetune, parent, tmp_path / f"finetune-{number}")
            assert refused.decision == "refuse", refused.reason
        out = tmp_path / f"joint-{number}"
        _, accepted = night(stream, number, retrain, parent, out)
        assert accepted.decision == "accept", accepted.reason
        parent = out


def test_the_default_strategy_learns_the_digits_and_is_accepted(digit_stream: Stream, tmp_path: Path) -> None:
    params, parent = params_for("digits", "replay_distillation"), None
    for number in range(5):
        out = tmp_path / str(number)
        matrix, verdict = night(digit_stream, number, params, parent, out)
        assert verdict.decision == "accept", verdict.reason
        parent = out
    assert matrix.average() > 0.94
    assert matrix.experiences == tuple(e.batch for e in digit_stream.experiences)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_masks_of_new_classes_are_learned_and_fine_tuning_is_refused(tmp_path: Path) -> None:
    """Each night of canvases is labelled for its own classes alone; the others stand there unlabelled."""
    stream_name = "digits-on-canvas"
    default, finetune, retrain = (params_for(stream_name, s) for s in ("replay_distillation", "finetune", "joint"))
    archive = MaskArchive(NIGHTS, default.ingest.test_share)
    stream = Stream(archive, list(archive.experiences()), default)
    parent = None
    for number in range(len(NIGHTS)):
        if parent is not None:
            _, refused = night(stream, number, finetune, parent, tmp_path / f"finetune-{number}")
            assert refused.decision == "refuse", refused.reason
        if number in (1, 4):
            _, accepted = night(stream, number, retrain, parent, tmp_path / f"joint-{number}")
            assert accepted.decision == "accept", accepted.reason
        _, accepted = night(stream, number, default, parent, tmp_path / str(number))
        assert accepted.decision == "accept", accepted.reason
        parent = tmp_path / str(number)
    learner = ModelBundle.read(tmp_path / "4" / "snapshot").learner
    assert sum(ious(learner, held_out_canvases(), default.update.problem).values()) / 11 > 0.72
