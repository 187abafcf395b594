"""When a delivery may be taken, by a clock that only a test moves."""

import os

import pytest

from tasks.ingest.readiness import LEAST_PAUSE, Clock, mark, settle, unready

SETTLE = 10.0


class Hours:
    """A clock that stands still until somebody waits; what happens meanwhile happens then."""

    def __init__(self, start, meanwhile=lambda waited: None):
        self.time, self.waited, self.meanwhile = start, [], meanwhile

    def now(self):
        return self.time

    def sleep(self, seconds):
        self.time += seconds
        self.waited.append(round(seconds, 3))
        self.meanwhile(len(self.waited))


def newest(folder):
    """Seconds of the last change below a folder, as the disk has it."""
    return max(path.lstat().st_ctime for path in (folder, *folder.rglob("*")))


@pytest.fixture
def monday(tmp_path):
    folder = tmp_path / "monday"
    (folder / "cat").mkdir(parents=True)
    (folder / "cat" / "1.png").touch()
    return folder


def test_a_delivery_is_ready_once_nothing_has_changed_for_a_while(monday):
    changed = newest(monday)
    assert unready(monday, SETTLE, changed + 10.001) is None
    why = unready(monday, SETTLE, changed + 3)
    assert why.seconds == pytest.approx(7)
    assert why.sentence() == (
        "changed 3 s ago; it is taken once it has been still for 10 s (an empty file _READY in it says it is whole)."
    )
    assert unready(monday, 0, changed) is None


def test_an_empty_file_says_that_it_is_whole(monday, tmp_path):
    changed = newest(monday)
    mark(monday)
    assert (monday / "_READY").read_bytes() == b""
    assert unready(monday, SETTLE, changed) is None
    tar = tmp_path / "monday.tar"
    tar.touch()
    assert "(an empty file monday.tar._READY beside it says" in unready(tar, SETTLE, tar.stat().st_ctime).sentence()
    mark(tar)
    assert (tmp_path / "monday.tar._READY").exists()
    assert unready(tar, SETTLE, tar.stat().st_ctime) is None


@pytest.mark.parametrize("name", ["cat/2.png", "cat/.2.png", ".new", "dog/deep/er/1.png"])
def test_every_file_and_folder_counts_hidden_ones_too(monday, name):
    before = newest(monday) + 1000
    (monday / name).parent.mkdir(parents=True, exist_ok=True)
    (monday / name).touch()
    os.utime(monday / name, (before, before))
    assert unready(monday, SETTLE, before + 3).seen == "changed 3 s ago"


def test_a_time_of_content_that_lies_ahead_was_set_by_hand(monday):
    os.utime(monday / "cat" / "1.png", (4e9, 4e9))
    assert unready(monday, SETTLE, newest(monday) + 11) is None


def test_a_clock_that_was_set_back_keeps_nothing_waiting_for_ever(monday):
    clock, messages = Hours(newest(monday) - 500), []
    assert unready(monday, SETTLE, clock.time).sentence() == (
        "changed at a time that lies ahead of this machine's clock; it is taken once a night has seen it still for "
        "10 s (an empty file _READY in it says it is whole)."
    )
    assert settle([monday], SETTLE, Clock(clock.now, clock.sleep), messages.append) == ((monday,), {})
    assert clock.waited == [10]
    assert messages[0].startswith(
        "monday changed at a time that lies ahead of this machine's clock; waiting until a night"
    )


def test_a_disk_whose_clock_is_ahead_is_waited_for_while_it_changes(monday):
    clock = Hours(newest(monday) - 500, lambda waited: (monday / f"{waited}.png").touch())
    ready, left = settle([monday], SETTLE, Clock(clock.now, clock.sleep), lambda words: None)
    assert (ready, list(left), len(clock.waited)) == ((), [monday], 3)


