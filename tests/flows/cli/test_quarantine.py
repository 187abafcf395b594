"""`retain quarantine` as it is typed, on a small real workspace, whatever it was doing when it was killed."""

import csv
import io
import json
import os
import re
import shutil
import unicodedata
from datetime import date
from pathlib import Path

import pytest

from adapters.datastore import DataStore
from dataset.batches import list_batches, read_batch
from flows.terminal import views
from records.batch import Batch, shortened
from records.errors import WrongInput
from records.experience import Check, Hold, Report
from records.registration import RunFile
from tasks.approve import approve_run
from tasks.ingest import inbox
from tasks.ingest.corrections import Correction, correct
from tasks.params.params import params_of
from tasks.quarantine import store
from tasks.quarantine.release import ReleaseRequest, drop, hold, release
from tasks.queries.status import status_of
from tasks.stages import run_validate
from tasks.workspace.creation import create
from tasks.workspace.local_data import facts_of
from tasks.workspace.lock import workspace_lock
from tasks.workspace.workspace import Workspace

DAY = date(2026, 3, 9)
ALLOWED = "validate: {allowed_classes: [bar, column]}"


def spoil(folder: Path, names: list[str]) -> None:
    for name in names:
        (folder / name).write_bytes((folder / "bar" / "0000.png").read_bytes()[:60])


@pytest.fixture(scope="module")
def original(tmp_path_factory, deliver, mlflow_database) -> Path:
    """A workspace with a batch that was held back, one that was admitted without three images, and a good one."""
    workspace = create(tmp_path_factory.mktemp("original") / "shop")
    shutil.copy(mlflow_database, workspace.state / "mlflow.db")
    workspace.params.write_text("ingest: {test_share: 0.5}\nupdate: {network: {name: mlp}}\nevaluate: {}\n"
                                f"judge: {{name: paired_score}}\n{ALLOWED}\n")  # fmt: skip
    DataStore(workspace.root).commit_files([workspace.params], "Small numbers")
    params = params_of(workspace).ingest
    held = deliver(workspace.inbox / "held", {"bar": 20, "column": 20, "colum?": 6})
    spoil(held, ["column/half.png", "bar/half.png"])
    partly = deliver(workspace.inbox / "partly", {"bar": 30, "column": 40, "cross": 2}, seed=1)
    spoil(partly, ["bar/half.png"])
    good = deliver(workspace.inbox / "good", {"bar": 60}, seed=2)
    batches = [
        inbox.take(workspace, d, date(2026, 3, 2 + at), params).batch.id for at, d in enumerate((held, partly, good))
    ]
    _, reports = run_validate(workspace, RunFile(batches=tuple(batches)), keep=False)
    assert [(report.admitted, len(report.faulty_rows())) for report in reports] == [(False, 8), (True, 3), (True, 0)]
    store.file(workspace, reports)
    status_of(workspace)
    return workspace.root


@pytest.fixture
def shop(original, tmp_path) -> Workspace:
    return Workspace(Path(shutil.copytree(original, tmp_path / "shop", symlinks=True)))


@pytest.fixture
def held(shop) -> str:
    return list_batches(shop.batches)[0]


@pytest.fixture
def partly(shop) -> str:
    return list_batches(shop.batches)[1]


@pytest.fixture
def decide(retain, shop):
    """`decide("show", batch, "--json")`: the command for this workspace."""

    def run(command, *words):
        return retain("quarantine", command, *words, "-w", shop.root)

    return run


@pytest.fixture
def git(shell, shop):
    return lambda *words: shell(shop.root, "git", *words)


def correction_of(shop: Workspace, batch_id: str) -> Batch:
    (made,) = [b for b in (read_batch(shop.batches, n) for n in list_batches(shop.batches)) if b.corrects == batch_id]
    return made


def paths_of(shop: Workspace, batch: Batch) -> list[str]:
    return list(facts_of(shop, batch.id)["path"])


# Looking


@pytest.mark.parametrize("command", ["list", "show", "release", "drop", "hold"])
def test_each_command_teaches(retain, command):
    result = retain("quarantine", command, "--help")
    assert result.code == 0
    assert f"Usage: retain quarantine {command} " in result.out
    assert f"  retain quarantine {command} " in result.out
    assert f" {command} " in retain("quarantine").out


