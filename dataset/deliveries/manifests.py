"""A manifest: a table that says which file has which label, and anything else that is known of an image."""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO

import pyarrow as pa

from dataset.deliveries.allowance import USUAL, Tally
from dataset.deliveries.texts import is_plain, labels, open_dictionaries, texts
from records.errors import UnreadableBatch

REQUIRED = ("path", "label")
ROWS_AT_ONCE = 65_536


@dataclass(frozen=True, slots=True)
class Row:
    """One line. Everything is text, stripped of nothing; what a Parquet file leaves null is empty."""

    path: str
    label: str
    columns: tuple[str, ...]


@dataclass(frozen=True)
class Manifest:
    """A manifest's lines, in its own order, and the names of its further columns."""

    columns: tuple[str, ...]
    rows: tuple[Row, ...]


def read_manifest(file: Path) -> Manifest:
    """Read a .csv or .parquet manifest. Raises `UnreadableBatch`: what is wrong, where, and what to do."""
    with file.open("rb") as content:
        return manifest_in(content, file, Tally(USUAL, str(file)))


def manifest_in(content: IO[bytes], file: Path, tally: Tally) -> Manifest:
    """The same of a file that is open; `file` is what it is called. Raises `UnreadableBatch`."""
    lines = _lines(content, file)
    header = next(lines, ())
    tally.columns(len(header), str(file))
    _check_header(file, header)
    further = [place for place, name in enumerate(header) if name not in REQUIRED]
    path, label = header.index("path"), header.index("label")
    counted = tally.rows(lines, tuple)
    rows = tuple(Row(line[path], line[label], tuple(line[place] for place in further)) for line in counted)
    if not rows:
        raise UnreadableBatch(f"{file} has no rows: it names no image.")
    return Manifest(tuple(header[place] for place in further), rows)


def names_in(content: IO[bytes], file: Path, most: int = USUAL.rows) -> Iterator[str]:
    """Paths in `most` rows of an open manifest, as far as it can be read: it may be damaged, or half written."""
    lines = _lines(content, file)
    try:
        header = next(lines, ())
        if "path" in header:
            place = header.index("path")
            yield from (line[place] for line in islice(lines, most))
    except (UnreadableBatch, OSError, MemoryError):
        return


def _check_header(file: Path, header: Sequence[str]) -> None:
    missing = [name for name in REQUIRED if name not in header]
    if missing:
        raise UnreadableBatch(
            f"{file} has no column '{missing[0]}'; it has: {_shown_columns(header)}. "
            "A manifest needs the columns path and label, and a CSV file has commas between them."
        )
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise UnreadableBatch(f"{file} has two columns '{twice[0]}'. Give each column its own name.")
    if "" in header:
        raise UnreadableBatch(
            f"Column {header.index('') + 1} of {file} has no name. "
            "Name it or leave it out (in pandas with to_csv(index=False))."
        )


def _shown_columns(header: Sequence[str]) -> str:
    """The first few columns, cut short: instead of a header there may be anything."""
    names = [name if len(name) <= 40 else f"{name[:37]}..." for name in header[:8]]
    return ", ".join([*names, *(["..."] if len(header) > 8 else [])]) or "none"


def _lines(content: IO[bytes], file: Path) -> Iterator[tuple[str, ...]]:
    return _parquet_lines(content, file) if file.suffix.lower() == ".parquet" else _csv_lines(content, file)


def _csv_lines(content: IO[bytes], file: Path) -> Iterator[tuple[str, ...]]:
    # utf-8-sig: spreadsheet programs put a byte order mark in front.
    with io.TextIOWrapper(content, encoding="utf-8-sig", newline="") as text:
        reader = csv.reader(text, strict=True)
        width = 0
        try:
            for line in reader:
                width = width or len(line)
                if line and len(line) != width:
                    raise UnreadableBatch(
                        f"Line {reader.line_num} of {file} has {len(line)} values, its first line {width}. "
                        "Put values that hold commas or line breaks into double quotes."
                    )
                if line:
                    yield tuple(line)
        except UnicodeDecodeError as error:
            raise _not_utf8(file, error) from None
        except csv.Error as error:
            if "field larger" in str(error):
                raise UnreadableBatch(
                    f"Line {reader.line_num} of {file} holds a value longer than {csv.field_size_limit()} characters. "
                    "Shorten it, or look for a double quote that is not closed."
                ) from None
            raise UnreadableBatch(f"{file} is no readable CSV file: {error} in line {reader.line_num}.") from None


def _parquet_lines(content: IO[bytes], file: Path) -> Iterator[tuple[str, ...]]:
    try:
        with open_dictionaries(content) as table:
            _check_types(file, table.schema_arrow)
            yield tuple(table.schema_arrow.names)
            for part in table.iter_batches(ROWS_AT_ONCE):
                columns = zip(part.columns, part.schema.names, strict=True)
                values = [(labels if name == "label" else texts)(column, name, str(file)) for column, name in columns]
                yield from (tuple(value or "" for value in row) for row in zip(*values, strict=True))
    except UnicodeDecodeError as error:
        raise _not_utf8(file, error) from None
    except (pa.ArrowException, OSError) as error:
        raise UnreadableBatch(f"{file} is no readable Parquet file: {' '.join(str(error).split())}") from None


def _check_types(file: Path, schema: pa.Schema) -> None:
    for field in schema:
        if not is_plain(field.type):
            kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
            raise UnreadableBatch(
                f"Column '{field.name}' of {file} holds {kind} values. Columns may hold text, numbers, dates or "
                "yes and no."
            )


def _not_utf8(file: Path, error: UnicodeDecodeError) -> UnreadableBatch:
    byte = error.object[error.start]
    return UnreadableBatch(f"{file} is not in UTF-8: byte 0x{byte:02x} fits no character there. Save it as UTF-8.")
