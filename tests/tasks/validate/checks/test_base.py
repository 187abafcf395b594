"""What the checks of a batch share."""

import pandas as pd

from tasks.validate.checks.base import FilteredBatch


def count_of(column):
    def count(batch):
        batch.table.attrs["computed"] = batch.table.attrs.get("computed", 0) + 1
        return int(batch.table[column].sum())

    return count


def test_functions_of_one_name_have_a_result_each_and_are_computed_once():
    batch = FilteredBatch(None, pd.DataFrame({"cats": [1, 1], "dogs": [0, 1]}))
    cats, dogs = count_of("cats"), count_of("dogs")
    assert cats.__name__ == dogs.__name__
    assert [batch.once(count) for count in (cats, dogs, cats, dogs)] == [2, 1, 2, 1]
    assert batch.table.attrs["computed"] == 2