def test_the_list_has_a_row_an_entry(decide, held, partly):
    header, first, second = (line.split() for line in decide("list").out.splitlines())
    assert header == ["batch", "delivered", "as", "images", "refused", "age", "why"]
    assert first[:4] == [shortened(held), "held", "48", "8"]
    assert second[:4] == [shortened(partly), "partly", "73", "3"]
    document = json.loads(decide("list", "--json").out)
    assert [(e["batch"], e["admitted"], e["arrived"]) for e in document] == [
        (held, False, "2026-03-02"), (partly, True, "2026-03-03"),
    ]  # fmt: skip


def test_an_empty_quarantine_says_so(retain, workspace):
    assert retain("quarantine", "list", "-w", workspace.root).out == "Nothing is in quarantine.\n"
    result = retain("quarantine", "show", "2026", "-w", workspace.root)
    assert (result.code, result.sentence) == (2, "Nothing in quarantine begins with '2026'; it is empty.")


def test_status_knows_both_kinds_and_only_one_holds_back(retain, shop, held, partly):
    document = json.loads(retain("status", "-w", shop.root, "--json").out)
    assert [report["batch"] for report in document["quarantine"]] == [held]
    assert [report["batch"] for report in document["refused"]] == [partly]
    assert document["pending"] == list(list_batches(shop.batches)[1:])
    output = retain("status", "-w", shop.root).out
    assert shortened(f"quarantine   {held} (held)") in output
    assert shortened(f"refused      {partly} (partly): 3 images of 73") in output
    assert "To look at what was refused, and decide: retain quarantine list -w" in output


def test_show_tells_what_is_wrong_and_what_to_do(decide, shop, held, partly):
    output = decide("show", held[:11]).out
    assert "label-not-allowed  refused  6 images" in output
    assert "  - colum?/0000.png: labelled colum?" in output
    assert "    and 3 more" in output
    assert shortened(f"quarantine/{held}/report.html") in output
    assert shortened(f"retain quarantine release {held} --leave-out refused -w ") in output
    assert shortened(f"retain quarantine show {partly} --files DIR -w ") in decide("show", partly).out
    assert Report.model_validate_json(decide("show", held, "--json").out) in store.reports(shop)


def test_no_release_is_offered_while_the_problem_needs_something_else(decide, shop, held):
    report = store.find(shop, held)
    stopped = Check(name="annotation", severity="refuse batch", meaning="", remedy="", passed=False, found=1)
    store.file(shop, [report.model_copy(update={"checks": (*report.checks, stopped)})])
    assert "quarantine release" in decide("show", held).out, "params.yaml has changed since: the batch fits"
    shop.params.write_text("validate: {}\nevaluate: {}\njudge: {}\n"
                           "update: {problem: {name: segmentation}, network: {name: unet}}\n")  # fmt: skip
    assert "quarantine release" not in decide("show", held).out
    assert "<delivery>/, with images/, masks/ and classes.txt" in views._layout(status_of(shop))


def test_files_that_were_not_taken_are_told(decide, shop, held, partly):
    aside = shop.quarantine / held / "files"
    (aside / "bar").mkdir(parents=True)
    for name in ("bar/link.png", "late.png"):
        (aside / name).symlink_to("/nowhere")
    sentence = f"2 files were not taken; they lie in {aside}"
    assert shortened(f"Of {held} {sentence}.") in decide("list").out
    assert sentence in decide("show", held).out
    assert "not taken" not in decide("show", partly).out
    assert [entry["not_taken"] for entry in json.loads(decide("list", "--json").out)] == [2, 0]
    assert f"{sentence}, and stay there" in decide("drop", held, "--yes").out
    assert (aside / "late.png").is_symlink()
    assert shortened(f"Of {held} {sentence}.") in decide("list").out, "they are told of a batch without an entry, too"


def test_show_writes_files_with_the_way_back(decide, shop, held, tmp_path):
    result = decide("show", held, "--files", tmp_path / "look")
    assert f"Wrote 8 images and their manifest.csv to {tmp_path / 'look'}." in result.out
    assert (
        shortened(f"retain quarantine release {held} --manifest {tmp_path / 'look' / 'manifest.csv'} -w ") in result.out
    )
    assert len(list((tmp_path / "look" / "images").iterdir())) == 8
    assert decide("show", held, "--files", tmp_path / "look").sentence.endswith("or does not exist yet.")


