"""Images in the cells of Parquet files, as Hugging Face's `datasets` writes them.

The image column is a struct of `bytes` and `path`, or plain binary; the label is a name, or a number whose name stands
in the schema's metadata (`huggingface`, JSON: info.features.<column>.names). The layout is described on
huggingface.co/docs/hub/datasets-image ("Parquet format"), the metadata in `datasets/arrow_writer.py`.

If several columns could hold the image, it is the one named `image`. The label is the first of `LABELS` that is there:
text, whole numbers, or such with a fraction of zero; what else it could be (yes and no, dates) names no class.
Other text, numbers, dates and booleans become columns, numbers by their names, and `path` becomes the column
`<image column>.path`; lists, structs and other binary columns are left out, and the file is kept for their sake.

A file is gone through once to learn the length and the digest of every cell, a few rows at a time, so that nothing too
large, and nothing twice, is taken later, and a damaged file is known before anything is written. Then `Cells` reads row
groups forwards.
"""

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as compute
import pyarrow.parquet as parquet

from dataset.decoding.formats import BadImage
from dataset.deliveries.allowance import Tally
from dataset.deliveries.samples import named
from dataset.deliveries.texts import is_bytes, is_plain, labels, open_dictionaries, texts
from records.errors import UnreadableBatch

LABELS = ("label", "labels", "class", "category", "fine_label", "target")
READ_BYTES = 8 * 2**20
"""About so many bytes of images are in memory at a time, one image at the least."""
MOST_ROWS = 1024
LARGEST_GROUP = 256 * 2**20
"""Bytes of images in a row group, unpacked. Common writers put up to a thousand rows into one page, which is unpacked
whole: each process that reads needs about three times as much memory. `datasets` writes 100 images a group."""
BUFFER = 2**20
CHANGED = (pa.ArrowException, OSError, ValueError, LookupError, TypeError, StopIteration)
"""What comes of reading a file that is no longer the one that was gone through."""


class Cell(NamedTuple):
    """Where an image's bytes stand in a Parquet file."""

    group: int
    row: int
    """Within its row group."""
    column: str
    """Dotted, such as image.bytes."""


class TableImage(NamedTuple):
    """One row of a table of images."""

    label: str
    bytes: int
    problem: str
    """`missing` if the cell is empty; beginning with `label` if the label is no good; else empty."""
    detail: str
    cell: Cell
    columns: tuple[str, ...]
    digest: str = ""
    """Of the image's bytes; empty if there are none."""


@dataclass(frozen=True)
class TableLayout:
    """Which columns of a file mean what."""

    image: str
    """Dotted column of the bytes."""
    label: str
    path: str
    """Dotted column of the names that the files had; empty if there is none."""
    further: tuple[str, ...]
    names: Mapping[str, Sequence[str]]
    """Names of classes by column, for columns of numbers."""
    left_out: tuple[str, ...] = ()
    """Columns, and fields of the image's struct, dotted, that become no column: retain does not understand them."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the further columns, that of the path included."""
        return (*self.further, *([self.path] if self.path else ()))


def holds_images(file: IO[bytes]) -> bool:
    """Whether an open Parquet file has images in its cells, and is no manifest. False for what is no Parquet file."""
    try:
        schema = parquet.read_schema(file)
    except (pa.ArrowException, OSError):
        return False
    if any(_is_image_struct(f.type) for f in schema):
        return True
    return not {"path", "label"} <= set(schema.names) and any(
        is_bytes(f.type) for f in schema if f.name not in ("path", "label")
    )


