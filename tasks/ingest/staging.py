"""Where a batch is built, and how it gets into its place: in one motion, when it is whole."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from records.errors import Busy, DamagedState, Unavailable

PATIENCE = 3600.0
"""Seconds to wait while another process ingests into the same workspace."""


@contextmanager
def staged(staging: Path) -> Iterator[Path]:
    """An empty folder that nobody else uses and that is gone afterwards; also what a killed process left is removed."""
    folder = staging / "batch"
    try:
        staging.mkdir(parents=True, exist_ok=True)
        with FileLock(staging / "lock", timeout=PATIENCE):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)
    except Timeout:
        raise Busy(f"Another process is ingesting into {staging.parent}; try again when it has ended.") from None
    except OSError as error:
        raise _unwritable(staging, error) from error


def _unwritable(staging: Path, error: OSError) -> Unavailable:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Unavailable(
            f"The disk that holds {staging} is full. Free about twice the size of the delivery and try again."
        )
    return Unavailable(f"The batch could not be written below {staging.parent}: {error.strerror or error}.")


def put_into_place(folder: Path, target: Path) -> None:
    """Put a finished batch into its place in one motion, written through to the disk."""
    target.parent.mkdir(parents=True, exist_ok=True)
    for path in (*folder.iterdir(), folder):
        _sync(path)
    try:
        folder.replace(target)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            raise DamagedState(
                f"{target} exists but is no such batch. Look at what it holds and move it away."
            ) from None
        raise
    try:
        _sync(target.parent)
    except OSError:
        # Out again, or the message would not be true.
        target.replace(folder)
        raise


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