# Releasing


def test_without_a_change_nothing_changes(decide, shop, held, git):
    head = git("rev-parse", "HEAD")
    result = decide("release", held)
    assert (result.code, result.out.splitlines()[0]) == (0, shortened(f"{held} stays in quarantine."))
    assert "Quarantined: 8 of 48 images" in result.out
    assert git("rev-parse", "HEAD") == head


def test_once_the_class_is_allowed_the_batch_is_pending(decide, shop, held, git):
    shop.params.write_text(shop.params.read_text().replace("[bar, column]", '[bar, column, "colum?"]'))
    result = decide("release", held, "--by", "ada", "--note", "a class\nof its own")
    assert result.out.splitlines()[0] == shortened(
        f"Released: the next night learns {held}, without 2 images that stay here."
    )
    assert held in store.pending(shop, ())
    assert decide("list").out.count(shortened(held)) == 1, "two images are still broken"
    assert not shop.night.exists(), "the last night's files are as they were"
    (shop.params).write_text(shop.params.read_text() + "\n")
    assert git("status", "--porcelain").split() == ["M", "params.yaml"]


def test_what_was_refused_can_stay_behind(decide, shop, held, git):
    result = decide("release", held, "--leave-out", "refused", "--by", "ada", "--note", "not worth it",
                  "--arrived", "2026-03-09", "--json")  # fmt: skip
    document = json.loads(result.out)
    made = correction_of(shop, held)
    assert (document["entry"], document["batch"], document["report"]["admitted"]) == (held, made.id, True)
    assert (made.images, made.replaces, made.note, made.source) == (40, True, "by ada: not worth it", "held")
    assert made.id.startswith("2026-03-09-")
    assert store.pending(shop, ()) == (*list_batches(shop.batches)[1:3], made.id)
    assert [entry.batch for entry in store.entries(shop)] == [list_batches(shop.batches)[1]]
    names = git("show", "--name-only", "--format=%s").split()
    assert names[:4] == ["Correct", held, "as", made.id]
    assert names[4:] == ["data.dvc", f"quarantine/{held}/report.html", f"quarantine/{held}/report.json"]
    assert git("status", "--porcelain") == ""


def test_labels_are_corrected_and_facts_are_as_they_were(decide, shop, held):
    result = decide("release", held, "--relabel", "colum?=column", "--leave-out", "file-truncated")
    made = correction_of(shop, held)
    assert result.out.splitlines()[:2] == [
        shortened(f"{held} is corrected as {made.id}: 46 images."),
        shortened(f"Released: the next night learns {made.id}."),
    ]  # fmt: skip
    assert made.classes == ("bar", "column")
    before, after = facts_of(shop, held), facts_of(shop, made.id)
    both = before[~before["path"].str.endswith("half.png")].reset_index(drop=True)
    assert both.drop(columns="label").equals(after.drop(columns="label"))
    assert set(after["label"][after["path"].str.startswith("colum?")]) == {"column"}


def test_a_manifest_decides_over_what_it_lists(decide, shop, held, tmp_path):
    decide("show", held, "--files", tmp_path / "look")
    manifest = tmp_path / "look" / "manifest.csv"
    with manifest.open(encoding="utf-8-sig", newline="") as file:
        lines = [line | {"label": "column"} for line in csv.DictReader(file) if "colum?/" in line["original"]]
    with manifest.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, lines[0].keys())
        writer.writeheader()
        writer.writerows(lines[1:])
    assert decide("release", held, "--manifest", manifest).code == 0
    made = correction_of(shop, held)
    assert made.images == 45
    assert "colum?/0000.png" not in paths_of(shop, made)
    assert not [path for path in paths_of(shop, made) if path.endswith("half.png")]


@pytest.mark.slow
def test_labels_that_are_given_are_composed(decide, shop, held):
    apart = unicodedata.normalize("NFD", "Käse")
    decide("release", held, "--relabel", f"colum?={apart}", "--arrived", "2026-03-09")
    made = correction_of(shop, held)
    assert made.classes == (unicodedata.normalize("NFC", apart), "bar", "column")
    assert decide("release", made.id, "--relabel", f"{apart}=bar", "--leave-out", "refused").code == 0


