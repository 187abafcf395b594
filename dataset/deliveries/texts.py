"""Text and bytes from the columns of Parquet files that somebody sent, in little memory.

A kilobyte of Parquet can hold a value of many megabytes, once, and name it in a million rows. So such columns are read
as Arrow dictionaries, in which each value stands once; lengths are checked there; and rows share one text.
"""

import math
from collections.abc import Sequence
from typing import IO

import pyarrow as pa
import pyarrow.compute as compute
import pyarrow.parquet as parquet

from records.errors import UnreadableBatch

LONGEST_VALUE = 64 * 2**10
"""Bytes of a label, a path or the value of a further column."""
LARGEST_NUMBER = 2**53
"""A number with a fraction part, if only of zeros, that is larger may have been another one."""


def long_columns(schema: pa.Schema) -> list[str]:
    """Columns of text and of bytes, and those of structs, dotted, as `ParquetFile` takes them for `read_dictionary`."""
    found = [field.name for field in schema if _is_long(field.type)]
    structs = (field for field in schema if pa.types.is_struct(field.type))
    return found + [f"{field.name}.{inner.name}" for field in structs for inner in field.type if _is_long(inner.type)]


def open_dictionaries(file: IO[bytes], **options: object) -> parquet.ParquetFile:
    """An open Parquet file whose text and bytes are read as dictionaries. Raises what `ParquetFile` raises."""
    return parquet.ParquetFile(file, read_dictionary=long_columns(parquet.read_schema(file)), **options)


def is_plain(kind: pa.DataType) -> bool:
    """Whether values are text, numbers, dates or yes and no, as they are or in a dictionary."""
    if pa.types.is_dictionary(kind):
        return is_plain(kind.value_type)
    binary = pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind)
    return not (pa.types.is_nested(kind) or binary or kind == pa.binary_view())


def texts(column: pa.Array, name: str, shown: str) -> Sequence[str | None]:
    """The values of a column as text. Raises `UnreadableBatch` for one that is longer than `LONGEST_VALUE`."""
    if pa.types.is_dictionary(column.type):
        values = texts(column.dictionary, name, shown)
        return [None if place is None else values[place] for place in column.indices.to_pylist()]
    if _is_text(column.type):
        longest = compute.max(compute.binary_length(column.cast(pa.large_string()))).as_py() or 0
        if longest > LONGEST_VALUE:
            raise UnreadableBatch(
                f"Column '{name}' of {shown} holds a value of {longest:,} bytes, more than the {LONGEST_VALUE:,} that "
                "are allowed. Shorten it or leave the column out."
            )
    return [None if value is None else str(value) for value in column.to_pylist()]


def labels(column: pa.Array, name: str, shown: str) -> Sequence[str | None]:
    """The values of a column of labels as text. 3.0 means 3 and NaN means nothing: so other programs write a column of
    whole numbers in which one is missing. Raises `UnreadableBatch` for what names no class."""
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if pa.types.is_floating(kind):
        return [_whole_number(value, name, shown) for value in column.to_pylist()]
    if not (_is_text(kind) or pa.types.is_integer(kind) or pa.types.is_null(kind)):
        raise UnreadableBatch(
            f"Column '{name}' of {shown} holds {kind} values; a label is a name or a whole number. Write the names of "
            "the classes."
        )
    return texts(column, name, shown)


def _whole_number(value: float | None, name: str, shown: str) -> str | None:
    if value is None or math.isnan(value):
        return None
    if not value.is_integer() or abs(value) > LARGEST_NUMBER:
        raise UnreadableBatch(
            f"Column '{name}' of {shown} holds {value:g}; a label is a name or a whole number. Write the names of the "
            "classes."
        )
    return str(int(value))


def is_bytes(kind: pa.DataType) -> bool:
    """Whether values are bytes of any length, as they are or in a dictionary."""
    if pa.types.is_dictionary(kind):
        return is_bytes(kind.value_type)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _is_long(kind: pa.DataType) -> bool:
    return _is_text(kind) or is_bytes(kind)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or kind == pa.string_view())
