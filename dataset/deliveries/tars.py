"""Tar files as data: where in the file each member's bytes lie. Nothing is ever unpacked, no name is used as a path.

A member is a header of 512 bytes and then its bytes, padded to 512 (ustar, POSIX.1-1988). What does not fit into a
header stands in members ahead of it: pax records (POSIX.1-2001, "pax Interchange Format") or GNU's long names ("Basic
Tar Format" in the manual of GNU tar). Python's `tarfile` reads such extras whole, however large they claim to be, and
calls itself for each; here their size is limited and a million of them are a loop.
"""

import os
from collections.abc import Iterator
from typing import NamedTuple

from records.errors import UnreadableBatch

BLOCK = 512
MOST_EXTRA = 2**20
"""Bytes of what may stand ahead of a member: pax records, a long name."""
LONGEST_NAME = 4096
PIECE = 2**20
"""Bytes behind the end marker that are read at a time. Tar pads with zeros; anything else would be lost in silence."""

COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\0": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"PK\x03\x04": "zip",
}
LINKS, DEVICES, FOLDER, FILES = "12", "346", "5", "0\x007"
LONG_NAME, LONG_LINK, PAX, PAX_FOR_ALL = "L", "K", "x", "g"
PART_OF_A_FILE = {"S": "sparse", "M": "continued from another volume"}


class Member(NamedTuple):
    """A member that is no folder."""

    name: str
    """As it stands in the tar, without `./`; bytes that are no UTF-8 are surrogates, as in names of files."""
    offset: int
    bytes: int
    problem: str = ""
    """Why it must not be read: outside, link, not-a-file. Empty if it may be."""
    detail: str = ""


class _Header(NamedTuple):
    name: bytes
    kind: str
    bytes: int


