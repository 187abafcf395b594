import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from adapters.datastore import DVC, DataStore
from records.errors import DamagedState, NotAWorkspace, Unavailable

STAGES = Path(__file__).parents[2] / "tasks" / "workspace" / "template" / "dvc.yaml"


def git(root, *words):
    return subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Where Git finds no settings of a person, but a hook's environment that points to another repository."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        patch.setenv("XDG_CONFIG_HOME", str(home))
        patch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
        patch.setenv("GIT_CONFIG_NOSYSTEM", "1")
        patch.setenv("GIT_DIR", str(home / "elsewhere.git"))
        yield home


@pytest.fixture(scope="module")
def store(home, tmp_path_factory):
    """A repository with one batch. Tests that take it must leave it whole."""
    folder = tmp_path_factory.mktemp("store")
    store = DataStore(folder / "work space")
    store.init("../remote #1, with signs")
    lay_batch(store, "one")
    store.commit_data("Ingest one")
    return store


@pytest.fixture
def copy(store, tmp_path):
    """The same repository and its remote, to break."""
    shutil.copytree(store.root.parent, tmp_path / "copy")
    return DataStore(tmp_path / "copy" / store.root.name)


def lay_batch(store, name):
    folder = store.root / "data" / "batches" / name
    folder.mkdir(parents=True)
    (folder / "images.parquet").write_text(f"images of {name}")


def shown(store, *words):
    return git(store.root, "--git-dir", str(store.root / ".git"), *words)


def test_a_new_repository_is_quiet_signed_by_the_program_and_clean(store, home):
    config = (store.root / ".dvc" / "config").read_text()
    assert re.search(r"analytics = false\s+check_update = false\s+autostage = false", config)
    assert shown(store, "log", "--format=%an <%ae> %s").splitlines() == [
        "retain <retain@localhost> Ingest one",
        "retain <retain@localhost> Begin to version data with DVC",
    ]
    assert shown(store, "--work-tree", str(store.root), "status", "--porcelain") == ""
    assert not (home / "elsewhere.git").exists()


def test_data_are_versioned_and_pushed(store):
    assert store.has_remote()
    assert store.head() == shown(store, "rev-parse", "HEAD")
    assert re.fullmatch(r"[0-9a-f]{32}\.dir", store.data_revision())
    digest = store.data_revision().removesuffix(".dir")
    remote = store.root.parent / "remote #1, with signs" / "files" / "md5"
    assert (remote / digest[:2] / f"{digest[2:]}.dir").is_file()
    assert sorted(shown(store, "ls-files").split()) == [
        ".dvc/.gitignore",
        ".dvc/config",
        ".dvcignore",
        ".gitignore",
        "data.dvc",
    ]


def test_nothing_new_is_no_commit_and_new_data_are_one(copy):
    (copy.root / ".dvc" / "config").write_text("[core]\n    analytics = false\n")
    copy.commit_files([".dvc/config"], "Have no remote")
    assert not copy.has_remote()
    before, revision = copy.head(), copy.data_revision()
    assert copy.commit_data("Nothing") == before
    lay_batch(copy, "two")
    (copy.root / "staged by a person.txt").write_text("x")
    git(copy.root, "--git-dir", str(copy.root / ".git"), "--work-tree", str(copy.root), "add", "staged by a person.txt")
    after = copy.commit_data("Ingest two")
    assert after == copy.head() != before
    assert copy.data_revision() != revision
    assert shown(copy, "show", "--name-only", "--format=%s").split("\n") == ["Ingest two", "", "data.dvc"]


def test_data_come_back_from_the_remote(copy):
    shutil.rmtree(copy.root / "data")
    shutil.rmtree(copy.root / ".dvc" / "cache")
    copy.pull()
    assert (copy.root / "data" / "batches" / "one" / "images.parquet").read_text() == "images of one"


def test_without_a_remote_data_come_back_from_the_cache(copy):
    (copy.root / ".dvc" / "config").write_text("[core]\n    analytics = false\n")
    shutil.rmtree(copy.root / "data")
    copy.pull(["data"])
    assert (copy.root / "data" / "batches" / "one" / "images.parquet").read_text() == "images of one"


