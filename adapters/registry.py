"""The registry: which models exist, which is current, what each learned and why it was accepted. MLflow keeps it.

Which version is current, the alias `champion` says, and nothing else. A version is made and the alias moved in small
steps, each of which can be taken again: a night that was killed between any two of them ends, when it is started again,
with one version and one alias. `champion_since` on a version says that the last step was taken; without that mark, a
version that a person has rolled back could not be told from one whose alias was never moved.

The champion's line is the champion, the version that it was learned on top of, and so on. A version that leaves the
line bears the rollback (`rolled_back` and what goes with it) until it is in the line again; and each rollback is kept
for ever as a tag of the model.
"""

import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapters import runs
from adapters.champion import ROLLBACK, create_version, move_alias, now, rollbacks_of
from adapters.connection import Connection
from adapters.lineage import was_champion
from adapters.lookup import FINISHED, Lookup
from adapters.packaging import Packaging, download, model_of
from adapters.runs import JudgedNight
from records.batch import called
from records.errors import Busy, WrongInput
from records.registration import APPROVAL, Approval, Registration
from records.runs import Rollback, RunFacts, VersionFacts
from records.snapshot import Snapshot

if TYPE_CHECKING:
    from mlflow import MlflowClient

NOTE_LENGTH = 2000
"""Characters of a person's note that MLflow's databases take for certain."""


