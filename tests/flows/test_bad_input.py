"""Whatever comes in: a clear sentence, the right exit code, and nothing lost."""

import csv
import io
import json
import os
import resource
import shutil
import struct
import subprocess
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from PIL import Image

from flows.cli.main import main
from records.batch import shortened
from records.experience import Report
from records.registration import RunFile
from tasks import stages
from tasks.quarantine import store
from tasks.workspace.workspace import Workspace

RETAIN = [sys.executable, "-m", "flows.cli.main"]


def png(seed: int, side: int = 12) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng([seed, 99]).integers(0, 256, (side, side), dtype=np.uint8)).save(file, "PNG")
    return file.getvalue()


def huge_png() -> bytes:
    """50,000 x 50,000 pixels in a few bytes: 7.5 GB, were it decoded."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(100_000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def moving_gif() -> bytes:
    file = io.BytesIO()
    first, *others = (Image.open(io.BytesIO(png(seed))) for seed in (1, 2, 3))
    first.save(file, "GIF", save_all=True, append_images=others)
    return file.getvalue()


def write_manifest(file: Path, rows, header=("path", "label"), encoding="utf-8") -> Path:
    with file.open("w", encoding=encoding, newline="") as text:
        csv.writer(text).writerows([header, *rows])
    return file


# One bad image among good ones: the batch is taken whole, and validation says which image, why and what to do


@dataclass(frozen=True)
class TakenDelivery:
    """A delivery after `retain ingest` and validation."""

    workspace: Workspace
    delivered: dict[str, bytes]
    ingested: dict
    report: Report

    def row(self, path: str) -> dict:
        shards = (self.workspace.batches / self.report.batch).glob("*.parquet")
        return next(row for shard in shards for row in parquet.read_table(shard).to_pylist() if row["path"] == path)

    def violations(self, path: str) -> dict[str, str]:
        """What each check says of an image."""
        return {c.name: x.detail for c in self.report.checks for x in c.violations if x.path == path}


@pytest.fixture(scope="module")
def taken(template, tmp_path_factory):
    """`taken(name, source, delivered)` ingests through the command line, in a workspace of its own."""

    def take(source: Path, delivered: dict[str, bytes]) -> TakenDelivery:
        root = Path(shutil.copytree(template, source.parent / "shop", symlinks=True))
        output = io.StringIO()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "stdout", output)
            assert main(["ingest", str(source), "-w", str(root), "--json"]) == 0
        ingested = json.loads(output.getvalue())
        _, (report,) = stages.run_validate(Workspace(root), RunFile(batches=(ingested["batch"]["id"],)))
        return TakenDelivery(Workspace(root), delivered, ingested, report)

    return take


LONG = f"{'d' * 150}/{'f' * 150}.png"
FILES = {
    "bar/zero.png": b"",
    "bar/half.png": png(10)[:60],
    "bar/note.png": b"Dear Sir or Madam, this is no image.",
    "bar/huge.png": huge_png(),
    "bar/moving.gif": moving_gif(),
    'bar/"quoted\'".png': png(11),
    "bar/two\nlines.png": png(12),
    "bar/Füße 画像 ☃.png": png(13),
    f"bar/{LONG}": png(14),
    "bar/twin.png": png(15),
    "column/twin.png": png(15),
}


@pytest.fixture(scope="module")
def folder(taken, deliver, tmp_path_factory) -> TakenDelivery:
    source = deliver(tmp_path_factory.mktemp("folder") / "monday", {"bar": 20, "column": 20})
    for name, content in FILES.items():
        (source / name).parent.mkdir(exist_ok=True)
        (source / name).write_bytes(content)
    (source / "bar" / "link.png").symlink_to("/etc/hostname")
    return taken(source, {str(path.relative_to(source)): path.read_bytes() for path in source.rglob("*.[pg]*")})


BAD_FILES = {
    "bar/zero.png": ("file-empty", "the file has no bytes"),
    "bar/half.png": ("file-truncated", "the PNG file ends before the picture does"),
    "bar/note.png": ("not-an-image", "its first bytes are those of no image format"),
    "bar/huge.png": ("file-too-large", "50000 x 50000 pixels, more than the 50000000 that are allowed"),
    "bar/moving.gif": ("animation", "3 frames"),
    "bar/twin.png": ("labels-conflict", "the same pixels are labelled bar and column"),
    "column/twin.png": ("labels-conflict", "the same pixels are labelled bar and column"),
}


@pytest.mark.parametrize("path", BAD_FILES)
def test_a_bad_file_is_named_with_its_reason_and_its_bytes_are_kept(folder, path):
    check, detail = BAD_FILES[path]
    assert folder.violations(path) == {check: detail}
    assert folder.row(path)["encoded"] == folder.delivered[path]


def test_a_link_out_of_the_batch_is_not_followed(folder):
    assert folder.violations("bar/link.png") == {"path-outside": "a symbolic link; links are not followed"}
    assert folder.row("bar/link.png")["encoded"] is None


@pytest.mark.parametrize("path", ['bar/"quoted\'".png', "bar/two\nlines.png", "bar/Füße 画像 ☃.png", f"bar/{LONG}"])
def test_any_file_name_is_taken_as_it_is(folder, path):
    row = folder.row(path)
    assert (row["problem"], row["encoded"]) == ("", folder.delivered[path])


def test_a_partly_bad_batch_names_the_numbers(folder):
    assert folder.ingested["batch"]["images"] == 52
    assert folder.report.summary == (
        "Quarantined: 7 of 52 images (13%) were refused, more than the 5% allowed: 1 leading out of the delivery, "
        "1 empty, 1 truncated, 1 not an image, 1 too large to open, 2 with two labels."
    )


def test_status_shows_quarantine_and_its_page(folder, retain):
    page = store.set_aside(folder.workspace, folder.report)
    result = retain("status", "-w", folder.workspace.root)
    assert result.code == 0
    assert shortened(f"quarantine   {folder.report.batch} (monday)") in result.out
    assert folder.report.summary in result.out
    assert str(page) in result.out


BAD_ROWS = {
    "../outside.png": ("bar", "path-outside", "the path leads out of the manifest's folder"),
    "/etc/hostname": ("bar", "path-outside", "the path leads out of the manifest's folder"),
    "link.png": ("bar", "path-outside", "a symbolic link; links are not followed"),
    "gone.png": ("bar", "file-missing", "no such file in the delivery"),
    "x" * 300 + ".png": ("bar", "file-missing", "no such file in the delivery"),
    "": ("bar", "file-missing", "the row names no file"),
    "a.png": ("bar/foot", "label-unusable", "the label holds a slash or backslash"),
    "b.png": ("", "label-unusable", "the label is empty"),
    "c.png": ("bar\n", "label-unusable", "the label holds a control character or a line break"),
}


@pytest.fixture(scope="module")
def manifest(taken, tmp_path_factory) -> TakenDelivery:
    home = tmp_path_factory.mktemp("manifest") / "photos"
    (home / Path(LONG).parent).mkdir(parents=True)
    good = [f"{number}.png" for number in range(40)] + ["a.png", "b.png", "c.png", 'q"uote\n.png', LONG]
    delivered = {name: png(number) for number, name in enumerate(good)}
    for name, content in {**delivered, "../outside.png": png(99)}.items():
        (home / name).write_bytes(content)
    (home / "link.png").symlink_to("/etc/hostname")
    rows = [(name, "bar") for name in good if name not in BAD_ROWS] + [(path, row[0]) for path, row in BAD_ROWS.items()]
    return taken(write_manifest(home / "monday.csv", rows), delivered)


@pytest.mark.parametrize("path", BAD_ROWS, ids=lambda path: path[:20] or "no path")
def test_a_bad_row_of_a_manifest_is_named_with_its_reason(manifest, path):
    _, check, detail = BAD_ROWS[path]
    assert manifest.violations(path) == {check: detail}
    assert manifest.row(path)["encoded"] == manifest.delivered.get(path)


@pytest.mark.parametrize("path", ['q"uote\n.png', LONG])
def test_a_manifest_may_name_any_file(manifest, path):
    row = manifest.row(path)
    assert (row["problem"], row["encoded"]) == ("", manifest.delivered[path])


# A delivery that cannot become a batch: nothing is taken


def _empty_class(place: Path) -> Path:
    (place / "bar").mkdir()
    (place / "column").mkdir()
    (place / "bar" / "1.png").write_bytes(png(1))
    return place


def _loose_file(place: Path) -> Path:
    (place / "1.png").write_bytes(png(1))
    return place


def _two_manifests(place: Path) -> Path:
    for name in ("manifest.csv", "manifest.parquet"):
        (place / name).touch()
    return place


def _missing_column(place: Path) -> Path:
    return write_manifest(place / "m.csv", [("1.png", "bar")], header=("path", "lable"))


def _wrong_encoding(place: Path) -> Path:
    return write_manifest(place / "m.csv", [("1.png", "Füße")], encoding="latin-1")


def _other_parquet(place: Path) -> Path:
    parquet.write_table(pa.table({"path": ["1.png"], "label": [[1, 2]]}), place / "m.parquet")
    return place / "m.parquet"


def _torn_parquet(place: Path) -> Path:
    (place / "m.parquet").write_bytes(b"PAR1 and no more")
    return place / "m.parquet"


def _link(place: Path) -> Path:
    (place / "real").mkdir()
    (place / "link").symlink_to(place / "real")
    return place / "link"


def _text(place: Path) -> Path:
    (place / "labels.txt").write_text("1.png bar")
    return place / "labels.txt"


UNREADABLE = {
    "empty folder": (lambda place: place, "is empty: it holds no class folders and no manifest."),
    "empty class folder": (_empty_class, "Class folder 'column' of {place} holds no files. Put its images there, or"),
    "image without class": (_loose_file, "'1.png' lies in {place} without a class. Put it into a folder that is named"),
    "two manifests": (_two_manifests, "{place} holds two manifests, manifest.csv and manifest.parquet."),
    "missing column": (_missing_column, "{place}/m.csv has no column 'label'; it has: path, lable. A manifest needs"),
    "no rows": (lambda place: write_manifest(place / "m.csv", []), "{place}/m.csv has no rows: it names no image."),
    "wrong encoding": (_wrong_encoding, "{place}/m.csv is not in UTF-8: byte 0xfc fits no character there. Save it as"),
    "column of lists": (_other_parquet, "Column 'label' of {place}/m.parquet holds list<"),
    "torn parquet": (_torn_parquet, "{place}/m.parquet is no readable Parquet file: "),
    "link": (_link, "{place}/link is a symbolic link, and links are not followed. Give what it points to."),
    "text file": (_text, "{place}/labels.txt is neither a folder nor a file that ends in .csv, .parquet or .tar."),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_a_delivery_that_cannot_become_a_batch_stays_where_it_is(retain, workspace, everything_below, case):
    prepare, sentence = UNREADABLE[case]
    place = workspace.inbox / "monday"
    place.mkdir()
    source, before = prepare(place), everything_below(workspace.root)
    result = retain("ingest", source, "-w", workspace.root)
    assert (result.code, result.out) == (2, "")
    assert sentence.format(place=place) in result.sentence
    assert everything_below(workspace.root) == before
    assert os.path.lexists(source)


# params.yaml

PARAMS = {
    "unknown key": ("update: {budgte: {epochs: 1}}", "`update.budgte` is not a parameter; did you mean `budget`?"),
    "unknown section": (
        "learn: {}",
        "`learn` is not a parameter; known here: evaluate, ingest, judge, ",
    ),
    "wrong type": ("update: {budget: {epochs: many}}", "`update.budget.epochs`: input should be a valid number"),
    "unknown strategy": (
        "update: {strategy: {name: reply}}",
        "`update.strategy.name` is `reply`, which is not known; did you mean `replay`? Known: finetune, "
        "joint, replay, dark_replay, er_ace, "
        "lwf, replay_distillation, icarl, ewc, si, importance_weighted, reptile, analytic.",
    ),
    "no blending": (
        "update: {strategy: {name: dark_replay}, augmentation: {mixup_alpha: 0.2}}",
        "`update`: `augmentation.mixup_alpha` makes no sense with the strategy dark_replay.",
    ),
    "no correction": (
        "update: {strategy: {name: joint}, correction: {name: weight_aligning}}",
        "`update`: `correction` makes no sense with the strategy joint.",
    ),
    "nothing to fit on": (
        "update: {memory: {size: 0}, correction: {name: bias_layer}}",
        "`update`: `memory.size: 0` makes no sense with the correction bias_layer: it is fitted on remembered images.",
    ),
    "no prior": (
        "update: {prior_exponent: 0.5, imbalance: none}",
        "`update`: `prior_exponent` is part of `imbalance: prior`.",
    ),
    "no answers": (
        "update: {memory: {size: all}, strategy: {name: dark_replay}}",
        "`update`: `memory.size: all` makes no sense with the strategy dark_replay: no answers are stored.",
    ),
    "no YAML": ("update: [", "is not readable as YAML"),
    "wrong encoding": ("# Größe".encode("latin-1"), "is not readable as YAML: 'utf-8' codec can't decode"),
    "another document": ("- a", "must hold sections (ingest, validate, ...), not a list"),
}
SECTIONS = "ingest: {}\nvalidate: {}\nevaluate: {}\njudge: {name: paired_score}\n"


@pytest.mark.parametrize("command", ["params", "status", "ingest"])
@pytest.mark.parametrize("case", PARAMS)
def test_wrong_parameters_are_named_with_their_place(retain, workspace, deliver, command, case):
    content, sentence = PARAMS[case]
    if isinstance(content, str) and content.startswith(("update: {", "learn")):
        content = SECTIONS + ("" if content.startswith("update") else "update: {}\n") + content
    workspace.params.write_bytes(content if isinstance(content, bytes) else content.encode())
    delivery = deliver(workspace.inbox / "monday", {"bar": 1})
    result = retain(command, *([delivery] if command == "ingest" else []), "-w", workspace.root)
    assert (result.code, result.out) == (2, "")
    assert result.sentence.startswith(f"{workspace.params}")
    assert sentence in result.sentence
    assert "value error" not in result.sentence.lower()
    assert "{" not in result.sentence
    assert len(list(delivery.rglob("*.png"))) == 1


def test_params_that_are_gone(retain, workspace):
    workspace.params.unlink()
    result = retain("params", "-w", workspace.root)
    assert (result.code, result.sentence[: len(str(workspace.root))]) == (2, str(workspace.root))


def test_a_number_of_workers_that_is_none(retain, workspace, deliver, monkeypatch):
    delivery = deliver(workspace.inbox / "monday", {"bar": 1})
    monkeypatch.setenv("RETAIN_WORKERS", "many")
    result = retain("ingest", delivery, "-w", workspace.root)
    assert (result.code, result.sentence) == (
        2, "RETAIN_WORKERS is `many`; it must be a whole number of processes, 1 or more.",
    )  # fmt: skip
    assert delivery.exists()


# Outside systems


@pytest.mark.parametrize(
    "words", [["status"], ["history"], ["compare", "1", "2"], ["rollback", "1"], ["approve", "c0ffee"]], ids=str
)
def test_mlflow_at_an_address_that_nobody_answers(retain, workspace, monkeypatch, nobody, words):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", nobody)
    result = retain(*words, "-w", workspace.root)
    assert (result.code, result.out) == (2, "")
    assert result.sentence.startswith(f"Nobody answers at {nobody} (MLFLOW_TRACKING_URI): ")
    assert result.sentence.endswith("Start MLflow there, or correct the address.")


def test_mlflow_at_an_address_that_is_none(retain, workspace, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "somewhere")
    result = retain("status", "-w", workspace.root)
    assert result.code == 2
    assert result.sentence.startswith(
        "MLflow cannot keep a registry at `somewhere` (MLFLOW_TRACKING_URI): an address is"
    )


def test_prefect_at_an_address_that_is_none(retain, workspace, monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", "somewhere")
    result = retain("night", "-w", workspace.root)
    assert (result.code, result.out) == (2, "")
    assert result.sentence.startswith("No Prefect server answers at somewhere (PREFECT_API_URL).")


@pytest.mark.parametrize("words", [["night", "-w", "shop"], ["demo"]], ids=str)
def test_prefect_at_an_address_that_nobody_answers(retain, workspace, monkeypatch, nobody, deliver, words):
    deliver(workspace.inbox / "monday", {"bar": 1})
    monkeypatch.chdir(workspace.root.parent)
    monkeypatch.setenv("PREFECT_API_URL", f"{nobody}/api")
    result = retain(*words)
    assert result.code == 2
    assert result.sentence == (
        f"No Prefect server answers at {nobody}/api (PREFECT_API_URL). Start it, or unset the variable."
    )
    assert (workspace.inbox / "monday" / "bar" / "0000.png").exists()


# No space left

IN_A_SMALL_FILE_SYSTEM = (
    'mount -t tmpfs -o size="$1" none "$3" && cp -a "$2/." "$3" && shift 2 && cd / && '
    '"$2" -m flows.cli.main ingest "$3" -w "$1"; code=$?; ls "$1/data/batches"; exit $code'
)


def _can_mount() -> bool:
    return (
        bool(shutil.which("unshare")) and not subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode
    )


@pytest.mark.slow
@pytest.mark.skipif(not _can_mount(), reason="a file system of our own cannot be mounted here")
@pytest.mark.parametrize(
    ("megabytes", "sentence"),
    [(2, "is full. Free about twice the size of the delivery and try again."), (5, "is full. Free some space and")],
    ids=["for the batch", "for its copy in DVC's cache"],
)
def test_a_full_disk(template, tmp_path, megabytes, sentence):
    files = shutil.copytree(template, tmp_path / "template", symlinks=True, ignore=shutil.ignore_patterns(".retain"))
    delivery, root = tmp_path / "monday" / "noise", tmp_path / "shop"
    root.mkdir()
    delivery.mkdir(parents=True)
    for number in range(3):
        (delivery / f"{number}.png").write_bytes(png(number, side=1000))
    script = ["unshare", "-rm", "sh", "-c", IN_A_SMALL_FILE_SYSTEM, "sh", f"{megabytes}m", files, root]
    done = subprocess.run([*script, sys.executable, delivery.parent], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    (batch,) = done.stdout.split() or [""]
    sentence = f"monday is written as {shortened(batch)} but not committed" if batch else "Nothing of monday was taken."
    assert sentence in done.stderr
    assert len(list(delivery.iterdir())) == 3


@pytest.mark.slow
def test_a_disk_that_takes_no_more(workspace, tmp_path):
    delivery = tmp_path / "monday"
    (delivery / "noise").mkdir(parents=True)
    (delivery / "noise" / "1.png").write_bytes(png(1, side=1000))

    def small_files_only() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))

    done = subprocess.run(
        [*RETAIN, "ingest", delivery, "-w", workspace.root], preexec_fn=small_files_only, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert (
        done.stderr
        == f"The batch could not be written below {workspace.state}: File too large. Nothing of monday was taken.\n"
    )
    assert not list(workspace.batches.iterdir())
    assert (delivery / "noise" / "1.png").exists()


# Inside a night: what a step raises reaches the person as its sentence


@pytest.mark.slow
@pytest.mark.usefixtures("prefect")
class TestNight:
    def test_an_empty_inbox_is_nothing_to_learn(self, retain, workspace):
        result = retain("night", "-w", workspace.root, "--fail-on", "nothing", "--fail-on", "refused")
        assert result.code == 3
        assert result.sentence == "Exit code 3, as --fail-on wishes: nothing."
        assert result.out.splitlines()[0] == "Nothing to learn: no batch is pending."
        document = retain("night", "-w", workspace.root, "--json")
        assert (document.code, json.loads(document.out)["outcome"]) == (0, "nothing to learn")

    def test_a_delivery_that_cannot_be_read_stays_and_is_named(self, retain, workspace):
        (workspace.inbox / "monday" / "bar").mkdir(parents=True)
        result = retain("night", "-w", workspace.root)
        assert result.code == 0
        assert "not taken    monday stays in the inbox: Class folder 'bar' of " in result.out
        assert (workspace.inbox / "monday" / "bar").exists()

    def test_a_delivery_may_have_any_name(self, retain, workspace, deliver):
        for seed, name in enumerate([os.fsdecode(b"caf\xe9"), "{name}\n[red]", "名前" * 20]):
            deliver(workspace.inbox / name, {"bar": 1}, seed)
        (workspace.inbox / os.fsdecode(b"\xff") / "bar").mkdir(parents=True)
        result = retain("night", "-w", workspace.root)
        assert result.code == 0, result.err
        lines = result.out.splitlines()
        assert [line.rpartition(" of ")[2] for line in lines[:3]] == ["caf\\udce9", "{name}\\n[red]", "名前" * 20]
        assert lines[3].startswith("not taken    \\udcff stays in the inbox: ")

    def test_damage_is_told_in_a_sentence(self, retain, workspace):
        record = workspace.batches / "2026-03-02-0123abcd" / "batch.json"
        record.parent.mkdir(parents=True)
        record.write_text("{")
        result = retain("night", "-w", workspace.root)
        assert (result.code, result.out) == (2, "")
        assert result.sentence.startswith(f"{record} is not a readable Batch record: ")

    def test_wrong_parameters_are_told_and_the_delivery_stays(self, retain, workspace, deliver):
        delivery = deliver(workspace.inbox / "monday", {"bar": 1})
        workspace.params.write_text(SECTIONS + "update: {memory: {size: few}}")
        result = retain("night", "-w", workspace.root)
        assert (result.code, result.out) == (2, "")
        assert "`update.memory.size`" in result.sentence
        assert delivery.exists()

    def test_what_a_night_would_come_to_nothing_by_is_told_before_it_takes_a_delivery(
        self, retain, workspace, deliver, monkeypatch
    ):
        delivery = deliver(workspace.inbox / "monday", {"bar": 1})
        result = retain("night", "-w", workspace.root, "--strategy", "analytic")
        assert (result.code, result.out) == (2, "")
        assert result.sentence.startswith(
            "`update.strategy.name` is `analytic`, which trains no layer but the last, and "
        )
        result = retain("night", "-w", workspace.root, "--memory", "0")
        assert (result.code, result.out) == (2, "")
        assert "did you mean the strategy `lwf`?" in result.sentence
        monkeypatch.setenv("RETAIN_DEVICE", "cuda:99")
        result = retain("night", "-w", workspace.root)
        assert (result.code, result.out) == (2, "")
        assert result.sentence.startswith("RETAIN_DEVICE is `cuda:99`; it must be ")
        assert delivery.exists()
        assert not list(workspace.batches.iterdir())

    def test_mlflow_that_nobody_answers_costs_no_batch(self, retain, workspace, deliver, monkeypatch, nobody):
        deliver(workspace.inbox / "monday", {"bar": 1})
        monkeypatch.setenv("MLFLOW_TRACKING_URI", nobody)
        result = retain("night", "-w", workspace.root)
        assert (result.code, result.out) == (2, "")
        assert result.sentence.startswith(f"Nobody answers at {nobody} (MLFLOW_TRACKING_URI): ")
        assert "ingest monday" in result.err.splitlines()
        monkeypatch.delenv("MLFLOW_TRACKING_URI")
        assert len(json.loads(retain("status", "-w", workspace.root, "--json").out)["pending"]) == 1
