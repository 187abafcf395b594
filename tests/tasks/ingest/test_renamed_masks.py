"""What was looked for in masks whose classes get other names."""

import pyarrow as pa
import pytest

from dataset.shards import shard_schema
from tasks.ingest.renamed_masks import with_names


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a", "background"),  # What is of b may be part of the background still.
        ("a/b", "c"),
        ("a/d", "d"),
        ("a/b/d", ""),
        ("d", "d"),
        ("background", "background"),
        ("", ""),
    ],
)
def test_a_joined_class_was_looked_for_only_if_all_its_parts_were(before, after):
    schema = shard_schema((), "mask")
    row = {field.name: None for field in schema} | {"label": "", "labelled_for": before}
    table = pa.Table.from_pylist([row], schema)
    renamed = with_names(table, ("background", "a", "b", "d"), ("background", "c", "c", "d"))
    assert renamed["labelled_for"].to_pylist() == [after]
