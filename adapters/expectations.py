"""Great Expectations: rules over a table, checked in memory as one suite, and those that are broken once more.

A rule is a value that knows no tool; only `run` does. Which rows break a rule is read from the frame's own index:
asking for an id column instead takes seconds when many rows fail (2.6 s against 0.05 s for 100,000 rows).
"""

import logging
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from records.errors import DamagedState
from records.record import Record

if TYPE_CHECKING:
    import pandas


class OneOf(Record):
    """Every value is among the given ones."""

    kind: Literal["one of"] = "one of"
    column: str
    values: tuple[str, ...]
    where: str | None = None
    """A boolean column: only rows in which it is true are asked."""


class NoneOf(Record):
    """No value is among the given ones."""

    kind: Literal["none of"] = "none of"
    column: str
    values: tuple[str, ...]
    where: str | None = None
    """A boolean column: only rows in which it is true are asked."""


class Between(Record):
    """Every value lies between two bounds; a bound belongs to what is allowed, None is no bound."""

    kind: Literal["between"] = "between"
    column: str
    least: float | None = None
    most: float | None = None
    where: str | None = None
    """A boolean column: only rows in which it is true are asked."""


Expectation = OneOf | NoneOf | Between


class Rule(Record):
    """What is expected of a table, under a name."""

    name: str
    expectation: Expectation = Field(discriminator="kind")


class RuleResult(Record):
    """Whether a table keeps one rule, and the rows that break it."""

    rule: str
    passed: bool
    rows: tuple[int, ...] = ()
    """Rows that break it, sorted."""


def run(table: "pandas.DataFrame", rules: Iterable[Rule]) -> tuple[RuleResult, ...]:
    """Check the rules, which bear different names, and give the findings in their order.

    `table` has one row an image, at least one, and the row numbers as index. Great Expectations passes over missing
    values in silence, so none may be in a column that is asked. Raises `DamagedState` if there is one, or if a rule
    could not be checked (a column that is not there, say): a broken suite says nothing about the data.
    """
    rules = tuple(rules)
    # Great Expectations hashes the whole frame: what is not asked for need not be in it.
    columns = {rule.expectation.column for rule in rules} | {rule.expectation.where for rule in rules}
    table = table[[column for column in table.columns if column in columns]]
    _refuse_missing_values(table, rules)
    batch = _batch_of(table)
    results = _validate(batch, rules, "BOOLEAN_ONLY")
    # Most tables keep most rules, and to be told which rows break one takes twice as long as whether any does.
    results |= _validate(batch, [rule for rule in rules if not results[rule.name].success], "COMPLETE")
    return tuple(_rule_result(rule, results[rule.name]) for rule in rules)


def _refuse_missing_values(table: "pandas.DataFrame", rules: tuple[Rule, ...]) -> None:
    for rule in rules:
        for column in {rule.expectation.column, rule.expectation.where} & set(table.columns):
            if table[column].isna().any():
                raise DamagedState(
                    f"The column {column!r} has missing values, so the rule {rule.name!r} has no meaning."
                )


def _batch_of(table: "pandas.DataFrame") -> Any:
    # It reads the setting when it is imported, and the import takes eight seconds: not before there is work.
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations as gx

    # It sets this logger to INFO by itself, and says where each of its temporary folders is.
    logging.getLogger("great_expectations.data_context.types.base").setLevel(logging.WARNING)
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False, "metric_calculations": False}  # type: ignore[assignment]
    asset = context.data_sources.add_pandas("memory").add_dataframe_asset("batch")
    return asset.add_batch_definition_whole_dataframe("all").get_batch(batch_parameters={"dataframe": table})


def _validate(batch: Any, rules: Iterable[Rule], told: Literal["BOOLEAN_ONLY", "COMPLETE"]) -> dict[str, Any]:
    """Rule to what Great Expectations found: whether it is kept, or which rows break it as well."""
    import great_expectations as gx

    suite = gx.ExpectationSuite("gate", expectations=[_translate(rule) for rule in rules])
    if not suite.expectations:
        return {}
    answer = batch.validate(suite, result_format={"result_format": told, "return_unexpected_index_query": False})
    return {result.expectation_config.meta["rule"]: result for result in answer.results}


def _translate(rule: Rule) -> Any:
    from great_expectations.expectations.row_conditions import Column

    from adapters import kept_expectations

    expected = rule.expectation
    shared: dict[str, Any] = {"column": expected.column, "meta": {"rule": rule.name}}
    if expected.where is not None:
        shared["row_condition"] = Column(expected.where) == True  # noqa: E712  (builds a condition)
    match expected:
        case OneOf():
            return kept_expectations.ExpectColumnToHoldOneOf(value_set=list(expected.values), **shared)
        case NoneOf():
            return kept_expectations.ExpectColumnToHoldNoneOf(value_set=list(expected.values), **shared)
        case Between():
            return kept_expectations.ExpectColumnToLieBetween(
                min_value=expected.least, max_value=expected.most, **shared
            )


def _rule_result(rule: Rule, result: Any) -> RuleResult:
    for message in _exceptions(result.exception_info):
        raise DamagedState(f"The rule {rule.name!r} could not be checked: {message}. The table is not as it should be.")
    rows = tuple(sorted(int(row) for row in result.result.get("unexpected_index_list") or ()))
    return RuleResult(rule=rule.name, passed=bool(result.success), rows=rows)


def _exceptions(info: dict[str, Any]) -> list[str]:
    """The messages of what was raised. The dictionary is flat, or has one inner dictionary a metric that failed."""
    parts = [info] if "raised_exception" in info else list(info.values())
    return [str(part["exception_message"]) for part in parts if part["raised_exception"]]
