"""Images of a quarantine entry as files, for a person to look at and correct, and the way back.

The folder holds `images/<row>.<format>`, names that are made here, and `manifest.csv`. In a copy of it a person deletes
lines and changes labels. To a spreadsheet program a cell that begins with `=`, `+`, `-`, `@`, in full width too, a tab
or a line break is a formula (OWASP, "CSV Injection"), and where numbers have a comma, a semicolon ends a cell. So an
apostrophe is put in front of each of these, at the beginning and behind whatever may separate cells, and another one in
front of an apostrophe that stands there; one is taken away again when the manifest comes back.

Where images have masks the files are `again/images/`, `again/masks/` and `again/classes.txt`: in the manifest a person
deletes lines, and masks are mended there and delivered again.
"""

import csv
import shutil
import unicodedata
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from dataset.batches import read_batch
from dataset.deliveries.items import REPEATED, label_of
from dataset.deliveries.manifests import Manifest, read_manifest
from dataset.rows import read_rows
from records.errors import WrongInput
from records.experience import Report
from records.formatting import plain
from tasks.quarantine.mask_files import OF_MASKS, write_legend, write_mask
from tasks.quarantine.store import corrected_rows
from tasks.workspace.workspace import Workspace

MANIFEST = "manifest.csv"
AGAIN = "again/"
"""Folder with the images that have masks: a delivery by itself, to be mended and delivered again."""
COLUMNS = ("path", "label", "row", "reason", "original", "batch", "lists")
REFUSED, ALL = "refused", "all"
"""What a manifest lists, in each of its lines: the refused images of a batch, or all that are not learned."""
ENDINGS = {"PNG": "png", "JPEG": "jpg", "WEBP": "webp", "BMP": "bmp", "TIFF": "tif", "GIF": "gif"}
FORMULA = "=+-@\u2212\t\r\n"
"""What a formula may begin with, the sign for minus included; full width forms are what Unicode says that they are."""
SEPARATORS = ";,|\t\r\n"
SKIPPED = ' "\u00a0'
"""May stand between the beginning of a cell and its formula."""


@dataclass(frozen=True)
class Written:
    """What was written into a folder."""

    images: int
    without: int
    """Images that are not among them, as no bytes of them were ever taken: missing files, links. Rows that name an
    image once more are none."""
    again: bool = False
    """True if the images have masks, and lie with them in the folder `AGAIN`."""


@dataclass(frozen=True)
class Listed:
    """What a person left in a manifest."""

    labels: Mapping[int, str]
    """Row to label."""
    every: bool
    """True if it had listed all images, else the refused ones alone."""


def write_files(workspace: Workspace, report: Report, folder: Path, every: bool = False) -> Written:
    """Write the refused images, or `every` one that is not learned, and their manifest into a new folder.

    Raises `WrongInput` if there is something in the folder already, or if it cannot be written; then nothing of it is
    left.
    """
    with _writing(folder):
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise WrongInput(f"{folder} is not empty. Name a folder that is empty or does not exist yet.")
        made = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        return _write(workspace, report, folder, every)
    except BaseException:
        _remove(folder, made)
        raise


def _write(workspace: Workspace, report: Report, folder: Path, every: bool) -> Written:
    batch = read_batch(workspace.batches, report.batch)
    below = AGAIN if batch.annotation else ""
    with _writing(folder):
        (folder / below / "images").mkdir(parents=True)
    taken = corrected_rows(workspace, report.batch)
    rows, reasons = rows_of(report, every, taken), _reasons(report)
    lines, without, looked = [], 0, []
    columns = ("encoded", "label", "path", "format", "problem", *(OF_MASKS if batch.annotation else ()))
    for number, row in read_rows(workspace.batches, batch, rows, columns):
        if row["encoded"] is None:
            without += row["problem"] != REPEATED
            continue
        name = f"{below}images/{number:06d}.{ENDINGS.get(row['format'], 'bin')}"
        with _writing(folder):
            (folder / name).write_bytes(row["encoded"])
            if batch.annotation:
                looked.append(row["labelled_for"])
                write_mask(folder / AGAIN, f"{number:06d}", row["annotation"])
        line = (name, row["label"], number, reasons.get(number, ""), plain(row["path"]), batch.id)
        lines.append((*line, ALL if every else REFUSED))
    if batch.annotation:
        with _writing(folder):
            write_legend(folder / AGAIN, batch.mask_classes, looked)
    # With a byte order mark, or spreadsheet programs take UTF-8 for something else.
    with _writing(folder), (folder / MANIFEST).open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows([_protected(str(value)) for value in line] for line in lines)
    return Written(len(lines), without, again=bool(batch.annotation))


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise WrongInput(f"{folder} cannot be written: {error.strerror or error}. Name another folder.") from error


