"""Upkeep beside running queries: nobody who reads or writes the tables notices."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from deltalake import DeltaTable

from bootstrap import orchard
from conf import compaction, upkeep
from conf.lake import LakePaths
from conf.schemas import ARRIVALS, FEATURES, Table
from streaming import keeper
from streaming.totals import Totals
from streaming.upkeeping import keep_up
from tests.spark.conftest import Run
from tests.spark.ledger import assert_complete


@pytest.mark.long
def test_a_query_goes_on_over_merged_files_and_a_short_log(
    run: Run, landing: Path, lake: LakePaths, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """While it runs, after a restart, and when its old entries of the log and old files are gone; with no adoption."""
    monkeypatch.setattr(compaction, "_FEW_FILES", 3)
    monkeypatch.setattr(upkeep, "_MOST_VERSIONS", 2)
    monkeypatch.setattr(keeper, "_COMPACT_EVERY", 3)
    planted = 24

    def land(totals: Totals) -> None:
        nonlocal planted
        if totals.backlog == 0 and totals.landed == planted:
            orchard.plant(landing, 1, seed=1, start=planted)
            planted += 1

    def merged(totals: Totals) -> bool:
        land(totals)
        return merges(ARRIVALS) >= 2 and merges(FEATURES) >= 2

    def merges(table: Table) -> int:
        log = Path(lake.table(table), "_delta_log").glob("[0-9]*.json")
        return sum('"remove"' in each.read_text() for each in log)

    def went_on(totals: Totals) -> bool:
        land(totals)
        return totals.featurized >= 3

    run(once=False, poll=0.1, trigger=0.0, upkeep=1.0, watch=merged)
    DeltaTable(lake.table(ARRIVALS)).create_checkpoint()
    run(once=False, poll=0.1, trigger=0.0, watch=went_on)
    answer = keep_up(lake, 0, 5000, datetime.now(UTC), queries_run=False)
    assert answer.facts["log_entries"] > 3
    assert answer.facts["deleted"] >= 4
    land(run())
    assert run().featurized == 1
    assert_complete(lake, landing)
    assert not [record for record in caplog.records if "the checkpoint is of no use" in record.message]
