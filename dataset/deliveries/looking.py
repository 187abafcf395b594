"""Looking at what lies where a file of a delivery says that an image is. Such a path is a stranger's."""

import os
import stat
from pathlib import PurePosixPath

from dataset.deliveries.handles import Tree
from dataset.deliveries.items import unopened


def look(tree: Tree, text: str, of: str) -> tuple[os.stat_result | None, str, str]:
    """Status of what lies at a path, and why it must not be read: a word and a clause, both empty if it may be.

    `of`: whose folder it must not leave, such as manifest.
    """
    path = PurePosixPath(text)
    if path.is_absolute() or ".." in path.parts:
        return None, "outside", f"the path leads out of the {of}'s folder"
    if not text or "\0" in text:
        return None, "missing", "the row names no file"
    try:
        status = tree.status(text)
    except UnicodeEncodeError:
        return None, "missing", "no file has such a name"
    except OSError as error:
        bad = unopened(error)
        return None, bad.problem, bad.detail
    if stat.S_ISLNK(status.st_mode):
        return None, "link", "a symbolic link; links are not followed"
    if not stat.S_ISREG(status.st_mode):
        return None, "not-a-file", "no ordinary file"
    return status, "", ""
