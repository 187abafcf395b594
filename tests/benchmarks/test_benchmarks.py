"""The benchmark itself: streams are what they say, plays are scored by hand, the page has every line."""

import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from benchmarks import bare, ingest_images, page
from benchmarks.cases import avalanche_cases, cases
from benchmarks.play import play
from benchmarks.streams import FASHION_MNIST, STREAMS, Stream, digits, turn
from tasks.update.settings import UpdateParams

BRIEF = {"network": {"name": "mlp", "hidden": [16]}, "budget": {"min_steps": 1, "max_steps": 4}}
MACHINE = {"system": "machine", "day": "2026-01-01", "cores": 2, "processor": "any", "python": "3", "torch": "2"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name.startswith("digits") else [pytest.mark.slow]) for name in STREAMS]
)
def test_a_stream_is_made_from_its_seed_and_shows_no_image_twice(name: str) -> None:
    if name != "digits" and not FASHION_MNIST.exists():
        pytest.skip("Fashion-MNIST is not installed")
    stream, again = STREAMS[name](1), STREAMS[name](1)
    for night, same in zip(stream.nights, again.nights, strict=True):
        assert np.array_equal(night.images, same.images)
        assert night.test.any()
        assert (~night.test).any()
    if name == "digits":
        shown = [image.tobytes() for night in stream.nights for image in night.images]
        assert len(set(shown)) >= 0.998 * len(shown)  # a few digits are alike to the pixel


def test_a_quarter_turn_is_that_of_numpy() -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 1, 6, 6), dtype=np.uint8)
    assert np.array_equal(turn(images, 90.0), np.rot90(images, axes=(2, 3))) or np.array_equal(
        turn(images, 90.0), np.rot90(images, k=-1, axes=(2, 3))
    )


def test_a_play_learns_every_night_and_asks_all_the_past() -> None:
    played = play(digits(0), UpdateParams.model_validate({**BRIEF, "memory": {"size": 40}}))
    assert [len(row) for row in played.matrix] == [1, 2, 3, 4, 5]
    assert played.average == pytest.approx(sum(played.matrix[-1]) / 5, abs=1e-5)
    best = [max(row[n] for row in played.matrix[n:-1]) for n in range(4)]
    assert played.forgetting == pytest.approx(sum(best) / 4 - sum(played.matrix[-1][:4]) / 4, abs=2e-5)
    for row, known in zip(played.matrix, played.known, strict=True):
        assert all(k >= overall for overall, k in zip(row, known, strict=True))
    assert played.remembered_bytes == 40 * 64
    assert played.images == (256, 512, 512, 512, 512)


@pytest.mark.parametrize("dark", [False, True])
def test_the_bare_loop_does_the_same_number_of_images(dark: bool) -> None:
    short = Stream("short", digits(0).classes, digits(0).nights[:2])
    result = bare.replay(short, 40, seed=0, dark=dark)
    assert result.images == 150 * 64 + 150 * 128
    assert [len(row) for row in result.matrix] == [1, 2]
    assert result.matrix[-1][-1] > 0.8


def test_every_case_can_be_run_and_is_named_once() -> None:
    named = [f"{case.group} {case.name}" for case in [*cases(), *avalanche_cases()]]
    assert len(set(named)) == len(named)
    for case in cases():
        UpdateParams.model_validate(case.update)
        assert case.stream in STREAMS
        assert case.group in page.GROUPS


def line(name: str, seed: int, average: float, **more: object) -> page.Line:
    case = {"group": "digits", "name": name}
    result = {
        "forgetting": 0.1,
        "cpu_seconds": [2.0, 1.0],
        "peak_bytes": 2e6,
        "kept_bytes": 1e6,
        "remembered_bytes": 5e5,
    }
    return {"system": "retain", "case": case, "seed": seed, "average": average, **result, **more}


def test_the_page_has_a_row_a_case_the_best_first() -> None:
    lines = [MACHINE, line("worse", 0, 0.5), line("better", 0, 0.9), line("better", 1, 0.8)]
    rows = [row for row in page.page(lines).splitlines() if row.startswith(("| better", "| worse"))]
    assert rows == [
        "| better | 85.0 ± 7.1 | 10.0 ± 0.0 | 3.0 | 2.0 | 1.0 | – | 2 | 1.5 |",
        "| worse | 50.0 | 10.0 | 3.0 | 2.0 | 1.0 | – | 2 | 1.5 |",
    ]


def test_what_ran_in_turn_with_a_bare_loop_is_compared_with_it() -> None:
    lines = [MACHINE, line("replay", 0, 0.5, bare_cpu_seconds=[1.5, 1.0]), line("other", 0, 0.4)]
    rows = [
        row.strip("| ").split(" | ") for row in page.page(lines).splitlines() if row.startswith(("| replay", "| other"))
    ]
    assert {row[0]: row[6] for row in rows} == {"replay": "1.20", "other": "1.2"}


def test_a_new_run_takes_the_place_of_the_same_cases_alone() -> None:
    earlier, new = [MACHINE, line("a", 0, 0.1), line("b", 0, 0.2)], [MACHINE, line("b", 0, 0.3)]
    assert [entry.get("average") for entry in page.replaced(earlier, new)] == [0.1, None, 0.3]


def test_the_table_of_ingestion_has_rates_and_the_median_share() -> None:
    common = {"name": "any", "images": 6000, "processes": 2, "peak_bytes": 5e8}
    seconds = {"bare_seconds": [1.0, 2.0, 3.0], "ingest_seconds": [2.0, 3.0, 4.0], "validate_seconds": [1.0, 1.0, 1.0]}
    row = page.ingest_row({"system": "ingest", **common, **seconds})
    assert row == "| any | 6,000 | 2 | 3,000 | 2,000 | 67% | 6,000 | 1,500 | 500 |"


def test_what_a_batch_costs_on_a_large_archive_is_compared_in_pairs() -> None:
    rounds = [
        {"small_ingest": 1.0, "small_validate": 1.0, "large_ingest": 1.0, "large_validate": 1.2},
        {"small_ingest": 4.0, "small_validate": 4.0, "large_ingest": 4.0, "large_validate": 4.0},
        {"small_ingest": 1.0, "small_validate": 1.0, "large_ingest": 2.0, "large_validate": 1.0},
    ]
    text = page.ingest_growth({"batch": 10_000, "learned": 10, "rounds": rounds})
    assert "3.00 s with 100,000 images learned before, 2.00 s with 10,000; median ratio 1.10" in text


@pytest.mark.slow
def test_ingestion_is_measured(tmp_path: Path) -> None:
    if not FASHION_MNIST.exists():
        pytest.skip("Fashion-MNIST is not installed")
    command = [
        sys.executable,
        "-m",
        "benchmarks.ingest",
        "--quick",
        "--out",
        tmp_path / "out.jsonl",
        "--folder",
        tmp_path,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = page.read(tmp_path / "out.jsonl")
    assert [line["system"] for line in lines] == ["machine", "ingest", "ingest", "ingest-growth"]
    assert [line["images"] for line in lines[1:3]] == [700, 200]
    assert page.ingest_row(lines[2]) in done.stdout
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.jsonl"]


def test_drawn_images_are_all_different_and_always_the_same() -> None:
    for draw in (ingest_images.photograph, partial(ingest_images.patch, 7)):
        files = [draw(number) for number in range(12)]
        assert files == [draw(number) for number in range(12)]
        assert len({content for _, content in files}) == len({path for path, _ in files}) == 12