def test_lost_data_are_not_up_to_date(copy):
    shutil.rmtree(copy.root / ".dvc" / "cache")
    shutil.rmtree(copy.root.parent / "remote #1, with signs")
    with pytest.raises(DamagedState, match=r"neither in DVC's cache nor on the remote"):
        copy.push()


def test_data_that_cannot_be_pushed_are_not_committed(copy):
    remote = copy.root.parent / "remote #1, with signs"
    shutil.rmtree(remote)
    remote.write_text("a file where the remote was")
    before = copy.head()
    lay_batch(copy, "two")
    with pytest.raises(Unavailable, match=r"`dvc push` failed in .*: .*Not a directory"):
        copy.commit_data("Ingest two")
    assert copy.head() == before
    assert shown(copy, "show", "HEAD:data.dvc") != (copy.root / "data.dvc").read_text().strip()


def test_stages_are_recorded_as_they_are(copy):
    (copy.root / "dvc.yaml").write_text(
        "stages:\n  count:\n    cmd: exit 1\n    deps: [data]\n    outs: [counted.txt]\n"
    )
    (copy.root / "counted.txt").write_text("1")
    copy.record_stages()
    lock = (copy.root / "dvc.lock").read_text()
    assert "md5: c4ca4238a0b923820dcc509a6f75849b" in lock  # of the text 1
    assert f"md5: {copy.data_revision()}" in lock


def test_weights_and_answers_of_a_night_do_not_lie_in_dvcs_cache_as_well(copy):
    """DVC remembers what a stage made of which inputs, and for that caches what is told not to be cached."""
    shutil.copy(STAGES, copy.root / "dvc.yaml")
    sections = ("validate", "update", "evaluate", "judge")
    made = ("experiences/one.json", "candidate/weights", "evaluation/outcomes", "verdict.json", "metrics.json")
    files = {"params.yaml": "".join(f"{name}: {{}}\n" for name in sections), "run.json": "{}"}
    for name, content in {**files, **{f"night/{name}": f"this is {name}" for name in made}}.items():
        (copy.root / name).parent.mkdir(parents=True, exist_ok=True)
        (copy.root / name).write_text(content)
    copy.record_stages()
    cached = {path.read_text() for path in (copy.root / ".dvc" / "cache" / "files").rglob("*") if path.is_file()}
    assert {"images of one", "this is verdict.json"} <= cached
    assert not {"this is candidate/weights", "this is evaluation/outcomes"} & cached


def test_small_files_are_committed_whoever_signs_and_whatever_hooks_say(copy):
    hook = copy.root / ".git" / "hooks" / "pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(hook.stat().st_mode | stat.S_IXUSR)
    for key, value in {"commit.gpgsign": "true", "user.name": "Ada", "user.email": "ada@example.org"}.items():
        shown(copy, "config", "--local", key, value)
    page = copy.root / "quarantine" / "b 1" / "-report ü.html"
    page.parent.mkdir(parents=True)
    page.write_text("x")
    head = copy.commit_files([page, "quarantine"], "Quarantine b 1")
    assert shown(copy, "-c", "core.quotePath=false", "show", "--name-only", "--format=%an %s", head).splitlines() == [
        "Ada Quarantine b 1",
        "",
        "quarantine/b 1/-report ü.html",
    ]
    page.unlink()
    assert copy.commit_files([page], "Release b 1") != head
    assert shown(copy, "ls-files", "quarantine") == ""
    with pytest.raises(Unavailable, match=r"`git add` failed in .*did not match any files"):
        copy.commit_files(["nowhere.txt"], "Nothing")


def test_making_a_repository_again_changes_nothing(copy):
    before = copy.head()
    copy.init()
    assert copy.head() == before


def test_a_folder_without_repositories_is_no_workspace(home, tmp_path):
    # Inside another Git repository, which must not be taken for the workspace's.
    outer = DataStore(tmp_path)
    git(tmp_path, "--git-dir", str(tmp_path / ".git"), "init", "--quiet")
    inner = DataStore(tmp_path / "inner")
    inner.root.mkdir()
    for ask in (inner.head, inner.push, inner.pull, inner.record_stages, lambda: inner.commit_data("x")):
        with pytest.raises(NotAWorkspace, match=r"inner is not a retain workspace: it has no \.git"):
            ask()
    with pytest.raises(NotAWorkspace, match=r"it has no \.dvc"):
        outer.head()
    assert not inner.has_remote()
    assert inner.data_revision() == ""


