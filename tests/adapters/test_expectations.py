import pandas as pd
import pytest

from adapters.expectations import Between, Expectation, NoneOf, OneOf, Rule, run
from records.errors import DamagedState

TABLE = pd.DataFrame(
    {
        "format": ["PNG", "GIF", "PNG", "BMP"],
        "side": [4, 8, 16, 32],
        "good": [True, True, True, False],
        "gap": ["a", None, "b", "c"],
    }
)

CASES: list[tuple[Expectation, bool, tuple[int, ...]]] = [
    (OneOf(column="format", values=("PNG", "GIF", "BMP")), True, ()),
    (OneOf(column="format", values=("PNG",)), False, (1, 3)),
    (OneOf(column="format", values=("PNG",), where="good"), False, (1,)),
    (OneOf(column="format", values=()), False, (0, 1, 2, 3)),
    (NoneOf(column="format", values=("TIFF",)), True, ()),
    (NoneOf(column="format", values=("BMP", "GIF")), False, (1, 3)),
    (NoneOf(column="format", values=("BMP", "GIF"), where="good"), False, (1,)),
    (Between(column="side", least=4, most=32), True, ()),
    (Between(column="side", least=5), False, (0,)),
    (Between(column="side", most=15), False, (2, 3)),
    (Between(column="side", most=15, where="good"), False, (2,)),
]


def test_each_expectation_gives_its_rows_in_one_suite():
    findings = run(TABLE, [Rule(name=f"rule {i}", expectation=case[0]) for i, case in enumerate(CASES)])
    assert [f.rule for f in findings] == [f"rule {i}" for i in range(len(CASES))]
    for (expectation, *expected), finding in zip(CASES, findings, strict=True):
        assert [finding.passed, finding.rows] == expected, expectation


def test_rows_are_those_of_the_index():
    rules = [Rule(name="side", expectation=Between(column="side", most=15))]
    assert run(TABLE.iloc[2:], rules)[0].rows == (2, 3)


@pytest.mark.parametrize(
    ("expectation", "message"),
    [
        (OneOf(column="nowhere", values=("a",)), "'broken' could not be checked.*nowhere"),
        (OneOf(column="format", values=("PNG",), where="nowhere"), "'broken' could not be checked"),
        (OneOf(column="gap", values=("a", "b", "c")), "'gap' has missing values"),
    ],
)
def test_a_broken_rule_is_no_finding(expectation, message):
    good = Rule(name="good", expectation=OneOf(column="format", values=("PNG", "GIF", "BMP")))
    with pytest.raises(DamagedState, match=message):
        run(TABLE, [good, Rule(name="broken", expectation=expectation)])


def test_progress_bars_and_warnings_stay_silent(capfd):
    run(TABLE, [Rule(name="side", expectation=Between(column="side", least=1))])
    assert capfd.readouterr() == ("", "")


def test_a_rule_is_read_back_from_its_json():
    rule = Rule(name="side", expectation=Between(column="side", least=4))
    assert Rule.model_validate_json(rule.model_dump_json()) == rule
