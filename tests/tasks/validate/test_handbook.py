from pathlib import Path

import tasks.validate.handbook
from tasks.validate.catalogue import CHECKS, allowed_for, problem_with
from tasks.validate.handbook import TOPICS, configured_checks, handbook
from tasks.validate.settings import ValidateParams

PAGE = Path(tasks.validate.handbook.__file__).parents[2] / "docs" / "checks.md"


def test_the_page_is_what_the_code_says():
    assert PAGE.read_text(encoding="utf-8") == handbook(), "make reference"


def test_every_check_is_on_it_once_with_a_meaning_and_a_remedy():
    assert [line.removeprefix("### ") for line in handbook().splitlines() if line.startswith("### ")] == [
        check.name for topic in TOPICS for check in CHECKS if check.topic == topic
    ]
    assert len({check.name for check in CHECKS}) == len(CHECKS)
    for asked in configured_checks(ValidateParams()):
        assert asked.meaning.endswith(".")
        assert asked.remedy.endswith(".")
        assert "{" not in asked.meaning


def test_every_limit_is_a_parameter_and_every_parameter_decides_something():
    names = set(ValidateParams.model_fields) - {"severity"}
    limits = {limit for check in CHECKS for limit in check.limits}
    assert {limit for limit in limits if "." not in limit} | {"drift_batches"} == names


def test_what_may_follow_from_a_check():
    for check in CHECKS:
        for severity in ("refuse batch", "refuse image", "drop", "warn", "off"):
            problem = problem_with({check.name: severity})
            assert (problem == "") == (severity in allowed_for(check))
    assert "warn" not in allowed_for(next(check for check in CHECKS if check.name == "file-truncated"))
    assert problem_with({"blury": "warn"}).startswith("`blury` is no check; ")