def test_a_damaged_data_file_is_a_sentence(tmp_path):
    (tmp_path / "data.dvc").write_text("outs: []\n")
    with pytest.raises(DamagedState, match=r"data\.dvc is not as DVC writes it"):
        DataStore(tmp_path).data_revision()


@pytest.mark.parametrize("words", [("status", "data.dvc"), ("push", "nothing"), ("nonsense",)])
def test_dvc_and_the_copy_of_it_that_tests_call_say_the_same(store, dvc, words):
    said = [
        subprocess.run([*command, *words], cwd=store.root, capture_output=True, text=True, check=False)
        for command in (DVC, dvc())
    ]
    assert len({(one.returncode, one.stdout, one.stderr) for one in said}) == 1, said


def test_a_machine_without_git_is_a_sentence(store, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(Unavailable, match=r"git is not installed"):
        store.head()


@pytest.mark.parametrize("loss", ["a batch was deleted", "the repository was cloned"])
def test_what_is_not_on_this_machine_is_fetched_before_more_is_versioned(copy, tmp_path, loss):
    lay_batch(copy, "two")
    copy.commit_data("Ingest two")
    here = copy
    if loss == "a batch was deleted":
        shutil.rmtree(copy.root / "data" / "batches" / "one")
    else:
        here = DataStore(copy.root.parent / "clone")
        git(copy.root, "clone", "--quiet", str(copy.root), str(here.root))
    here.restore_missing()
    assert sorted(path.name for path in (here.root / "data" / "batches").iterdir()) == ["one", "two"]
    lay_batch(here, "three")
    here.restore_missing()
    here.commit_data("Ingest three")
    assert sorted(path.name for path in (here.root / "data" / "batches").iterdir()) == ["one", "three", "two"]


def test_files_leave_with_the_data_and_come_back_as_they_last_were(copy):
    page, never = copy.root / "quarantine" / "b1" / "report.html", copy.root / "quarantine" / "b1" / "new.html"
    for text in ("first", "second"):
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(text)
        copy.commit_files([page], text)
    never.touch()
    assert copy.uncommitted("quarantine") == ("quarantine/b1/new.html",)
    lay_batch(copy, "two")
    copy.commit_data("Correct", gone=(page, never))
    assert shown(copy, "show", "--name-only", "--format=").split() == ["data.dvc", "quarantine/b1/report.html"]
    assert copy.uncommitted("data.dvc", "quarantine") == ()
    assert not never.exists()
    assert copy.bring_back((page, never)) == (page,)
    assert page.read_text() == "second"
    copy.commit_data("Go back", back=(page,))
    assert copy.tracked((page, never)) == (page,)
    assert copy.uncommitted("quarantine") == ()


@pytest.mark.parametrize("cleared", ["the cache of what is not in use", "the whole cache"])
def test_what_is_dropped_is_kept_until_somebody_says_otherwise(copy, cleared):
    lay_batch(copy, "two")
    copy.commit_data("Ingest two")
    assert copy.keep_dropped("none", "batches/none") is None
    file = copy.keep_dropped("one", "batches/one")
    assert file == copy.root / "dropped" / "one.dvc"
    shutil.rmtree(copy.root / "data" / "batches" / "one")
    copy.commit_data("Drop one", back=(file,))
    assert shown(copy, "status", "--porcelain") == ""
    if cleared == "the whole cache":
        shutil.rmtree(copy.root / ".dvc" / "cache")
    else:
        (copy.root / ".dvc" / "config").write_text("")  # no remote: it is the last copy
        copy._run(*DVC, "gc", "--workspace", "--force")
        assert copy._listing(), "what is in use is kept as well"
    copy.pull(["dropped/one.dvc"])
    assert (copy.root / "dropped" / "one" / "images.parquet").read_text() == "images of one"
