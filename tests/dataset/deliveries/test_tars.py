"""Members of a tar as retain finds them, beside Python's own reader; and tars that were made to do harm."""

import contextlib
import io
import os
import tarfile
import time

import pytest

from dataset.deliveries.tars import MOST_EXTRA, members, stretch
from records.errors import UnreadableBatch


def tar_of(*entries, **options):
    """A tar of (TarInfo or name, content) pairs."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", **options) as tar:
        for entry, content in entries:
            info = entry if isinstance(entry, tarfile.TarInfo) else tarfile.TarInfo(entry)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return file.getvalue()


def special(name, kind, linkname=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, linkname
    return info


@pytest.fixture
def read(tmp_path):
    """Members of a tar's bytes, each with its content."""

    def read(content):
        path = tmp_path / "shard.tar"
        path.write_bytes(content)
        handle = os.open(path, os.O_RDONLY)
        try:
            return [(m, stretch(handle, m.offset, m.bytes)) for m in members(handle, "shard.tar")]
        finally:
            os.close(handle)

    return read


NAMES = ["a.png", "./cats//b.png", "c/" * 60 + "d.png", "e" * 300 + ".png", "Füße 画像.png", "n" * 99, "n" * 100]


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_members_are_those_of_pythons_reader(read, form):
    names = [name for name in NAMES if form != tarfile.USTAR_FORMAT or len(name) < 200]
    content = tar_of(*((name, os.urandom(size)) for size, name in enumerate(names, 511)), format=form)
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        expected = [(info.name.removeprefix("./").replace("//", "/"), info.offset_data, info.size) for info in tar]
    assert [(m.name, m.offset, m.bytes) for m, _ in read(content)] == expected
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        assert [data for _, data in read(content)] == [tar.extractfile(info).read() for info in tar]


def test_names_that_are_no_utf8_and_sizes_in_binary(read):
    content = bytearray(tar_of(("abc.png", b"12345"), format=tarfile.GNU_FORMAT))
    content[0] = 0xFF
    content[124:136] = b"\x80" + (5).to_bytes(11, "big")
    assert [(m.name, data) for m, data in read(sealed(content))] == [("\udcffbc.png", b"12345")]


def sealed(content, place=0):
    """With the checksum of the header at `place` made right."""
    content = bytearray(content)
    content[place + 148 : place + 156] = b" " * 8
    content[place + 148 : place + 156] = b"%06o\0 " % sum(content[place : place + 512])
    return bytes(content)


def test_folders_are_none_and_what_must_not_be_read_says_why(read):
    content = tar_of(
        (special("cats/", tarfile.DIRTYPE), b""),
        (special("link.png", tarfile.SYMTYPE, "/etc/passwd"), b""),
        (special("hard.png", tarfile.LNKTYPE, "link.png"), b""),
        (special("device.png", tarfile.CHRTYPE), b""),
        (special("pipe.png", tarfile.FIFOTYPE), b""),
        ("../../up.png", b"x"),
        ("/etc/passwd.png", b"x"),
        ("a/../../b.png", b"x"),
        ("good.png", b"x"),
    )
    assert [(m.name, m.problem) for m, _ in read(content)] == [
        ("link.png", "link"),
        ("hard.png", "link"),
        ("device.png", "not-a-file"),
        ("pipe.png", "not-a-file"),
        ("../../up.png", "outside"),
        ("/etc/passwd.png", "outside"),
        ("a/../../b.png", "outside"),
        ("good.png", ""),
    ]
    assert not any(data for m, data in read(content) if m.problem)


def pax(**records):
    info = tarfile.TarInfo("a.png")
    info.pax_headers = records
    return tar_of((info, b"12345"), format=tarfile.PAX_FORMAT)


def claiming(size, kind=b"0"):
    """A tar whose first header claims a size, of a kind."""
    content = bytearray(tar_of(("a.png", b"12345"), ("b.png", b"1")))
    content[124:136] = b"%011o\0" % size
    content[156:157] = kind
    return sealed(content)