class Registry:
    """The versions of one model, and the nights that were judged for it.

    Every method raises `Unavailable` if MLflow does not answer or cannot do what it is asked.
    """

    def __init__(self, address: str, artifacts: Path | str | None, model: str) -> None:
        """`artifacts`, a folder or URL, is where a new experiment keeps its files; None leaves that to the MLflow
        server."""
        self.address = address
        self.artifacts = artifacts
        self.model = model
        self._connection = Connection(address)

    def champion(self) -> int:
        """The version in use; 0 if there is none."""
        with self._lookup() as lookup:
            return lookup.champion()

    def start(self, named: int) -> int:
        """The version that the next night learns on top of: the champion, which may be older than the version `named`.

        `named` is the one that the last night learned on top of, 0 if there was none. Raises `WrongInput` if it is not
        here or there is no champion: else what is another registry, or a damaged one, would be filled from scratch.
        """
        with self._lookup() as lookup:
            champion = lookup.champion()
            if champion and not named:
                return champion
            numbers = sorted(int(v.version) for v in lookup.versions(f"name = '{self.model}'"))
        where = f"the registry at {self._connection.shown} ({self._connection.told_by})"
        if named and named not in numbers:
            exist = f"only {', '.join(f'v{n}' for n in numbers)}" if numbers else "no version at all"
            raise WrongInput(
                f"run.json names v{named} of `{self.model}`, but {where} has {exist}. Name the registry that has it in "
                "MLFLOW_TRACKING_URI, or as `mlflow` in workspace.json; to begin anew in this one, remove run.json."
            )
        if named and not champion:
            raise WrongInput(
                f"v{named} of `{self.model}` is in {where}, but no version is the champion there. "
                f"`retain rollback {named}` makes it so."
            )
        return champion

    def versions(self) -> tuple[VersionFacts, ...]:
        """All versions that retain made, oldest first."""
        with self._lookup() as lookup:
            numbers = {facts.run: facts.metrics for facts in lookup.nights(FINISHED)}
            aliases = lookup.aliases()
            found = [v for v in lookup.versions(f"name = '{self.model}'") if "identity" in v.tags]
            facts = [runs.read_version(v, aliases, numbers.get(str(v.run_id), {})) for v in found]
            return tuple(sorted(facts, key=lambda f: f.number))

    def version(self, number: int) -> VersionFacts | None:
        """One version that retain made; None if there is no such one."""
        with self._lookup() as lookup:
            found = [v for v in lookup.versions(f"name = '{self.model}'") if int(v.version) == number]
            if not found or "identity" not in found[0].tags:
                return None
            numbers = runs.read_run(lookup.client.get_run(str(found[0].run_id)), found[0]).metrics
            return runs.read_version(found[0], lookup.aliases(), numbers)

    def runs(self, limit: int = 50) -> tuple[RunFacts, ...]:
        """Judged nights, newest first, those that were refused or are inconclusive too."""
        with self._lookup() as lookup:
            return tuple(lookup.nights(FINISHED, limit))

    def run(self, name: str) -> RunFacts:
        """A judged night by its run id or the beginning of it. Raises `WrongInput` if none or several begin so."""
        with self._lookup() as lookup:
            found = [facts for facts in lookup.nights(FINISHED) if name and facts.run.startswith(name)]
        if len(found) != 1:
            what = f"{len(found)} runs begin with" if found else "No finished run is called"
            raise WrongInput(f"{what} `{name}` in the registry of `{self.model}`; `retain history` lists them.")
        return found[0]

    def find(self, identity: str) -> RunFacts | None:
        """The finished run of a night, if it was logged before: the same identity is the same night."""
        with self._lookup() as lookup:
            return next(iter(lookup.nights(f"{FINISHED} AND tags.identity = '{identity}'", 1)), None)

    def attempt(self, parent: int, batches: Collection[str], identity: str) -> int:
        """Which attempt a night is: one more than those that were judged before it with some of its `batches` on top of
        `parent`. A night that is started again is the attempt that it was."""
        with self._lookup() as lookup:
            judged = lookup.nights(f"{FINISHED} AND tags.parent = '{parent}'")
        others = [facts for facts in judged if not set(batches).isdisjoint(facts.batches)]
        mine = [facts.ended for facts in others if facts.identity == identity]
        before = {facts.identity for facts in others if not mine or facts.ended < min(mine)}
        return len(before - {identity}) + 1

    def registration(self, run: str) -> Registration:
        """Where the candidate of a run is kept now."""
        with self._lookup() as lookup:
            version = lookup.version_of(run)
            number = None if version is None else int(version.version)
            is_champion = number is not None and number == lookup.champion()
            return Registration(run=run, model=self.model, version=number, champion=is_champion)

    def model_uri(self, run: str) -> str:
        """What MLflow loads the model of a run from."""
        with self._lookup() as lookup:
            return f"models:/{model_of(lookup.client, run).model_id}"

    def log_night(self, night: JudgedNight, packaging: Packaging) -> str:
        """Log a night as one run with its model, and give the run's id. What a killed attempt left is deleted first."""
        with self._lookup() as lookup:
            experiment = self._experiment(lookup.client)
            _forget(lookup.client, experiment, f"attributes.status != 'FINISHED' AND {_is_night(night.facts.identity)}")
            number, parent = lookup.next_number(), lookup.by_number().get(night.facts.parent)
            before = None if parent is None else str(parent.run_id)
            return runs.log_night(lookup.client, experiment, night, packaging, number, before)

    def forget_unfinished(self, identity: str) -> None:
        """Delete what a killed night began to log and nobody logs any more; it may never be started again as it was."""
        with self._lookup() as lookup:
            experiment = lookup.client.get_experiment_by_name(self.model)
            if experiment is not None:
                _forget(
                    lookup.client, experiment.experiment_id, f"attributes.status = 'RUNNING' AND {_is_night(identity)}"
                )

    def discard(self, run: str) -> None:
        """Count a run as failed: it is found no more, and its night, when it is started again, is logged anew."""
        with self._lookup() as lookup:
            lookup.client.set_terminated(run, "FAILED")

    def promote(self, run: str, overrule: bool = False) -> int:
        """Make the model of `run` the champion, and give its version; the same run twice is one version.

        Raises `Busy` if the champion is no longer the version that the run started from, unless `overrule`: else what
        was learned in between would be lost from it.
        """
        with self._lookup() as lookup:
            facts, version = lookup.facts(run), lookup.version_of(run)
            if version is not None and was_champion(version):
                return int(version.version)
            current = lookup.champion()
            if current not in (facts.parent, version and int(version.version)) and not overrule:
                raise Busy(
                    f"v{current} became the champion while this night was learning on top of v{facts.parent}. "
                    "Nothing is lost: its data stay pending, and the next night learns them."
                )
            version = version or create_version(lookup, facts)
            move_alias(lookup, int(version.version))
            return int(version.version)

    def approvable(self, name: str, overrule: bool = False) -> RunFacts:
        """The run that a person wants to let in. Raises `WrongInput` if that needs `overrule`, or makes no sense."""
        facts = self.run(name)
        with self._lookup() as lookup:
            version, champion = lookup.version_of(facts.run), lookup.champion()
        if version is not None and was_champion(version):
            raise WrongInput(f"Run {facts.run} is v{version.version} already; `retain rollback` makes it champion.")
        if facts.decision == "refuse" and not overrule:
            raise WrongInput(
                f"Run {facts.run} was refused: {called(facts.reason, facts.names)} Only an overrule can let it in."
            )
        if champion not in (facts.parent, facts.version) and not overrule:
            raise WrongInput(
                f"Run {facts.run} started from v{facts.parent}, but v{champion} is the champion now, and what it "
                "learned since would be lost. The next night learns the data of that run again; or overrule."
            )
        return facts

    def approve(self, run: str, by: str, note: str, overrule: bool = False, granted: Approval | None = None) -> int:
        """Promote a run that is held or inconclusive because a person says so, and write down who and why.

        `overrule` is needed for a refused run, and for one that did not start from the present champion. Raises
        `WrongInput` without it. What is `granted` is kept with the run's evaluation, before a version can be fetched.
        """
        _check_note(note)
        facts = self.approvable(run, overrule)
        with self._lookup() as lookup:
            if granted is not None:
                lookup.client.log_text(facts.run, granted.model_dump_json(indent=2) + "\n", f"evaluation/{APPROVAL}")
            for name, value in (("approved_by", by), ("approval_note", note), ("approved_at", now())):
                lookup.client.set_tag(facts.run, name, value)
        return self.promote(facts.run, overrule=True)

    def rollback(self, version: int, by: str = "", note: str = "") -> None:
        """Move the alias `champion` to `version`, back or forth, and write down who wished so and why.

        Raises `WrongInput` if there is no such version.
        """
        _check_note(note)
        with self._lookup() as lookup:
            lookup.known(version)
            current = lookup.champion()
            if current == version:
                return
            record = Rollback(at=datetime.now(UTC), left=current, to=version, by=by, note=note)
            if current:
                lookup.client.set_registered_model_tag(
                    self.model, f"{ROLLBACK}{record.at:%Y-%m-%dT%H:%M:%S.%f}", record.model_dump_json()
                )
            move_alias(lookup, version, record)

    def rollbacks(self) -> tuple[Rollback, ...]:
        """All of them, newest first; of those that were made before they were kept, what the versions bear."""
        with self._lookup() as lookup:
            return rollbacks_of(lookup, lookup.versions(f"name = '{self.model}'"))

    def fetch(self, version: int, into: Path) -> Path:
        """The folders `snapshot` and `evaluation` of a version, below `into`/<version>; downloaded once.

        The folder appears when it is complete. Raises `WrongInput` for a version that does not exist.
        """
        with self._lookup() as lookup:
            known = lookup.known(version)
        folder = into / str(version)
        if not _holds(folder, known.tags.get("identity", "")):
            self.fetch_run(str(known.run_id), folder)
        return folder

    def fetch_run(self, run: str, folder: Path) -> Path:
        """The folders `snapshot` and `evaluation` of a run, as `folder`, which they replace in one motion."""
        with self._lookup() as lookup:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as place:
                new = Path(place) / "new"
                new.mkdir()
                download(lookup.client, self.address, run, new)
                if folder.exists():
                    folder.rename(Path(place) / "old")
                new.rename(folder)
        return folder

    @contextmanager
    def _lookup(self) -> Iterator[Lookup]:
        with self._connection.open() as client:
            yield Lookup(client, self.model)

    def _experiment(self, client: "MlflowClient") -> str:
        found = client.get_experiment_by_name(self.model)
        if found is not None:
            return str(found.experiment_id)
        return str(client.create_experiment(self.model, artifact_location=_location(self.artifacts)))


def _location(artifacts: Path | str | None) -> str | None:
    """As MLflow wants it: a URL."""
    if artifacts is None or "://" in str(artifacts):
        return None if artifacts is None else str(artifacts)
    return Path(artifacts).absolute().as_uri()


def _check_note(note: str) -> None:
    if len(note) > NOTE_LENGTH:
        raise WrongInput(f"The note has {len(note):,} characters; at most {NOTE_LENGTH:,} are kept.")


def _is_night(identity: str) -> str:
    return f"tags.identity = '{identity}'"


def _forget(client: "MlflowClient", experiment: str, which: str) -> None:
    for run in client.search_runs([experiment], which):
        client.set_terminated(run.info.run_id, "KILLED")
        _delete(client, run)


def _delete(client: "MlflowClient", run: Any) -> None:
    logged = f"source_run_id = '{run.info.run_id}'"
    for model in client.search_logged_models([run.info.experiment_id], logged):
        client.delete_logged_model(model.model_id)
    client.delete_run(run.info.run_id)


def _holds(folder: Path, identity: str) -> bool:
    record = folder / "snapshot" / "snapshot.json"
    return record.exists() and (folder / "evaluation").is_dir() and Snapshot.read(record).identity == identity
