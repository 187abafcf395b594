"""Files with odd names, links, and things that are no files."""

import os
import stat
import unicodedata
from collections.abc import Callable
from pathlib import Path

from tests.corpus.cases import File, written
from tests.corpus.files import (
    whole,
)


def _folder_of(encoded: bytes) -> Callable[[Path], object]:
    def make(path: Path) -> None:
        path.mkdir()
        (path / "inside.png").write_bytes(encoded)

    return make


def _bytes_name(name: bytes, encoded: bytes) -> Callable[[Path], object]:
    return lambda path: Path(os.fsdecode(os.fsencode(path.parent) + b"/" + name)).write_bytes(encoded)


def _unreadable(path: Path) -> None:
    if os.geteuid() == 0:
        raise PermissionError("root may read everything")
    path.write_bytes(whole("PNG", "secret"))
    path.chmod(0)


def _named(name: str, called: str, sentence: str = "", verdict: str = "", unseen: bool = False) -> File:
    return File(name, written(whole("PNG", name)), verdict, sentence, called, unseen)


def _linked(name: str, target: str) -> File:
    return File(name, lambda path: path.symlink_to(target), "path-outside", "a symbolic link")


NFD = unicodedata.normalize("NFD", "ä.png")
DEVICE = os.makedev(1, 3)

NAMES = (
    _named("control characters", "bell\x07 escape\x1b[31m.png"),
    _named("newline", "two\nlines.png"),
    _named("carriage return", "over\rwritten.png"),
    _named("letters from right to left", "gnp.\u202egpj.png"),
    _named("no width", "zero\u200bwidth\ufeff.png"),
    File("bytes that are no UTF-8", _bytes_name(b"\xff\xfe.png", whole("PNG", "bytes")), called="\\udcff\\udcfe.png"),
    _named("255 bytes", "n" * 251 + ".png"),
    _named("255 bytes of two each", "ä" * 125 + "n.png"),
    _named("leading dash", "-rf.png"),
    _named("spaces", "  spaces  .png  "),
    _named("a device of Windows", "con.png"),
    _named("capitals", "IMAGE.PNG"),
    _named("the same in small letters", "image.png"),
    _named("composed letters", "ä.png"),
    _named("decomposed letters", NFD),
    _named("markup", "<script>alert(1)<", ""),
    _named("markup in quotes", "\"'><img src=x onerror=alert(1)>.png"),
    _named("SQL", "'; DROP TABLE images; --.png"),
    _named("shell", "$(touch x) `touch y`; touch z.png"),
    _named("formula", "=cmd|' C'!A0.png"),
    _named("backslashes", "evil\\..\\evil.png"),
    _named("percent", "%2e%2e%2fevil.png"),
    _named("emoji", "\U0001f431.png"),
    _named("only dots", "...", unseen=True),
    _named("hidden", ".hidden.png", unseen=True),
    _named("left by Windows", "Thumbs.db", unseen=True),
    File("a folder called like an image", _folder_of(whole("PNG", "inside")), called="folder.png/inside.png"),
    _linked("link to a file", "control.png"),
    _linked("link to its folder", "."),
    _linked("link to a file outside", "../../secret.png"),
    _linked("link to a system file", "/etc/passwd"),
    _linked("link to a folder outside", "../.."),
    _linked("link to nothing", "nothing"),
    _linked("link to itself", "link to itself.png"),
    File(
        "hard link",
        lambda path: os.link(path.parent / "control.png", path),
        "duplicate",
        "the same pixels as cat/control.png",
        called="hard.png",
    ),
    File("pipe", lambda path: os.mkfifo(path), "path-outside", "no ordinary file"),
    File("socket", lambda path: os.mknod(path, stat.S_IFSOCK | 0o600), "path-outside", "no ordinary file"),
    File("device", lambda path: os.mknod(path, stat.S_IFCHR | 0o600, DEVICE), "path-outside", "no ordinary file"),
    File("a file that nobody may read", _unreadable, "file-unreadable", "Permission denied"),
)
