"""What every record has in common: frozen, typed, unknown keys refused, written as JSON and read back equal."""

import hashlib
import json
import os
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError

from records.errors import DamagedState


class Record(BaseModel):
    """A value that crosses a step's border. Two records with equal fields are equal and have equal fingerprints."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)

    def fingerprint(self) -> str:
        """SHA-256 (64 hex digits) of the record's canonical JSON: sorted keys, no spaces."""
        canonical = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    def write(self, path: Path) -> None:
        """Write as JSON in one motion: a reader sees the old file or the new one, never half of one."""
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f".{path.name}.{os.getpid()}")
        unfinished.write_text(self.as_text(), encoding="utf-8")
        os.replace(unfinished, path)

    def as_text(self) -> str:
        """The JSON that `write` writes."""
        return self.model_dump_json(indent=2) + "\n"

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what `write` wrote. Raises `DamagedState` if the file is missing or is not such a record."""
        try:
            return cls.model_validate_json(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise DamagedState(f"{path} is missing.") from None
        except (ValidationError, UnicodeDecodeError) as error:
            raise DamagedState(f"{path} is not a readable {cls.__name__} record: {first_problem(error)}") from error


def first_problem(error: ValidationError | ValueError) -> str:
    """The first complaint of a validation error, as 'where: what' on one line."""
    if not isinstance(error, ValidationError):
        return str(error)
    problem = error.errors()[0]
    where = ".".join(str(part) for part in problem["loc"])
    # Pydantic's own prefix for what a check of ours says.
    what = str(problem["msg"]).removeprefix("Value error, ")
    return f"{where}: {what}" if where else what