def members(tar: int, shown: str) -> Iterator[Member]:
    """The members of an open tar (a file descriptor), in its order. Only headers are read.

    Raises `UnreadableBatch` if it is none, is compressed, ends early, or holds what cannot be understood. `shown` names
    it then.
    """
    size = os.fstat(tar).st_size
    _refuse_compressed(os.pread(tar, 8, 0), shown)
    place = 0
    extra: dict[str, bytes] = {}
    while (block := _block(tar, place, shown)) != bytes(BLOCK):
        header = _header(block, place, shown)
        extends = header.kind in (LONG_NAME, LONG_LINK, PAX, PAX_FOR_ALL)
        length = header.bytes if extends else _length(header, extra, place, shown)
        start, stop = place + BLOCK, place + BLOCK + length
        if stop > size:
            raise _ends_early(shown, f"the member at byte {place} claims {length} bytes")
        if extends:
            extra |= _extra(header, tar, start, place, shown)
        else:
            if (member := _member(header, extra, start, length, place, shown)) is not None:
                yield member
            extra = {}
        place = -(-stop // BLOCK) * BLOCK
    if extra:
        raise _damaged(shown, place, "a long name or pax records belong to no member")
    while rest := os.pread(tar, PIECE, place):
        _refuse_more(rest, shown)
        place += len(rest)


def stretch(file: int, offset: int, count: int) -> bytes:
    """Bytes of an open file; fewer only if it ends."""
    parts: list[bytes] = []
    while count and (part := os.pread(file, count, offset)):
        parts.append(part)
        offset, count = offset + len(part), count - len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _block(tar: int, place: int, shown: str) -> bytes:
    block = stretch(tar, place, BLOCK)
    if place == 0 and len(block) < BLOCK:
        raise UnreadableBatch(f"{shown} is no tar file: it has {len(block)} bytes, and the smallest tar has 1024.")
    if len(block) < BLOCK:
        raise _ends_early(shown, "its end marker is missing")
    return block


def _header(block: bytes, place: int, shown: str) -> _Header:
    checksum = _number(block[148:156], place, shown) if place else _number_or_none(block[148:156])
    if sum(block) - sum(block[148:156]) + 8 * ord(" ") != checksum:
        if place == 0:
            raise UnreadableBatch(f"{shown} is no tar file: its first 512 bytes are no header of a member.")
        raise _damaged(shown, place, "the checksum does not fit")
    name, prefix = _until_nul(block[:100]), _until_nul(block[345:500])
    if prefix and block[257:262] == b"ustar" and block[262:264] != b" \0":  # GNU keeps times where ustar has a prefix.
        name = prefix + b"/" + name
    return _Header(name, chr(block[156]), _number(block[124:136], place, shown))


def _length(header: _Header, extra: dict[str, bytes], place: int, shown: str) -> int:
    """How many bytes stand behind a member's header. Links, folders and devices have none, whatever they claim."""
    if header.kind in PART_OF_A_FILE or any(key.startswith("GNU.sparse") for key in extra):
        kind = PART_OF_A_FILE.get(header.kind, "sparse")
        raise UnreadableBatch(f"{shown} has a member at byte {place} that is {kind}. Pack the tar without that option.")
    if header.kind in LINKS + DEVICES + FOLDER:
        return 0
    if "size" not in extra:
        return header.bytes
    digits = extra["size"]
    if not digits.isdigit() or len(digits) > 18:
        raise _damaged(shown, place, "its pax size is no number")
    return int(digits)


def _extra(header: _Header, tar: int, start: int, place: int, shown: str) -> dict[str, bytes]:
    if header.bytes > MOST_EXTRA:
        raise _damaged(shown, place, f"{header.bytes} bytes of names and attributes, more than {MOST_EXTRA}")
    content = stretch(tar, start, header.bytes)
    if header.kind in (LONG_NAME, LONG_LINK):
        return {"path": _until_nul(content)} if header.kind == LONG_NAME else {}
    records = _pax(content, place, shown)
    if header.kind == PAX:
        return records
    if "path" in records or "size" in records:
        raise _damaged(shown, place, "pax records for all members set a name or size")
    return {}


def _pax(content: bytes, place: int, shown: str) -> dict[str, bytes]:
    """`length key=value`, one a line; the length counts all of the line."""
    records: dict[str, bytes] = {}
    at = 0
    while at < len(content):
        digits, _, _ = content[at : at + 12].partition(b" ")
        length = int(digits) if digits.isdigit() else 0
        record = content[at + len(digits) + 1 : at + length]
        key, equals, value = record.partition(b"=")
        if not equals or not record.endswith(b"\n") or at + length > len(content):
            raise _damaged(shown, place, "pax records that are none")
        records[key.decode("utf-8", "replace")] = value[:-1]
        at += length
    return records


def _member(header: _Header, extra: dict[str, bytes], start: int, length: int, place: int, shown: str) -> Member | None:
    """What a header says of its member; None for a folder."""
    raw = extra.get("path", header.name)
    if len(raw) > LONGEST_NAME:
        raise _damaged(shown, place, f"a name of {len(raw)} bytes")
    name = raw.decode("utf-8", "surrogateescape")
    if header.kind == FOLDER or (header.kind in FILES and name.endswith("/") and not length):
        return None
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts or "\0" in name:
        return Member(name, start, 0, "outside", "the name leads out of the tar")
    name = "/".join(parts)
    if header.kind in LINKS:
        return Member(name, start, 0, "link", "a link; links in a tar are not followed")
    if header.kind not in FILES:
        return Member(name, start, 0, "not-a-file", "no ordinary file")
    return Member(name, start, length)


def _number(field: bytes, place: int, shown: str) -> int:
    number = _number_or_none(field)
    if number is None:
        raise _damaged(shown, place, "a number is none")
    return number


def _number_or_none(field: bytes) -> int | None:
    """Octal digits between spaces and NULs; or, with the first bit set, a binary number (GNU, for large files)."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    digits = _until_nul(field).strip(b" ")
    if digits.strip(b"01234567"):
        return None
    return int(digits or b"0", 8)


def _until_nul(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _refuse_compressed(start: bytes, shown: str) -> None:
    for magic, method in COMPRESSED.items():
        if start.startswith(magic):
            raise UnreadableBatch(
                f"{shown} is compressed ({method}). Unpack it to a plain .tar: images are compressed already, and a "
                "plain tar can be read anywhere."
            )


def _refuse_more(rest: bytes, shown: str) -> None:
    if rest.strip(b"\0"):
        raise UnreadableBatch(
            f"{shown} goes on behind its end marker, as when tars are put together with cat. Deliver them one by one, "
            "in a folder."
        )


def _ends_early(shown: str, what: str) -> UnreadableBatch:
    return UnreadableBatch(f"{shown} ends early: {what}. Copy it again from its source.")


def _damaged(shown: str, place: int, what: str) -> UnreadableBatch:
    return UnreadableBatch(
        f"{shown} cannot be understood at byte {place}: {what}. Copy it again, or pack it with plain tar."
    )
