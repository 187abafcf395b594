"""What MLflow has of one registered model, looked up: its nights, its versions, its aliases."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from adapters import runs
from records.errors import WrongInput
from records.runs import RunFacts

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

CHAMPION = "champion"
FINISHED = "attributes.status = 'FINISHED'"
AT_ONCE = 1000


@dataclass(frozen=True)
class Lookup:
    """A model in MLflow, by an open client."""

    client: "MlflowClient"
    model: str

    def nights(self, which: str, limit: int | None = None) -> list[RunFacts]:
        """Judged nights by a filter of MLflow's, newest first."""
        experiment = self.client.get_experiment_by_name(self.model)
        if experiment is None:
            return []
        versions = {v.run_id: v for v in self.versions(f"name = '{self.model}'")}
        order = ["attributes.end_time DESC"]

        def search(token: str | None) -> Any:
            return self.client.search_runs(
                [experiment.experiment_id], which, max_results=limit or AT_ONCE, order_by=order, page_token=token
            )

        found = search(None) if limit else _pages(search)
        return [runs.read_run(run, versions.get(run.info.run_id)) for run in found if "identity" in run.data.tags]

    def next_number(self) -> int:
        """Which night the next one is."""
        last = self.nights(FINISHED, 1)
        if last and not last[0].number:  # An earlier retain did not number them.
            return len(self.nights(FINISHED)) + 1
        return last[0].number + 1 if last else 1

    def by_number(self) -> "dict[int, ModelVersion]":
        """The versions that retain made."""
        found = self.versions(f"name = '{self.model}'")
        return {int(v.version): v for v in found if "identity" in v.tags}

    def facts(self, run: str) -> RunFacts:
        """What a run says of its night."""
        return runs.read_run(self.client.get_run(run), None)

    def versions(self, which: str) -> "list[ModelVersion]":
        """Versions by a filter of MLflow's, those that somebody else made too."""
        return _pages(lambda token: self.client.search_model_versions(which, max_results=AT_ONCE, page_token=token))

    def version_of(self, run: str) -> "ModelVersion | None":
        """The version that was made of a run, the first if there are several."""
        found = [v for v in self.versions(f"run_id = '{run}'") if v.name == self.model]
        return min(found, key=lambda v: int(v.version), default=None)

    def known(self, version: int) -> "ModelVersion":
        """A version that retain made. Raises `WrongInput` if there is no such one."""
        numbers = self.by_number()
        if version not in numbers:
            exist = f"there are {', '.join(f'v{n}' for n in sorted(numbers))}" if numbers else "there is none yet"
            raise WrongInput(f"Model `{self.model}` has no version {version}; {exist}.")
        return numbers[version]

    def aliases(self) -> dict[str, int]:
        """Alias to version."""
        found = self.client.search_registered_models(f"name = '{self.model}'")
        return {alias: int(version) for model in found for alias, version in model.aliases.items()}

    def champion(self) -> int:
        """The version in use; 0 if there is none."""
        return self.aliases().get(CHAMPION, 0)


def _pages(search: Callable[[str | None], Any]) -> list[Any]:
    found: list[Any] = []
    token: str | None = None
    while True:
        page = search(token)
        found += page
        token = page.token
        if not token:
            return found