def test_what_changes_after_the_clock_was_set_back_counts(monday):
    start = newest(monday) - 500
    watched = {}
    assert unready(monday, SETTLE, start, watched).seconds == 10
    assert unready(monday, SETTLE, start + 10, watched) is None
    ahead, _ = watched[monday]
    os.utime(monday / "cat" / "1.png", (start + 8, start + 8))
    watched[monday] = ahead._replace(newest=newest(monday)), start
    assert unready(monday, SETTLE, start + 10, watched).seconds == pytest.approx(8)


@pytest.mark.parametrize(
    "name", ["1.png.part", "1.PART", "a.tmp", "b.partial", "c.crdownload", "d.filepart", ".1.png.Ab3dE9"]
)
def test_names_of_what_is_being_copied_are_waited_for_however_still(monday, name):
    (monday / "cat" / name).touch()
    why = unready(monday, SETTLE, newest(monday) + 9999)
    assert why.seen == f"holds '{name}', as while it is copied"
    assert "it is taken once that is gone" in why.sentence()
    mark(monday)
    assert unready(monday, SETTLE, newest(monday)) is None


@pytest.mark.parametrize("name", [".DS_Store", "._1.png.abcdef", "part", "1.png", ".thumbs.db"])
def test_other_names_are_not(monday, name):
    (monday / "cat" / name).touch()
    assert unready(monday, SETTLE, newest(monday) + 10.001) is None


def test_no_link_is_followed(monday, tmp_path):
    (tmp_path / "link").symlink_to(monday)
    (monday / "cat" / "1.png.part").touch()
    assert unready(tmp_path / "link", SETTLE, newest(tmp_path) + 11) is None


def test_a_file_may_be_named_as_what_is_copied(tmp_path):
    (tmp_path / "monday.tar.part").touch()
    assert unready(tmp_path / "monday.tar.part", SETTLE, 4e9).seen.startswith("holds 'monday.tar.part'")


def test_a_delivery_that_settles_is_waited_for(monday):
    clock, messages = Hours(newest(monday) + 3), []
    assert settle([monday], SETTLE, Clock(clock.now, clock.sleep), messages.append) == ((monday,), {})
    assert sum(clock.waited) == pytest.approx(7, abs=2 * LEAST_PAUSE)
    assert messages[0] == (
        "monday changed 3 s ago; waiting until it has been still for 10 s (an empty file _READY in it says it is whole)"
    )


def test_a_delivery_that_goes_on_changing_is_left(monday, tmp_path):
    tuesday = tmp_path / "a-tuesday"
    tuesday.mkdir()
    mark(tuesday)

    def change(waited):
        os.utime(monday / "cat" / "1.png", (clock.time - 1, clock.time - 1))

    clock = Hours(newest(monday) + 3, change)
    ready, left = settle([tuesday, monday], SETTLE, Clock(clock.now, clock.sleep), lambda words: None)
    assert ready == (tuesday,)
    assert left[monday].seen == "changed 1 s ago"
    assert sum(clock.waited) <= 3 * SETTLE


def test_what_is_marked_meanwhile_is_taken_and_what_is_gone_does_not_stop_the_night(monday, tmp_path):
    (monday / "cat" / "2.png.part").touch()
    clock = Hours(newest(monday), lambda waited: mark(monday) if waited == 2 else None)
    assert settle([monday], SETTLE, Clock(clock.now, clock.sleep), lambda words: None) == ((monday,), {})
    assert clock.waited == [10, 10]
    gone = tmp_path / "gone"
    assert settle([gone], SETTLE, Clock(clock.now, clock.sleep), lambda words: None) == ((gone,), {})
    assert clock.waited == [10, 10]


def test_nothing_is_waited_for_where_nothing_is_to_come(monday):
    clock = Hours(0)
    assert settle([], SETTLE, Clock(clock.now, clock.sleep), lambda words: None) == ((), {})
    assert settle([monday], 0, Clock(clock.now, clock.sleep), lambda words: None) == ((monday,), {})
    assert clock.waited == []
