from pathlib import Path

import pytest
from pydantic import ValidationError

from records.errors import DamagedState
from records.registration import RunFile
from records.snapshot import FRESH, Snapshot


def test_a_record_is_read_back_equal_and_has_the_same_fingerprint(tmp_path: Path) -> None:
    run = RunFile(parent=3, batches=("a", "b"), overrides={"update.budget.epochs": 2})
    run.write(tmp_path / "deep" / "run.json")
    again = RunFile.read(tmp_path / "deep" / "run.json")
    assert again == run
    assert again.fingerprint() == run.fingerprint() != RunFile().fingerprint()


def test_writing_leaves_no_second_file(tmp_path: Path) -> None:
    RunFile().write(tmp_path / "run.json")
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_unknown_fields_and_changes_are_refused() -> None:
    with pytest.raises(ValidationError, match="extra"):
        Snapshot.model_validate({"identity": "x", "parent": 0, "colour": "red"})
    with pytest.raises(ValidationError, match="frozen"):
        FRESH.parent = 2


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "is missing"),
        ("{", "is not a readable RunFile record"),
        ('{"parent": "x"}', "parent: Input should be a valid integer"),
    ],
)
def test_a_damaged_file_is_told_in_a_sentence(tmp_path: Path, content: str | None, sentence: str) -> None:
    path = tmp_path / "run.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(DamagedState, match=sentence):
        RunFile.read(path)