@pytest.mark.slow
def test_what_a_person_accepts_is_kept_and_makes_another_batch(decide, shop, held):
    assert decide("release", held, "--accept", "label-not-allowed", "--accept", "refused-share").code == 0
    made = correction_of(shop, held)
    assert made.accepted == ("label-not-allowed", "refused-share")
    assert made.images == 48
    assert made.digest != read_batch(shop.batches, held).digest


@pytest.mark.slow
def test_that_new_classes_are_meant_is_said_of_each_batch_anew(decide, shop, held):
    asked = Check(name="class-unconfirmed", severity="refuse batch", meaning="", remedy="", passed=False, found=1)

    def doubt(report: Report) -> None:
        store.set_aside(shop, report.model_copy(update={"checks": (*report.checks, asked), "admitted": False}))

    doubt(store.find(shop, held))
    decide("release", held, "--accept", "class-unconfirmed", "--accept", "refused-share", "--arrived", "2026-03-09")
    first = correction_of(shop, held)
    assert first.accepted == ("class-unconfirmed", "refused-share")
    doubt(quarantine_report(shop, first.id))
    decide("release", first.id, "--leave-out", "refused", "--arrived", "2026-03-10")
    second = correction_of(shop, first.id)
    assert second.accepted == ("refused-share",)
    doubt(quarantine_report(shop, second.id))
    decide("release", second.id, "--accept", "class-unconfirmed", "--arrived", "2026-03-11")
    assert correction_of(shop, second.id).accepted == ("class-unconfirmed", "refused-share")


def test_of_an_admitted_batch_only_what_was_refused_is_released(decide, shop, partly):
    result = decide("release", partly, "--relabel", "cross=bar")
    made = correction_of(shop, partly)
    assert result.code == 0
    assert f"{shortened(made.id)} is in quarantine." in result.out, "three images are too few to learn from alone"
    assert sorted(paths_of(shop, made)) == ["bar/half.png", "cross/0000.png", "cross/0001.png"]
    assert not made.replaces
    assert partly in store.pending(shop, ()), "the admitted batch stays as it is"
    assert made.id not in store.pending(shop, ())
    assert [entry.batch for entry in store.entries(shop)][1:] == [made.id]


@pytest.mark.slow
def test_a_night_that_validates_again_makes_no_entry_of_what_was_corrected(decide, shop, partly):
    decide("release", partly, "--relabel", "cross=bar")
    _, reports = run_validate(shop, RunFile(batches=(partly,)), keep=False)
    store.file(shop, reports)
    assert partly not in [entry.batch for entry in store.entries(shop)]


@pytest.mark.slow
def test_refused_images_that_were_not_corrected_go_on_waiting(decide, shop, partly, git, tmp_path):
    decide("show", partly, "--files", tmp_path / "look")
    result = decide("release", partly, "--leave-out", "file-truncated", "--relabel", "cross=bar")
    assert shortened(f"1 refused image of {partly} is not in it and stays in quarantine.") in result.out
    made = correction_of(shop, partly)
    left = store.find(shop, partly)
    (row,) = left.faulty_rows()
    assert facts_of(shop, partly)["path"][row] == "bar/half.png"
    assert left.summary.endswith("2 of the refused are corrected since.")
    result = decide("release", partly, "--manifest", tmp_path / "look" / "manifest.csv")
    assert "is none of the images that wait" in result.sentence
    decide("release", partly, "--relabel", "bar=column", "--arrived", "2026-03-20")
    assert partly not in [entry.batch for entry in store.entries(shop)]
    assert not (shop.quarantine / partly).exists()
    assert f"What it corrected, {shortened(partly)}, is in quarantine again." in decide("drop", made.id, "--yes").out
    assert len(store.find(shop, partly).faulty_rows()) == 2
    assert git("status", "--porcelain") == ""


