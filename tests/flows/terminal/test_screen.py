"""Text from outside is shown and not obeyed; a pipe and a terminal each get what they can use."""

import logging
import time

import pytest
from rich.console import Console
from rich.text import Text

from flows.terminal import screen

log = logging.getLogger("retain")


@pytest.fixture
def terminal(monkeypatch):
    """A terminal of some width in place of the pipes that tests write to."""

    def be(width: int) -> None:
        monkeypatch.setenv("COLUMNS", str(width))
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("TERM", "xterm")

    return be


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain – Füße 画像", "plain – Füße 画像"),
        ("two\nlines\r\t", "two\\nlines\\r\\t"),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("right\u202eleft", "right\\u202eleft"),
        (b"\xff".decode(errors="surrogateescape"), "\\udcff"),
    ],
)
def test_what_cannot_be_printed_is_shown_escaped(text, shown):
    assert screen.visible(text) == shown


def test_markup_and_control_characters_are_not_obeyed(capsys):
    screen.say("[bold]name[/bold] \x1b[2J")
    screen.print_field("label", ":smile: [red]")
    screen.fail("[link=x]y\n")
    captured = capsys.readouterr()
    assert captured.out == "[bold]name[/bold] \\x1b[2J\nlabel        :smile: [red]\n"
    assert captured.err == "[link=x]y\\n\n"


def test_on_a_pipe_a_sentence_is_one_line(capsys):
    screen.say("word " * 100)
    screen.print_field("label", "word " * 100)
    screen.fail("word " * 100)
    captured = capsys.readouterr()
    assert (captured.out.count("\n"), captured.err.count("\n")) == (2, 1)


def test_in_a_terminal_a_value_stays_in_its_column(capsys, terminal):
    terminal(40)
    screen.print_field("label", "some words that need more than one line")
    first, second = capsys.readouterr().out.splitlines()
    assert Text.from_ansi(first).plain.rstrip() == "label        some words that need more"
    assert Text.from_ansi(second).plain.rstrip() == "             than one line"


def test_listed_and_counted():
    assert screen.listed(()) == "nothing"
    assert screen.listed(("a", "b")) == "a, b"
    assert screen.listed([str(n) for n in range(25)], most=3) == "0, 1, 2 and 22 more"
    assert screen.count(1, "batch", "batches") == "1 batch"
    assert screen.count(1200, "image") == "1,200 images"


def test_paths_and_commands_are_as_they_are_typed_here(tmp_path, monkeypatch):
    (tmp_path / "my shop").mkdir()
    monkeypatch.chdir(tmp_path)
    assert screen.place(tmp_path / "my shop" / "inbox") == "my shop/inbox"
    assert screen.place(tmp_path.parent) == str(tmp_path.parent)
    assert screen.command("night", tmp_path) == "retain night"
    assert screen.command("night", tmp_path / "my shop") == "retain night -w 'my shop'"


# Progress


def test_on_a_pipe_each_step_is_a_line(capsys):
    with screen.at_work("beginning"):
        log.info("night %d of %d", 1, 7, extra={"chapter": True})
        log.info("update")
        log.info("training: 10%%", extra={"fleeting": True})
    log.info("after")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "night 1 of 7\nupdate\n")


def test_on_a_pipe_progress_is_told_if_nothing_else_was_for_a_while(capsys, monkeypatch):
    with screen.at_work("beginning"):
        log.info("update")
        now = time.monotonic()
        monkeypatch.setattr(time, "monotonic", lambda: now + screen.SELDOM)
        log.info("training: 20%%", extra={"fleeting": True})
        log.info("training: 30%%", extra={"fleeting": True})
    assert capsys.readouterr().err == "update\ntraining: 20%%\n"


def test_in_a_terminal_the_status_line_shows_chapter_and_step():
    status = Console(width=30).status("beginning")
    handler = screen.StatusLine(status)

    def shown(message: str, **extra: bool) -> str:
        record = log.makeRecord("retain", logging.INFO, "", 0, message, (), None, extra=extra)
        handler.emit(record)
        return str(status.status)

    assert shown("importing") == "importing"
    assert shown("night 1 of 7", chapter=True) == "night 1 of 7"
    assert shown("update\x1b") == "night 1 of 7: update\\x1b"
    assert shown("a step with a very long name") == "night 1 of 7: a step with a…"


def test_in_a_terminal_what_is_worth_keeping_stays_unless_there_are_chapters(capsys, terminal):
    terminal(60)
    with screen.at_work("beginning"):
        log.info("150 steps", extra={"lasting": True})
        screen.MOVING.info("training: 3%%")
        log.info("night 1 of 7", extra={"chapter": True})
        log.info("200 steps", extra={"lasting": True})
    lines = [line.strip() for line in Text.from_ansi(capsys.readouterr().err).plain.splitlines()]
    assert "150 steps" in lines
    assert "200 steps" not in lines


def test_what_moves_every_second_is_for_a_terminal_alone(capsys):
    with screen.at_work("beginning"):
        screen.MOVING.warning("training: 3%%")
    screen.MOVING.info("training: 4%%")
    assert capsys.readouterr().err.replace("training: 3%%\n", "") == ""


def test_the_log_is_left_as_it_was_when_work_fails():
    before = list(log.handlers)
    with pytest.raises(KeyError), screen.at_work("beginning"):
        raise KeyError
    assert log.handlers == before
