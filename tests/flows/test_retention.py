"""What Prefect's database keeps of past nights, and for how long."""

import sqlite3
from datetime import UTC, datetime, timedelta

import pytest

from flows.servers.aftermath import connected
from flows.servers.processes import REMEMBERED_DAYS, prefect_api
from tasks.workspace.workspace import Workspace


def a_night(client) -> str:
    """The flow run of a night that has ended, with a line in its log."""
    from prefect import flow
    from prefect.client.schemas.actions import LogCreate
    from prefect.states import Completed

    run = client.create_flow_run(flow(name="night")(lambda: None), state=Completed())
    line = LogCreate(name="retain", level=20, message="ingest", timestamp=datetime.now(UTC), flow_run_id=run.id)
    client.create_logs([line])
    return str(run.id)


def kept(database: sqlite3.Connection, table: str, column: str) -> set[str]:
    return {str(value).replace("-", "") for (value,) in database.execute(f"SELECT {column} FROM {table}")}


@pytest.mark.slow
def test_nights_of_more_than_a_year_ago_and_events_of_more_than_a_week_are_forgotten(tmp_path, until):
    place = Workspace(tmp_path)
    with prefect_api(place), connected() as client:
        old, young = (a_night(client).replace("-", "") for _ in range(2))
    database = sqlite3.connect(place.prefect_home / "prefect.db", timeout=60)
    for run, days in ((old, REMEMBERED_DAYS + 1), (young, REMEMBERED_DAYS - 1)):
        end = (datetime.now(UTC) - timedelta(days=days)).strftime("%Y-%m-%d %H:%M:%S.%f")
        database.execute("UPDATE flow_run SET end_time = ? WHERE replace(id, '-', '') = ?", (end, run))
    (events,) = database.execute("SELECT count(*) FROM events").fetchone()
    assert events
    week = (datetime.now(UTC) - timedelta(days=8)).strftime("%Y-%m-%d %H:%M:%S.%f")
    database.execute("UPDATE events SET occurred = ?", (week,))
    database.commit()
    assert kept(database, "flow_run", "id") == kept(database, "log", "flow_run_id") == {old, young}

    with prefect_api(place):
        until(30, lambda: kept(database, "flow_run", "id") == kept(database, "log", "flow_run_id") == {young})
        until(
            30, lambda: database.execute("SELECT count(*) FROM events WHERE occurred = ?", (week,)).fetchone() == (0,)
        )
    database.close()
