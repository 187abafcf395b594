import re
from datetime import date
from pathlib import Path

import typer.main

from adapters.runs import JudgedNight, metrics
from docs import reference
from flows.cli.main import app
from models.catalogue import StrategyChoice
from records.measures import Measures
from records.runs import NightFacts
from records.scores import FirstSight, Score, ScoreMatrix, ScoreRow
from records.verdict import Finding, Verdict
from tasks.params.params import Params


def commands(command, name="retain"):
    yield name, command
    for part, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, f"{name} {part}")


def test_every_command_is_told_of_with_every_option_and_what_it_does():
    page = reference.command_line()
    parts = dict(re.findall(r"^## (retain[a-z ]*)\n(.*?)(?=^## |\Z)", page, flags=re.M | re.S))
    documented = dict(commands(typer.main.get_command(app)))
    assert parts.keys() == documented.keys()
    for name, command in documented.items():
        assert " ".join(command.help.split())[:30] in " ".join(parts[name].split())
        for option in (option for parameter in command.params for option in getattr(parameter, "opts", ())):
            assert option.startswith("-") is False or f"`{option}`" in parts[name], (name, option)


def test_examples_can_be_copied():
    page = reference.command_line()
    assert "```\nretain ingest photos/monday -w shop\nretain ingest photos/monday.csv -w shop" in page
    assert "Examples:" not in page


def test_every_parameter_is_told_of_with_its_default():
    page = reference.parameters()
    # A choice's fields stand below its name; here are those that belong to none.
    chosen = ("update.network.", "update.strategy.", "judge.", "update.problem.")
    for name, value in Params().flat().items():
        if name.startswith(chosen):
            continue
        row = re.search(rf"^\| `{re.escape(name)}` \| ([^|]*) \|", page, flags=re.M)
        assert row, name
        shown = row[1].replace("`", "").replace(", ", ",")
        assert shown in ("not set", "none", value.removesuffix(".0")) or shown.lower() == value.lower()


def test_every_choice_is_told_of_with_its_fields():
    page = reference.parameters()
    for kind in StrategyChoice.__origin__.__args__:
        name = kind.model_fields["name"].default
        part = page.split(f"#### update.strategy: {name}\n")[1].split("\n#")[0]
        assert kind.__doc__.splitlines()[0] in part
        assert all(f"| `{field}` |" in part for field in kind.model_fields if field != "name")


def test_what_may_be_given_is_told():
    page = reference.parameters()
    assert "*(number, > 0, < 1)*" in page.split("| `ingest.test_share` |")[1].splitlines()[0]
    assert "*(whole number or `all`)*" in page.split("| `update.memory.size` |")[1].splitlines()[0]
    assert "*(`allow` or `ask` or `refuse`)*" in page.split("| `validate.new_classes` |")[1].splitlines()[0]


def test_every_metric_of_a_night_is_told_of():
    past, new = "2026-01-05-aaaaaaaa", "2026-01-06-bbbbbbbb"
    score = Score(overall=0.9, among_known=0.95, images=5)
    rows = (
        ScoreRow(version="v1", scores={past: score}),
        ScoreRow(version="candidate", scores={past: score, new: score}),
    )
    matrix = ScoreMatrix(
        experiences=(past, new),
        new=(new,),
        rows=rows,
        before={new: FirstSight(overall=0.1, untrained=0.1)},
        measures=Measures(
            per_class={"a": 0.9}, macro_f1=0.7, calibration_error=0.05, negative_flips=0.02, positive_flips=0.01
        ),
    )
    findings = tuple(
        Finding(question=q, subject=s, estimate=0, lower=0, upper=0.1, limit=0.2, images=5, decision="accept")
        for q, s in (("forgotten", "mean"), ("forgotten", past), ("taken", past), ("learned", new))
    )
    verdict = Verdict(decision="accept", reason="Fine.", gate="test", confidence=0.95, findings=findings)
    facts = NightFacts(
        identity="i", day=date(2026, 1, 6), parent=1, batches=(new,), images=8, data_revision="d", commit="c", code="e",
        params={}, seconds={"update": 1.0}, costs={"steps": 3.0},
    )  # fmt: skip
    night = JudgedNight(facts, matrix, verdict, Path(), Path())

    found = re.findall(r"^\| `([^`]+)` \|", reference.metrics(), flags=re.M)
    patterns = [re.sub(r"<[a-z]+>", ".+", name) for name in found]
    further = {"pixel_accuracy": 0.9, "mean_dice": 0.8, "iou_old": 0.7, "iou_new": 0.6}
    measures = Measures(per_class={"a": 0.9}, further=further)
    names = {"score_name": "miou", "class_score_name": "iou", "measures": measures}
    segmented = JudgedNight(facts, matrix.model_copy(update=names), verdict, Path(), Path())
    named = metrics(night) | metrics(segmented)
    assert [name for name in named if not any(re.fullmatch(pattern, name) for pattern in patterns)] == []
    assert [p for p in patterns if p != "loss/.+" and not any(re.fullmatch(p, name) for name in named)] == []