def read_layout(file: IO[bytes], shown: str, tally: Tally) -> TableLayout:
    """Find image and label of an open file, which is called `shown`.

    Raises `UnreadableBatch` with the columns that there are.
    """
    with _open_table(file, shown) as table:
        tally.columns(table.metadata.num_columns, shown)
        schema = table.schema_arrow
    twice = sorted({name for name in schema.names if schema.names.count(name) > 1})
    if twice:
        raise UnreadableBatch(f"{shown} has two columns '{twice[0]}'. Give each column its own name.")
    image = _image_column(schema, shown)
    label = next((name for name in LABELS if name in schema.names), None)
    if label is None:
        raise UnreadableBatch(
            f"{shown} has no column for the label; it has: {', '.join(schema.names)}. Name it {LABELS[0]}."
        )
    if not is_plain(schema.field(label).type):
        raise UnreadableBatch(
            f"Column '{label}' of {shown} holds {schema.field(label).type} values; a label is a name or a whole number."
        )
    struct = _is_image_struct(schema.field(image).type)
    further = tuple(f.name for f in schema if f.name not in (image, label) and is_plain(f.type))
    has_path = struct and schema.field(image).type.get_field_index("path") >= 0
    path = f"{image}.path" if has_path and f"{image}.path" not in further else ""
    fields = [f"{image}.{f.name}" for f in schema.field(image).type] if struct else []
    left_out = [name for name in schema.names if name not in (image, label, *further)]
    return TableLayout(
        image=f"{image}.bytes" if struct else image,
        label=label,
        path=path,
        further=further,
        names=_names_of_classes(schema),
        left_out=(*left_out, *(name for name in fields if name not in (f"{image}.bytes", path))),
    )


def read_pictures(file: IO[bytes], layout: TableLayout, shown: str) -> Iterator[TableImage]:
    """The rows of a file in its order; columns as in `layout.columns`. Raises `UnreadableBatch`."""
    with _open_table(file, shown, dictionaries=True) as table:
        try:
            for group in range(table.num_row_groups):
                yield from _pictures(table, group, layout, shown)
        except UnicodeDecodeError:
            raise UnreadableBatch(f"{shown} holds text that is not in UTF-8. Write it again as UTF-8.") from None
        except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
            raise _unreadable(shown, error) from None


def _pictures(table: parquet.ParquetFile, group: int, layout: TableLayout, shown: str) -> Iterator[TableImage]:
    rows = _rows_at_once(table, group, layout.image, shown)
    columns = [layout.image, layout.label, *layout.columns]
    row = 0
    for part in table.iter_batches(rows, row_groups=[group], columns=columns):
        images = _images(part, layout.image)
        label_values = labels(_leaf(part, layout.label), layout.label, shown)
        values_of = {name: texts(_leaf(part, name), name, shown) for name in layout.columns}
        further = [_named_texts(values, layout.names.get(name, ())) for name, values in values_of.items()]
        for number, (image, label) in enumerate(zip(images, label_values, strict=True)):
            values = tuple(column[number] for column in further)
            cell = Cell(group, row, layout.image)
            yield _picture(image, label, layout.names.get(layout.label, ()), cell, values)
            row += 1


class _Bytes(NamedTuple):
    """Of an image."""

    length: int
    digest: str


def _images(part: pa.RecordBatch, column: str) -> list[_Bytes | None]:
    """Of each row; None where the cell is empty. Bytes that several rows share are looked at once."""
    cells = _leaf(part, column)
    cells = cells if pa.types.is_dictionary(cells.type) else cells.dictionary_encode()
    buffers = [value.as_buffer() for value in cells.dictionary]
    known = [_Bytes(buffer.size, hashlib.blake2b(buffer, digest_size=16).hexdigest()) for buffer in buffers]
    return [None if place is None else known[place] for place in cells.indices.to_pylist()]


def _picture(
    image: _Bytes | None, label: str | None, names: Sequence[str], cell: Cell, values: tuple[str, ...]
) -> TableImage:
    if label is None:
        name, problem, detail = "", "label-missing", "the row has no label"
    else:
        name, problem, detail = named(label, names)
    if image is None:
        return TableImage(name, 0, "missing", "the row holds no bytes of an image", cell, values)
    return TableImage(name, image.length, problem, detail, cell, values, image.digest)