@pytest.mark.parametrize("versioned", [pytest.param(False, marks=pytest.mark.slow), True])
def test_a_killed_correction_of_some_refused_images_is_finished(decide, shop, partly, git, shell, versioned):
    labels = dict.fromkeys(store.find(shop, partly).faulty_rows()[1:], "bar")
    made = correct(shop.batches, shop.state / "staging", read_batch(shop.batches, partly),
                   Correction(labels, replaces=False), DAY, 2**20)  # fmt: skip
    if versioned:
        shell(shop.root, "dvc", "add", "data")
    result = decide("release", partly, "--relabel", "cross=bar")
    assert shortened(f"{partly} is corrected as {made.id}: 2 images.") in result.out
    assert len(store.find(shop, partly).faulty_rows()) == 1
    assert git("status", "--porcelain") == ""
    assert store.finish(shop) == ()


@pytest.mark.slow
def test_a_batch_that_is_refused_after_its_refused_images_were_corrected_is_held_back(decide, shop, partly):
    decide("release", partly, "--leave-out", "file-truncated", "--relabel", "cross=bar")
    first = correction_of(shop, partly)
    _, (report,) = run_validate(shop, RunFile(batches=(partly,)), keep=False)
    store.file(shop, [report.model_copy(update={"admitted": False})])
    assert partly not in store.pending(shop, ())
    assert not store.find(shop, partly).admitted
    decide("release", partly, "--leave-out", "refused", "--arrived", "2026-03-20")
    (second,) = [b for b in (read_batch(shop.batches, n) for n in list_batches(shop.batches)) if b.replaces]
    assert (second.corrects, second.images) == (partly, 70)
    assert not set(paths_of(shop, first)) & set(paths_of(shop, second))


@pytest.mark.slow
def test_a_correction_can_be_corrected(decide, shop, held):
    decide("release", held, "--accept", "refused-share", "--arrived", "2026-03-09")
    first = correction_of(shop, held)
    store.set_aside(shop, quarantine_report(shop, first.id))
    result = decide("release", first.id, "--leave-out", "refused", "--arrived", "2026-03-10")
    second = correction_of(shop, first.id)
    assert shortened(f"the next night learns {second.id}.") in result.out
    assert second.accepted == ("refused-share",)
    assert set(store.pending(shop, ())) == {*list_batches(shop.batches)} - {held, first.id}


def quarantine_report(shop: Workspace, batch_id: str) -> Report:
    _, (report,) = run_validate(shop, RunFile(batches=(batch_id,)), keep=False)
    return report.model_copy(update={"admitted": False})


