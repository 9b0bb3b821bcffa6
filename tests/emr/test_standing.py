"""How a deployment stands: jobs beside the lake."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bootstrap.emr import standing
from bootstrap.emr.serverless import Serverless
from conf.errors import LakeError
from conf.settings import Settings
from tests.emr.deployed import MORNING, OUTPUTS, Said, deployed, scripted
from tests.emr.test_serverless import ID, OF, looked, run, there
from tests.unit.lakes import Orchard

URL = Said("get_dashboard_for_job_run", {"url": "https://pages"}, OF)
NO_PAGES = Said("get_dashboard_for_job_run", refused="ValidationException", message="not started")
USED = {"vCPUHour": 1234.56, "memoryGBHour": 40.0, "storageGBHour": 0.0}
WELL: dict[str, Any] = {"well": True, "unwell": []}


def found(*script: Said, lake: dict[str, Any] | LakeError = WELL, drained: bool = False) -> dict[str, Any]:
    """Give how a deployment stands whose services and lake answer so."""

    def status(place: str, settings: Settings) -> dict[str, Any]:
        assert (place, settings) == (OUTPUTS["Lake"], Settings(unwell_after=60))
        if isinstance(lake, LakeError):
            raise lake
        return lake

    with scripted("emr-serverless", *script) as client:
        here = deployed(drained=drained)
        return standing.found(Serverless(here, client), here, Settings(unwell_after=60), status)


def test_a_stream_that_runs_on_a_lake_that_is_well_is_well() -> None:
    """With attempt, since when, what it has used, and where Spark's pages are; all of it is JSON."""
    again = MORNING + timedelta(hours=3)
    job = looked("RUNNING", attempt=3, attemptCreatedAt=again, totalResourceUtilization=USED)
    told = found(there(run("RUNNING")), job, there(run("RUNNING")), URL)
    assert (told["well"], told["unwell"], told["lake"]) == (True, [], WELL)
    assert (told["stack"], told["platform"], told["region"]) == ("verger", "serverless", "eu-west-3")
    assert (told["spark_ui"], told["spark_ui_missing"]) == ("https://pages", "")
    stream = json.loads(json.dumps(told))["stream"]
    assert (stream["id"], stream["state"], stream["attempt"]) == (ID, "RUNNING", 3)
    assert (stream["since"], stream["vcpu_hours"]) == ("2026-11-20T11:00:00+00:00", 1234.56)
    assert told["refit"] is None


@pytest.mark.parametrize("state", ["SUCCESS", "FAILED", "CANCELLED", "PENDING"])
def test_a_stream_that_does_not_run_is_unwell(state: str) -> None:
    """Whatever it does instead, in the service's words."""
    told = found(there(run(state)), looked(state), there(run(state)), NO_PAGES)
    assert told["unwell"] == [f"the stream does not run: {ID} is {state} (says the service)"]
    assert "not started" in told["spark_ui_missing"]


@pytest.mark.parametrize("state", ["SUCCESS", "RUNNING", "SCHEDULED"])
def test_a_landing_that_a_schedule_drains_needs_no_stream_that_runs(state: str) -> None:
    """The last job has drained it, or is about to."""
    assert found(there(run(state)), looked(state), there(run(state)), NO_PAGES, drained=True)["well"]


def test_a_landing_that_was_not_drained_is_unwell() -> None:
    """Before the first drain there is nothing to say."""
    told = found(there(run("FAILED")), looked("FAILED"), there(run("FAILED")), NO_PAGES, drained=True)
    assert told["unwell"] == [f"the landing was not drained: {ID} is FAILED (says the service)"]
    assert found(there(), there(), drained=True)["well"]


def test_nothing_that_was_ever_submitted_is_unwell() -> None:
    """The lake is looked at all the same."""
    told = found(there(), there(), lake={"well": False, "unwell": ["the backlog stands still"]})
    assert told["unwell"] == ["no stream was ever submitted", "the backlog stands still"]
    assert told["spark_ui_missing"] == "nothing has run"


def test_a_lake_that_cannot_be_read_is_told_beside_the_jobs() -> None:
    """As one of the reasons."""
    missing = LakeError("no lake at s3://lake/lake")
    told = found(there(run("RUNNING")), looked("RUNNING"), there(run("RUNNING")), URL, lake=missing)
    assert (told["lake"], told["unwell"]) == (None, ["no lake at s3://lake/lake"])


def test_a_refit_is_told_too() -> None:
    """The newest, and its state is no reason to be unwell."""
    runs = there(run("RUNNING"), run("FAILED", name="verger refit"))
    told = found(runs, looked("RUNNING"), runs, looked("FAILED", name="verger refit"), URL)
    assert (told["refit"]["state"], told["well"]) == ("FAILED", True)


def test_a_person_sees_jobs_and_lake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Lines on standard output, the reasons on standard error."""
    lake = standing._status(str(Orchard(tmp_path / "lake").root), Settings())
    job = looked("RUNNING", attempt=3, totalResourceUtilization=USED)
    told = found(there(run("RUNNING")), job, there(run("RUNNING")), URL, lake=lake)
    standing.show({**told, "unwell": ["nobody streams"]})
    shown = capsys.readouterr()
    lines = [" ".join(line.split()) for line in shown.out.splitlines()]
    assert "stack verger in eu-west-3" in lines
    assert any(line.startswith(f"stream job {ID} RUNNING; since 2026-11-20T08:00:00+00:00, ") for line in lines)
    assert any(line.endswith("attempt 3; 1,234.6 vCPU-hours, 40.0 GB-hours") for line in lines)
    assert {"refit job none", "Spark's pages https://pages", "arrivals 0"} <= set(lines)
    assert shown.err == "verger: unwell: nobody streams\n"