class Cells:
    """Reads cells of an open Parquet file, row group by row group, forwards and a few rows at a time.

    To go back in a group begins it anew, which is correct but slow.
    """

    def __init__(self, file: IO[bytes]) -> None:
        # A buffer, so that of a column only what is wanted next is in memory, not the whole row group.
        self._table = open_dictionaries(file, buffer_size=BUFFER, pre_buffer=False)
        self._file = file
        self._at: tuple[int, str] = (-1, "")
        self._rows: Iterator[pa.RecordBatch] = iter(())
        self._part: pa.Array = pa.array([], pa.binary())
        self._start = 0

    def read(self, cell: Cell) -> bytes:
        """The bytes of a cell. Raises `BadImage` if the file no longer is what it was."""
        try:
            if self._at != (cell.group, cell.column) or cell.row < self._start:
                self._begin(cell)
            while cell.row >= self._start + len(self._part):
                self._start += len(self._part)
                self._part = _leaf(next(self._rows), cell.column)
            return bytes(self._part[cell.row - self._start].as_py())
        except (*CHANGED, UnreadableBatch) as error:
            raise BadImage("unreadable", f"the Parquet file cannot be read ({type(error).__name__})") from None

    def close(self) -> None:
        """Close the file."""
        self._table.close(force=True)
        self._file.close()

    def _begin(self, cell: Cell) -> None:
        rows = _rows_at_once(self._table, cell.group, cell.column, "")
        self._rows = self._table.iter_batches(rows, row_groups=[cell.group], columns=[cell.column])
        self._at, self._start, self._part = (cell.group, cell.column), 0, pa.array([], pa.binary())


class OpenTable(threading.local):
    """The Parquet file that this thread read last, still open: the next part of a delivery goes on in the same row
    group, and would otherwise go through it from its beginning again.
    """

    key: object = None
    cells: Cells | None = None

    def swap(self, key: object, cells: Cells | None) -> None:
        """Keep another one, or none."""
        if self.cells is not None and self.cells is not cells:
            self.cells.close()
        self.key, self.cells = key, cells


OPEN_TABLE = OpenTable()


def _open_table(file: IO[bytes], shown: str, dictionaries: bool = False) -> parquet.ParquetFile:
    opener = open_dictionaries if dictionaries else parquet.ParquetFile
    try:
        return opener(file, buffer_size=BUFFER, pre_buffer=False)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(shown, error) from None


def _unreadable(shown: str, error: Exception) -> UnreadableBatch:
    return UnreadableBatch(f"{shown} is no readable Parquet file: {' '.join(str(error).split())}")


def _rows_at_once(table: parquet.ParquetFile, group: int, column: str, shown: str) -> int:
    facts = table.metadata.row_group(group)
    chunks = (facts.column(number) for number in range(facts.num_columns))
    size: int = next((chunk.total_uncompressed_size for chunk in chunks if chunk.path_in_schema == column), 0)
    if size > LARGEST_GROUP:
        raise UnreadableBatch(
            f"Row group {group} of {shown} holds {size / 2**20:.0f} MiB of images, more than "
            f"{LARGEST_GROUP / 2**20:.0f}. Write the file with fewer rows a group (row_group_size=100)."
        )
    rows: int = facts.num_rows
    return max(1, min(MOST_ROWS, READ_BYTES * max(rows, 1) // max(size, 1)))


def _leaf(part: pa.RecordBatch, dotted: str) -> pa.Array:
    """A column, or a field of a struct; null where the struct is."""
    if dotted in part.schema.names:
        return part.column(dotted)
    column, _, name = dotted.rpartition(".")
    return compute.struct_field(part.column(column), name)


def _named_texts(values: Sequence[str | None], names: Sequence[str]) -> list[str]:
    return ["" if text is None else named(text, names)[0] for text in values]


def _image_column(schema: pa.Schema, shown: str) -> str:
    found = [f.name for f in schema if _is_image_struct(f.type) or is_bytes(f.type)]
    if len(found) == 1 or "image" in found:
        return "image" if "image" in found else str(found[0])
    if found:
        raise UnreadableBatch(
            f"{shown} has several columns that could hold the image: {', '.join(found)}. Name one of them image."
        )
    raise UnreadableBatch(
        f"{shown} has no column of images; it has: {', '.join(schema.names) or 'none'}. In a folder of Parquet files "
        "each holds the bytes of its images."
    )


def _names_of_classes(schema: pa.Schema) -> dict[str, tuple[str, ...]]:
    """From the metadata that `datasets` writes; columns without names of classes are not in it."""
    try:
        features: Any = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        found = {str(name): feature.get("names") for name, feature in features.items() if isinstance(feature, dict)}
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError):
        return {}
    return {name: tuple(map(str, names)) for name, names in found.items() if isinstance(names, list)}


def _is_image_struct(kind: pa.DataType) -> bool:
    if not pa.types.is_struct(kind) or kind.get_field_index("bytes") < 0:
        return False
    return is_bytes(kind.field(kind.get_field_index("bytes")).type)
