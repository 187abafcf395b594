"""What lies below a folder is opened from its handle downwards: no link leads out of it, whenever it is put there."""

import os
import stat

import pytest

from dataset.deliveries.delivery import read_delivery
from dataset.deliveries.handles import LinkOnTheWay, NotAFile, Tree
from dataset.deliveries.reading import Reader


@pytest.fixture
def place(tmp_path):
    """A delivery with `cat/1.png`, and beside it a folder `outside` with a file of the same name."""
    for folder, content in (("delivery/cat", b"inside"), ("outside", b"outside")):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "1.png").write_bytes(content)
    return tmp_path


def read(handle: int) -> bytes:
    with os.fdopen(handle, "rb") as file:
        return file.read()


def test_a_file_is_opened_by_its_name(place):
    with Tree.at(place / "delivery") as tree:
        assert read(tree.open("cat/1.png")) == read(tree.open("./cat//1.png")) == b"inside"
        assert [entry.name for entry in tree.entries()] == ["cat"]
        assert [(entry.name, entry.is_file) for entry in tree.entries("cat")] == [("1.png", True)]
        assert (tree.holds("cat"), tree.holds("dog"), tree.holds("dog/1.png")) == (True, False, False)


@pytest.mark.parametrize("name", ["../outside/1.png", "cat/../../outside/1.png", "..", "/etc/hostname", "cat/.."])
def test_no_name_leads_out(place, name):
    with Tree.at(place / "delivery") as tree:
        for look in (tree.open, tree.status, tree.entries):
            with pytest.raises(LinkOnTheWay):
                look(name)


def test_no_link_is_followed_anywhere_on_the_way(place):
    (place / "delivery" / "dog").symlink_to(place / "outside")
    (place / "delivery" / "cat" / "deep").symlink_to(place / "outside")
    (place / "delivery" / "cat" / "link.png").symlink_to(place / "outside" / "1.png")
    with Tree.at(place / "delivery") as tree:
        for name in ("dog/1.png", "cat/deep/1.png"):
            with pytest.raises(LinkOnTheWay):
                tree.open(name)
        for name in ("dog", "cat/deep", "cat/link.png"):
            assert stat.S_ISLNK(tree.status(name).st_mode)
            with pytest.raises(OSError, match=r"symbolic link|Not a directory"):
                tree.open(name)
        with pytest.raises(LinkOnTheWay):
            tree.entries("dog")
        os.mkfifo(place / "delivery" / "pipe")
        with pytest.raises(NotAFile):
            tree.open("pipe")
    with pytest.raises(OSError, match="Not a directory"):
        Tree.at(place / "delivery" / "dog")


def test_a_folder_that_becomes_a_link_leads_nobody_out(place):
    delivery = read_delivery(place / "delivery")
    (place / "delivery" / "cat").rename(place / "aside")
    (place / "delivery" / "cat").symlink_to(place / "outside")
    with Reader(delivery.folder, 1000) as reader, pytest.raises(Exception, match="symbolic link"):
        reader.read(delivery.items[0])


def test_another_folder_in_the_place_of_a_delivery_is_not_read(place):
    delivery = read_delivery(place / "delivery")
    (place / "delivery").rename(place / "aside")
    (place / "delivery" / "cat").mkdir(parents=True)
    (place / "delivery" / "cat" / "1.png").write_bytes(b"another")
    with Reader(delivery.folder, 1000) as reader, pytest.raises(Exception, match="no such file"):
        reader.read(delivery.items[0])