GOOD = tar_of(("a.png", b"12345"), ("b.png", b"x" * 2000))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is no tar file: it has 0 bytes"),
        (b"hello", "is no tar file: it has 5 bytes"),
        (b"hello" * 1000, "is no tar file: its first 512 bytes are no header"),
        (b"\x1f\x8b\x08" + b"\0" * 600, r"is compressed \(gzip\). Unpack it to a plain .tar"),
        (b"BZh9" + b"\0" * 600, "is compressed"),
        (b"\xfd7zXZ\0" + b"\0" * 600, "is compressed"),
        (b"\x28\xb5\x2f\xfd" + b"\0" * 600, "is compressed"),
        (GOOD[:700], "ends early"),
        (GOOD[:1800], r"ends early: the member at byte 1024 claims 2000 bytes"),
        (GOOD[:3584], r"ends early: its end marker is missing. Copy it again"),
        (GOOD + GOOD, "goes on behind its end marker"),
        (GOOD + bytes(2**21) + GOOD, "goes on behind its end marker"),
        (GOOD[:1024] + b"x" + GOOD[1025:], "cannot be understood at byte 1024: the checksum does not fit"),
        (claiming(8**11 - 1), "claims 8589934591 bytes"),
        (claiming(0o7777777), "claims 2097151 bytes"),
        (claiming(4, b"S"), "that is sparse"),
        (claiming(4, b"M"), "continued from another volume"),
        (claiming(5, b"x"), "pax records that are none"),
        (claiming(8**10, b"x"), "claims 1073741824 bytes"),
        (sealed(GOOD[:124] + b"12345678\0xx\0" + GOOD[136:]), "a number is none"),
        (sealed(GOOD[:124] + b"\xff" * 12 + GOOD[136:]), "a number is none"),
        (sealed(GOOD[:124] + b"\x80" + b"\xff" * 11 + GOOD[136:]), "ends early"),
        (pax(size="many"), "its pax size is no number"),
        (pax(size="9" * 30), "its pax size is no number"),
        (pax(size="99999999999"), "claims 99999999999 bytes"),
        (pax(path="x" * 5000), "a name of 5000 bytes"),
        (pax(comment="x" * (MOST_EXTRA + 1)), r"10485\d\d bytes of names and attributes, more than 1048576"),
        (pax(**{"GNU.sparse.major": "1"}), "that is sparse"),
        (tar_of(format=tarfile.PAX_FORMAT, pax_headers={"path": "x"}), "pax records for all members set a name"),
        (claiming(5, b"L")[:1024] + bytes(1024), "belong to no member"),
    ],
)
def test_a_tar_that_cannot_be_trusted_is_one_sentence(read, content, sentence):
    with pytest.raises(UnreadableBatch, match=sentence) as error:
        read(content)
    assert str(error.value).startswith("shard.tar ")
    assert "\n" not in str(error.value)


def test_twenty_thousand_long_names_in_a_row_are_a_loop(read):
    long = tar_of(("n" * 101, b""), format=tarfile.GNU_FORMAT)[:1024]
    assert [m.name for m, _ in read(long * 20_000 + tar_of(("a.png", b"1")))] == ["n" * 101]


def test_damaged_anywhere_it_is_members_or_a_sentence(read):
    content = tar_of(("n" * 101 + ".png", b"12345"), ("Füße.png", b"1"), format=tarfile.PAX_FORMAT)
    for place in range(0, 4096, 7):
        broken = bytearray(content)
        broken[place] ^= 0xFF
        with contextlib.suppress(UnreadableBatch):
            read(bytes(broken))


def test_what_is_named_as_a_folder_and_has_bytes_is_a_member(read):
    """Or its bytes would go with the tar, and nobody would know."""
    assert [(m.name, data) for m, data in read(tar_of(("cats/", b""), ("dogs/", b"bytes")))] == [("dogs", b"bytes")]


def test_very_many_pax_records_take_no_time(read):
    info = tarfile.TarInfo("x")
    records = b"5 a=\n" * (MOST_EXTRA // 5)
    info.type, info.size = tarfile.XHDTYPE, len(records)
    content = info.tobuf(tarfile.USTAR_FORMAT) + records + bytes(-len(records) % 512) + tar_of(("a.png", b"1"))
    start = time.process_time()
    assert [m.name for m, _ in read(content)] == ["a.png"]
    assert time.process_time() - start < 2
