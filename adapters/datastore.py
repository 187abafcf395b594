"""Git and DVC: which data exist, unchanged for ever.

Both are called as programs, with lists of arguments and never through a shell; DVC's Python interface is internal.
One call of DVC takes a second or two, one of Git a few milliseconds, so DVC is called as seldom as can be.
"""

import configparser
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from records.errors import DamagedState, NotAWorkspace, RetainError, Unavailable

DATA, DROPPED = "data", "dropped"
REMOTE = "storage"
"""Name of the DVC remote that `init` adds."""

GIT = ("git", "-c", "commit.gpgsign=false", "-c", f"core.hooksPath={os.devnull}", "-c", "core.quotePath=false")
"""A person's signing key and hooks are for a person's commits; a night must not wait for either."""
DVC = (sys.executable, "-m", "dvc")

DVC_SETTINGS = "[core]\n    analytics = false\n    check_update = false\n    autostage = false\n"
ELSEWHERE = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR")
"""Variables that point Git to another repository; they are set inside hooks and aliases."""
LOST = "Some of the cache files do not exist"
"""What DVC says, with exit code 0, when it is to push data that are not there."""


@dataclass(frozen=True)
class DataStore:
    """The Git and DVC repository of a workspace.

    Every method raises `NotAWorkspace` if there is none at `root`, and `Unavailable`, with the last thing that the tool
    said, if the tool is missing, fails, or finds no space on the disk or no answer from the remote.
    """

    root: Path

    def init(self, remote: str | None = None) -> None:
        """Make the repository, or what is missing of it, and commit DVC's own files.

        `remote`: address of a default DVC remote, a folder or what DVC knows as URL; relative to `root`.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        if not (self.root / ".git").exists():
            self._run(*GIT, "init", "--quiet", "--initial-branch=main")
        config = self.root / ".dvc" / "config"
        if not config.exists():
            self._run(*DVC, "init")
            config.write_text(DVC_SETTINGS, encoding="utf-8")
        if remote is not None:
            self._run(*DVC, "remote", "add", "--force", "--default", "--", REMOTE, remote)
        self.commit_files([".dvc/config", ".dvc/.gitignore", ".dvcignore"], "Begin to version data with DVC")

    def commit_data(self, message: str, gone: Sequence[Path] = (), back: Sequence[Path] = ()) -> str:
        """Version what lies in `data/`, push it if there is a default remote, then commit. Gives Git's HEAD.

        Pushed first: no commit names data that nobody else can get, and what is committed need not be pushed again.
        Nothing new is no error. `gone`: files that leave the repository in the same commit, removed last of all.
        `back`: files that `bring_back` put into their places.
        """
        self._require()
        self._run(*DVC, "add", DATA)
        names = (f"{DATA}.dvc", ".gitignore")
        if self.has_remote() and self._run(*GIT, "status", "--porcelain", "--", *names).stdout:
            self.push()
        leaving = self.tracked(gone)
        for path in gone:
            path.unlink(missing_ok=True)
        return self.commit_files((*names, *leaving, *back), message)

    def bring_back(self, paths: Sequence[Path]) -> tuple[Path, ...]:
        """Put files that were once committed and then removed into their places, as they last were; gives those found.

        Nothing is committed.
        """
        self._require()
        found = []
        for path in paths:
            name = os.path.relpath(path, self.root)
            removed = self._run(*GIT, "log", "-1", "--diff-filter=D", "--format=%H", "--", name).stdout.strip()
            if removed:
                self._run(*GIT, "checkout", "--quiet", f"{removed}^", "--", name)
                found.append(path)
        return tuple(found)

    def uncommitted(self, *paths: Path | str) -> tuple[str, ...]:
        """Names, relative to `root`, below these paths that are new, changed or gone since the last commit."""
        self._require()
        names = [os.path.relpath(self.root / path, self.root) for path in paths]
        lines = self._run(*GIT, "status", "--porcelain", "--", *names).stdout.splitlines()
        return tuple(line[3:] for line in lines)

    def tracked(self, paths: Sequence[Path]) -> tuple[Path, ...]:
        """Those of the paths that Git knows."""
        return tuple(p for p in paths if self._run(*GIT, "ls-files", "--", os.path.relpath(p, self.root)).stdout)

    def commit_files(self, paths: Sequence[Path | str], message: str) -> str:
        """Commit small files or folders, new, changed or deleted, and nothing else. Gives Git's HEAD.

        `paths` lie below `root` or are relative to it. Nothing new to commit is no error.
        """
        self._require()
        names = [os.path.relpath(self.root / path, self.root) for path in paths]
        self._run(*GIT, "add", "--all", "--", *names)
        if self._call(*GIT, "diff", "--cached", "--quiet", "--", *names).returncode != 0:
            self._name_somebody()
            self._run(*GIT, "commit", "--quiet", "--message", message, "--", *names)
        return self.head()

    def push(self) -> None:
        """Copy `data/` as it was last versioned to the default remote.

        Raises `DamagedState` if some of it is neither in the cache nor there: DVC itself calls that up to date.
        """
        self._require()
        if LOST in self._run(*DVC, "push", DATA).stderr:
            raise DamagedState(
                f"Data that {self.root / 'data.dvc'} names are neither in DVC's cache nor on the remote. "
                "Bring the cache back, or check out an earlier commit."
            )

    def pull(self, targets: Sequence[str] = (DATA,)) -> None:
        """Put versioned files into their places: from the default remote if there is one, else from the local cache."""
        self._require()
        self._run(*DVC, "pull" if self.has_remote() else "checkout", "--", *targets)

    def restore_missing(self) -> None:
        """Fetch what `data.dvc` names and is not here, or the next `commit_data` would commit that it is gone.

        Raises `DamagedState` if it cannot be had.
        """
        if not self.data_revision():
            return
        listed = self._listing()
        if listed is None or not all((self.root / DATA / path).exists() for path in listed):
            self.pull()
            missing = [path for path in self._listing() or () if not (self.root / DATA / path).exists()]
            if missing:
                raise DamagedState(f"{self.root / DATA / missing[0]} is named by data.dvc and cannot be fetched.")

    def committed_data(self) -> frozenset[str] | None:
        """Files, relative to `data/`, that the committed `data.dvc` names; None if this machine does not know."""
        revision = self._committed_revision()
        listed = self._listing(revision) if revision else None
        return None if listed is None else frozenset(listed)

    def keep_dropped(self, name: str, folder: str) -> Path | None:
        """Name the files that the committed data have in `folder`, relative to `data/`, in `dropped/<name>.dvc` too.

        As long as that file is there, `dvc gc -w` keeps them after they left `data/`. Gives its path, for a commit;
        None if this machine has no list of the data, which then are on the remote.
        """
        entries = [
            {"md5": md5, "relpath": path.removeprefix(f"{folder}/")}
            for path, md5 in sorted((self._listing(self._committed_revision() or "none") or {}).items())
            if path.startswith(f"{folder}/")
        ]
        if not entries:
            return None
        # A folder is to DVC an object of its own: the list of what is in it, called by its digest.
        content = json.dumps(entries, sort_keys=True).encode()
        revision = f"{hashlib.md5(content, usedforsecurity=False).hexdigest()}.dir"
        _write_once(self._object(revision), content)
        out = {"md5": revision, "nfiles": len(entries), "hash": "md5", "path": name}
        file = self.root / DROPPED / f"{name}.dvc"
        file.parent.mkdir(exist_ok=True)
        file.write_text(yaml.safe_dump({"outs": [out]}, sort_keys=False), encoding="utf-8")
        if self.has_remote():
            self._run(*DVC, "push", "--", os.path.relpath(file, self.root))
        return file

    def _committed_revision(self) -> str:
        done = self._call(*GIT, "show", f"HEAD:./{DATA}.dvc")
        outputs = (yaml.safe_load(done.stdout) or {}).get("outs", ()) if done.returncode == 0 else ()
        return str(outputs[0]["md5"]) if outputs else ""

    def _listing(self, revision: str = "") -> dict[str, str] | None:
        """Files that `data.dvc` names, now or at a `revision` of the data, with their digests, from DVC's cache; None
        if that list is not on this machine.
        """
        listing = self._object(revision or self.data_revision())
        if not listing.exists():
            return None
        entries = json.loads(listing.read_text(encoding="utf-8"))
        return {str(entry["relpath"]): str(entry["md5"]) for entry in entries}

    def _object(self, digest: str) -> Path:
        return self._cache() / "files" / "md5" / digest[:2] / digest[2:]

    def _cache(self) -> Path:
        config = configparser.ConfigParser(interpolation=None, strict=False)
        config.read([self.root / ".dvc" / "config", self.root / ".dvc" / "config.local"], encoding="utf-8")
        return self.root / ".dvc" / config.get("cache", "dir", fallback="cache")

    def record_stages(self) -> None:
        """Tell DVC that the outputs of all stages of dvc.yaml are as they should be. It writes dvc.lock."""
        self._require()
        self._run(*DVC, "commit", "--force", "dvc.yaml")

    def data_revision(self) -> str:
        """The digest by which DVC knows `data/`: 32 hex digits and `.dir`. Empty before any data were versioned."""
        try:
            content = yaml.safe_load((self.root / f"{DATA}.dvc").read_text(encoding="utf-8"))
            return str(content["outs"][0]["md5"])
        except FileNotFoundError:
            return ""
        except (yaml.YAMLError, UnicodeDecodeError, LookupError, TypeError):
            raise DamagedState(f"{self.root / 'data.dvc'} is not as DVC writes it. Restore it from Git.") from None

    def head(self) -> str:
        """The commit that is checked out, 40 hex digits."""
        self._require()
        return self._run(*GIT, "rev-parse", "--verify", "HEAD").stdout.strip()

    def has_remote(self) -> bool:
        """True if the repository has a default DVC remote."""
        return bool(self._settings().get("core", "remote", fallback=""))

    def remote(self) -> str:
        """Address of the default DVC remote; empty if there is none."""
        settings = self._settings()
        name = settings.get("core", "remote", fallback="")
        # DVC writes the quotes.
        return settings.get(f"'remote \"{name}\"'", "url", fallback="")

    def _settings(self) -> configparser.ConfigParser:
        """DVC's settings, read from its files: asking DVC takes a second."""
        config = configparser.ConfigParser(interpolation=None, strict=False)
        try:
            config.read([self.root / ".dvc" / "config", self.root / ".dvc" / "config.local"], encoding="utf-8")
        except configparser.Error as error:
            raise DamagedState(f"{self.root / '.dvc' / 'config'} is not readable: {error.message}") from None
        return config

    def _require(self) -> None:
        # Git would look further up, and find the repository of something else.
        for name in (".git", ".dvc"):
            if not (self.root / name).exists():
                raise NotAWorkspace(
                    f"{self.root} is not a retain workspace: it has no {name}. Make one with `retain init`."
                )

    def _name_somebody(self) -> None:
        """Git commits nothing without a name and an address; where nobody set them, the program signs."""
        for key, value in (("user.name", "retain"), ("user.email", "retain@localhost")):
            if self._call(*GIT, "config", "--get", key).returncode != 0:
                self._run(*GIT, "config", "--local", key, value)

    def _run(self, *command: str) -> subprocess.CompletedProcess[str]:
        done = self._call(*command)
        if done.returncode != 0:
            raise self._failure(command, done)
        return done

    def _call(self, *command: str) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(
                command,
                cwd=self.root,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                check=False,
            )
        except FileNotFoundError:
            raise Unavailable(f"{command[0]} is not installed or not on the PATH, or {self.root} is gone.") from None

    def _failure(self, command: Sequence[str], done: subprocess.CompletedProcess[str]) -> RetainError:
        if "No space left on device" in done.stderr or "Disk quota exceeded" in done.stderr:
            return Unavailable(
                f"The disk that holds {self.root}, or DVC's remote, is full. Free some space and try again."
            )
        tool, words = ("dvc", command[len(DVC) :]) if command[: len(DVC)] == DVC else ("git", command[len(GIT) :])
        return Unavailable(f"`{tool} {words[0]}` failed in {self.root}: {_last_words(done)}")


def _write_once(path: Path, content: bytes) -> None:
    """As DVC writes into its cache: whole or not at all, and for reading only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_bytes(content)
    unfinished.chmod(0o444)
    os.replace(unfinished, path)


def _environment() -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if key not in ELSEWHERE}
    return {**kept, "DVC_NO_ANALYTICS": "1", "DO_NOT_TRACK": "1", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C.UTF-8"}


def _last_words(done: subprocess.CompletedProcess[str]) -> str:
    """The line that says what went wrong: the last that is marked as an error, else the last of all."""
    lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    marked = [line.split(":", 1)[1].strip() for line in lines if line.lower().startswith(("error:", "fatal:"))]
    return (marked or lines or [f"exit code {done.returncode}"])[-1]