WRONG = {
    "no entry": (["release", "2027"], "Nothing in quarantine begins with '2027'; there are 2026-03-02-"),
    "too short": (["show", "2026"], "'2026' fits 2026-03-02-"),
    "no pair": (["release", "HELD", "--relabel", "a"], "--relabel is 'a'; write the old and the new label as OLD=NEW."),
    "no such label": (
        ["release", "HELD", "--relabel", "row=bar"],
        "No image to release is labelled 'row'; labels there: bar, colum?, column.",
    ),
    "unusable label": (["release", "HELD", "--relabel", "bar=a/b"], "'a/b' cannot be the name of a class: the label"),
    "empty label": (["release", "HELD", "--relabel", "bar="], "'' cannot be the name of a class: the label is empty."),
    "no such check": (
        ["release", "HELD", "--leave-out", "blurr"],
        "`blurr` is no check that complains of HELD; those are: ",
    ),
    "not a check of images": (
        ["release", "HELD", "--leave-out", "refused-share"],
        "`refused-share` complains of the batch as a whole, so there are no images of it to leave out.",
    ),
    "broken files": (
        ["release", "HELD", "--accept", "file-truncated"],
        "`file-truncated` cannot be accepted: nothing could be learned from such images. Leave them out: --leave-out",
    ),
    "nothing left": (
        ["release", "PARTLY", "--leave-out", "refused"],
        "No image of PARTLY would be left. To give all of them up, drop it.",
    ),
    "no manifest": (["release", "HELD", "--manifest", "gone.csv"], "gone.csv is not a file. Name the edited manifest"),
    "all of nothing": (["show", "HELD", "--all"], "--all says which images --files writes; name a folder with"),
    "nobody to ask": (["drop", "HELD"], "Nothing was dropped: nobody is there to answer. For scripts there is --yes."),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_command_gets_a_sentence_and_changes_nothing(
    decide, shop, held, partly, everything_below, case, monkeypatch
):
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    words, sentence = WRONG[case]
    names = {"HELD": held, "PARTLY": partly}
    before = everything_below(shop.root)
    result = decide(*(names.get(word, word) for word in words))
    assert (result.code, result.out) == (2, "")
    assert shortened(sentence.replace("HELD", held).replace("PARTLY", partly)) in result.sentence
    assert everything_below(shop.root) == before


def test_one_night_or_command_at_a_time(decide, shop, held):
    # Who decides does not wait: what was decided upon may be another thing after a night.
    with workspace_lock(shop, "the night of 2026-03-02"):
        result = decide("release", held)
    assert result.code == 2
    assert re.fullmatch(
        rf"The night of 2026-03-02 is at work in {re.escape(str(shop.root))} "
        rf"\(process {os.getpid()}, since 20[\d-]+ \d\d:\d\d\)\. Wait for it to end, then start again\.",
        result.sentence,
    )


def test_a_corrected_batch_is_not_released_again(decide, held):
    decide("release", held, "--leave-out", "refused")
    result = decide("release", held)
    assert result.code == 2
    assert result.sentence.startswith(shortened(f"{held} is not in quarantine any more: it was corrected as "))


# Killed on the way


def killed(shop: Workspace, held: str, at: str, shell) -> Batch:
    """As if `release --leave-out refused` had been killed `at` a point."""
    report = store.find(shop, held)
    labels = facts_of(shop, held)["label"].drop(index=list(report.faulty_rows())).to_dict()
    made = correct(shop.batches, shop.state / "staging", read_batch(shop.batches, held),
                   Correction(labels, replaces=True), DAY, 2**20)  # fmt: skip
    if at != "made":
        shell(shop.root, "dvc", "add", "data")
    if at == "entry removed":
        for path in store.files_of(shop, held):
            path.unlink()
    return made


POINTS = (
    "made",
    pytest.param("versioned", marks=pytest.mark.slow),
    pytest.param("entry removed", marks=pytest.mark.slow),
)
LAST_POINTS = (*(pytest.param(point, marks=pytest.mark.slow) for point in ("made", "versioned")), "entry removed")


@pytest.mark.slow
@pytest.mark.parametrize("at", POINTS)
def test_a_release_that_was_killed_is_finished_by_the_same_command(decide, shop, held, git, shell, at):
    made = killed(shop, held, at, shell)
    result = decide("release", held, "--leave-out", "refused")
    assert result.out.splitlines()[:2] == [
        shortened(f"An interrupted release had corrected {held} already; it is finished, and nothing else done."),
        shortened(f"{held} is corrected as {made.id}: 40 images."),
    ]
    assert correction_of(shop, held) == made
    assert git("status", "--porcelain") == ""
    assert not (shop.quarantine / held).exists()
    assert made.id in store.pending(shop, ())


@pytest.mark.parametrize("at", LAST_POINTS)
def test_or_by_the_next_night(shop, held, git, shell, at):
    made = killed(shop, held, at, shell)
    assert made.id in store.pending(shop, ())
    assert held not in store.pending(shop, ())
    assert store.finish(shop) == (held,)
    assert git("status", "--porcelain") == ""
    shutil.rmtree(shop.batches)
    DataStore(shop.root).pull()
    assert made.id in list_batches(shop.batches)


def test_a_release_that_was_killed_before_it_made_anything_left_the_entry(decide, shop, held):
    staging = shop.state / "staging" / "batch"
    staging.mkdir(parents=True, exist_ok=True)
    (staging / "images-00000.parquet").write_bytes(b"half")
    assert held in [entry.batch for entry in store.entries(shop)]
    decide("release", held, "--leave-out", "refused")
    assert correction_of(shop, held).images == 40


# Holding


@pytest.fixture
def good(shop) -> str:
    return list_batches(shop.batches)[2]


@pytest.mark.slow
def test_a_pending_batch_waits_until_it_is_released(decide, retain, shop, partly, good, git):
    result = decide("hold", good, "--by", "ada", "--note", "labels of\ncamera 4")
    assert (result.code, result.out.splitlines()[0]) == (
        0, shortened(f"{good} (good) waits, and no other batch waits for it. Held by ada: labels of\\ncamera 4."),
    )  # fmt: skip
    assert store.pending(shop, ()) == (partly,)
    assert git("log", "-1", "--format=%s") == f"Hold {good} by ada\n"
    assert git("status", "--porcelain") == ""
    document = json.loads(retain("status", "-w", shop.root, "--json").out)
    assert [report["batch"] for report in document["held"]] == [good]
    assert good not in [report["batch"] for report in document["quarantine"]]
    assert shortened(f"held         {good} (good)") in retain("status", "-w", shop.root).out
    assert [(e.batch, e.held) for e in store.entries(shop)][-1] == (good, True)
    assert shortened(f"retain quarantine release {good}") in decide("show", good).out
    assert "<h1>Held</h1>" in (shop.quarantine / good / "report.html").read_text()
    again = decide("hold", good)
    assert (again.code, again.sentence) == (2, shortened(f"{good} waits already. Held by ada: labels of\\ncamera 4."))
    assert decide("release", good).out.splitlines()[0] == shortened(f"Released: the next night learns {good}.")
    assert store.pending(shop, ()) == (partly, good)
    assert git("status", "--porcelain") == ""


def test_refused_images_of_a_batch_that_is_held_are_not_lost(decide, shop, partly):
    before = store.find(shop, partly)
    assert decide("hold", partly, "--by", "ada").code == 0
    held_back = store.find(shop, partly)
    assert (held_back.admitted, held_back.held.by, held_back.checks) == (False, "ada", before.checks)
    output = decide("release", partly).out
    assert output.startswith(f"Released: the next night learns {shortened(partly)}, without 3 images")
    assert store.find(shop, partly) == before


def test_a_held_batch_can_be_corrected(decide, shop, good):
    decide("hold", good, "--by", "ada")
    assert "none does" in decide("release", good, "--accept", "blurry").sentence
    result = decide("release", good, "--relabel", "bar=column", "--arrived", "2026-03-09")
    made = correction_of(shop, good)
    assert (made.images, made.replaces, made.classes) == (60, True, ("column",))
    assert shortened(f"the next night learns {made.id}.") in result.out
    assert good not in store.pending(shop, ())


def test_what_waits_or_is_unknown_cannot_be_held(decide, held):
    assert decide("hold", held).sentence == shortened(
        f"{held} is in quarantine, and no night learns it until it is released."
    )  # fmt: skip
    assert decide("hold", "2027").sentence.startswith("Nothing in quarantine or pending begins with '2027'; there are")


@pytest.mark.parametrize("first", ["pending", pytest.param("held", marks=pytest.mark.slow)])
def test_a_pending_batch_can_be_dropped(decide, shop, good, git, first):
    if first == "held":
        decide("hold", good)
    result = decide("drop", good, "--yes")
    assert result.out.splitlines()[0] == shortened(f"Dropped {good}.")
    assert good not in list_batches(shop.batches)
    assert good not in store.pending(shop, ())
    assert not (shop.quarantine / good).exists()
    assert git("status", "--porcelain") == ""


def test_a_batch_that_the_gate_did_not_survive_is_not_opened_by_its_entry(decide, shop, good, git):
    (shard,) = (shop.batches / good).glob("*.parquet")
    whole = shard.read_bytes()
    shard.unlink()
    shard.write_bytes(b"no table")
    _, reports = run_validate(shop, RunFile(batches=(good,)), keep=False)
    store.file(shop, reports)
    assert good not in store.pending(shop, ())
    assert git("log", "-1", "--format=%s") == f"Hold {good} by retain\n"
    assert "could not look at it" in decide("show", good).out
    assert shortened(f"{good} stays held.") in decide("release", good).out
    shard.write_bytes(whole)
    assert shortened(f"the next night learns {good}.") in decide("release", good).out
    assert store.find(shop, list_batches(shop.batches)[0])


# Dropping


def test_a_dropped_batch_leaves_the_archive_and_comes_back_even_if_the_cache_was_cleared(
    decide, shop, held, git, shell
):
    result = decide("drop", held, "--yes")
    assert result.out.splitlines()[0] == shortened(f"Dropped {held}.")
    assert held not in list_batches(shop.batches)
    assert not (shop.quarantine / held).exists()
    assert git("status", "--porcelain") == ""
    shell(shop.root, "dvc", "gc", "--workspace", "--force")
    command = result.out.splitlines()[1].partition(" && ")[2].split()
    shell(shop.root, *command)
    assert held in store.pending(shop, ())
    assert read_batch(shop.batches, held).images == 48
    assert facts_of(shop, held)["path"].size == 48


def test_of_an_admitted_batch_only_the_entry_is_dropped(decide, shop, partly, git):
    result = decide("drop", partly, "--yes", "--json")
    assert json.loads(result.out)["left"] is False
    assert partly in store.pending(shop, ())
    assert partly not in [entry.batch for entry in store.entries(shop)]
    assert git("status", "--porcelain") == ""


@pytest.mark.slow
def test_to_drop_a_correction_is_to_go_back(decide, shop, held, git):
    decide("release", held, "--accept", "refused-share")
    made = correction_of(shop, held)
    store.set_aside(shop, quarantine_report(shop, made.id))
    result = decide("drop", made.id, "--yes")
    assert shortened(f"What it corrected, {held}, is in quarantine again.") in result.out
    assert store.entries(shop)[0].batch == held
    assert held not in store.pending(shop, ())
    assert git("status", "--porcelain") == ""


@pytest.mark.parametrize("at", ["removed", pytest.param("versioned", marks=pytest.mark.slow)])
def test_a_drop_that_was_killed_goes_on(decide, shop, held, git, shell, at):
    shutil.rmtree(shop.batches / held)
    if at == "versioned":
        shell(shop.root, "dvc", "add", "data")
    assert held in [entry.batch for entry in store.entries(shop)]
    assert decide("drop", held, "--yes").code == 0
    assert held not in list_batches(shop.batches)
    assert [entry.batch for entry in store.entries(shop)] == [list_batches(shop.batches)[0]]
    assert git("status", "--porcelain") == ""


def test_a_person_is_asked(decide, shop, held, monkeypatch, capsys):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr("sys.stdin", Terminal("n\n"))
    result = decide("drop", held)
    assert result.out == "Nothing was dropped.\n"
    assert shortened(f"Drop {held} (held), 48 images? [y/N]") in result.err
    monkeypatch.setattr("sys.stdin", Terminal("y\n"))
    assert decide("drop", held).out.startswith(shortened(f"Dropped {held}."))


# A night


@pytest.mark.slow
def test_what_a_night_refused_of_a_learned_batch_is_released_as_a_batch_of_its_own(
    new_workspace, deliver, run_night, tmp_path, capsys
):
    workspace = new_workspace(tmp_path / "shop")
    folder = deliver(workspace.inbox / "monday", {"bar": 60, "column": 60})
    # Two labels for the same pixels.
    for number in range(3):
        shutil.copy(folder / "bar" / f"{number:04d}.png", folder / "column" / f"same-{number}.png")
    workspace.params.write_text(workspace.params.read_text().replace("validate: {}", "validate: {refused_share: 0.1}"))
    night = run_night(workspace, 2)
    (report,) = night.refusals
    assert (report.admitted, len(report.faulty_rows())) == (True, 6)
    capsys.readouterr()
    views.show_night(night, workspace.root)
    assert shortened(f"refused      {report.batch} (monday): 6 images of 123") in capsys.readouterr().out
    assert store.reports(workspace) == (report,)
    with pytest.raises(WrongInput, match=f"{report.batch} is learned"):
        hold(workspace, report.batch, "ada", "")
    result = release(workspace, report.batch, ReleaseRequest(), DAY)
    made = correction_of(workspace, report.batch)
    assert (result.batch, made.images, made.replaces) == (made.id, 6, False)
    assert [report.batch for report in store.reports(workspace)] == [made.id]
    # What a version has learned is not dropped, and what waits is not let in by another door.
    why = Hold(by="ada", why="it does harm")
    store.set_aside(workspace, report.model_copy(update={"admitted": False, "held": why}))
    with pytest.raises(WrongInput, match=f"v1 has learned {report.batch}, and somebody may go back"):
        drop(workspace, report.batch)
    with pytest.raises(WrongInput, match=f"learned {report.batch}, which waits. Held by ada: it does harm. Release it"):
        approve_run(workspace, night.registration.run, "ada", "", overrule=True)
    shutil.move(workspace.batches / report.batch, tmp_path / "away")
    store.take_away(workspace, report.batch, "Dropped by hand")
    with pytest.raises(WrongInput, match=f"learned {report.batch}, which was dropped since"):
        approve_run(workspace, night.registration.run, "ada", "", overrule=True)