def _remove(folder: Path, made: Sequence[Path]) -> None:
    """Remove what `_write` began, and the folders that it `made`, deepest first."""
    for name in ("images", AGAIN):
        shutil.rmtree(folder / name, ignore_errors=True)
    with suppress(OSError):
        (folder / MANIFEST).unlink(missing_ok=True)
        for place in made:
            place.rmdir()


def read_files(file: Path, report: Report, taken: Set[int] = frozenset()) -> Listed:
    """Read an edited manifest back; rows that are `taken` are in a correction already.

    Raises `WrongInput` if it is none, not one of this entry, or names such a row.
    """
    if not file.is_file():
        raise WrongInput(f"{file} is not a file. Name the edited {MANIFEST} of `retain quarantine show --files`.")
    manifest = read_manifest(file)
    lacking = [name for name in ("row", "batch", "lists") if name not in manifest.columns]
    if lacking:
        raise WrongInput(
            f"{file} has no column '{lacking[0]}'. Edit the {MANIFEST} that `retain quarantine show --files` writes."
        )
    kinds = {_column(manifest, "lists", at) for at in range(len(manifest.rows))}
    foreign = {_column(manifest, "batch", at) for at in range(len(manifest.rows))} - {report.batch}
    if foreign or len(kinds) != 1 or not kinds <= {REFUSED, ALL}:
        what = f"it is one of {min(foreign)}" if foreign else "the column 'lists' was changed"
        raise WrongInput(f"{file} is no manifest of {report.batch}: {what}.")
    return Listed(_labels(file, manifest, rows_of(report, kinds == {ALL}, taken)), kinds == {ALL})


def rows_of(report: Report, every: bool = True, taken: Set[int] = frozenset()) -> tuple[int, ...]:
    """Rows of the entry's images: those that were refused, or `every` one that the batch's experience does not learn,
    less those that are `taken`: in a correction already.

    Copies that were dropped are no loss, so an admitted batch has none but its refused ones.
    """
    rows = range(report.images) if every and not report.admitted else report.faulty_rows()
    return tuple(row for row in rows if row not in taken)


def _labels(file: Path, manifest: Manifest, rows: Sequence[int]) -> dict[int, str]:
    known = {str(row): row for row in rows}
    labels: dict[int, str] = {}
    for at, line in enumerate(manifest.rows):
        text = _column(manifest, "row", at)
        if text not in known or known[text] in labels:
            why = "is named twice" if text in known else "is none of the images that wait"
            raise WrongInput(f"Row {text!r} in {file} {why}. Delete lines and change labels, nothing else.")
        labels[known[text]] = label_of(_restored(line.label))
    return labels


def _column(manifest: Manifest, name: str, at: int) -> str:
    return _restored(manifest.rows[at].columns[manifest.columns.index(name)]).strip()


def _reasons(report: Report) -> dict[int, str]:
    """Row to what its checks say of it."""
    reasons: dict[int, list[str]] = {}
    for check in report.checks:
        details = {violation.row: violation.detail for violation in check.violations}
        for row in check.all_rows():
            detail = f" ({details[row]})" if details.get(row) else ""
            reasons.setdefault(row, []).append(f"{check.name}{detail}")
    return {row: "; ".join(named) for row, named in reasons.items()}


def _protected(text: str) -> str:
    out, begins = [], True
    for letter in text:
        out.append(f"'{letter}" if begins and _dangerous(letter) else letter)
        begins = _plain(letter) in SEPARATORS or (begins and letter in SKIPPED)
    return "".join(out)


def _restored(text: str) -> str:
    """What `_protected` was given, and text that nobody protected as it is."""
    out, begins, letters = [], True, iter(text)
    for letter in letters:
        if begins and letter == "'":
            following = next(letters, "")
            out.append(following if following and _dangerous(following) else letter + following)
            letter = following or letter
        else:
            out.append(letter)
        begins = _plain(letter) in SEPARATORS or (begins and letter in SKIPPED)
    return "".join(out)


def _dangerous(letter: str) -> bool:
    return letter == "'" or _plain(letter) in FORMULA


def _plain(letter: str) -> str:
    """Of a letter in full width the usual one."""
    usual = unicodedata.normalize("NFKC", letter)
    return usual if len(usual) == 1 else letter
