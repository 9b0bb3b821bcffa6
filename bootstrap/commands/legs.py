"""The two legs: the stream and the refit."""

import signal
from typing import Annotated

from bootstrap import feature_space, live, terminal
from bootstrap.commands.backbones import BACKBONE
from bootstrap.commands.group import AS_JSON, group
from bootstrap.options import takes
from bootstrap.process import stop_on_signals
from conf.settings import Resolved

app = group()
STREAM = (
    "landing", "lake", "once", "landing_access", "discover", "queue", "reconcile", *BACKBONE, "label", "settle", "poll",
    "trigger", "batch_pictures", "pixel_limit", "byte_limit", "skip_extensions",
    "decode_seconds", "idle_timeout", "upkeep", "vacuum_days", "audit", "lease", "cores", "spark_conf",
)  # fmt: skip
REFIT = (
    "lake", "featurizer", "components", "variance", "solver", "full", "vacuum_days", "lease", "cores", "spark_conf",
)  # fmt: skip


@app.command()
@takes(*STREAM)
def stream(resolved: Resolved) -> None:
    """Turn pictures into rows of the features table as they land, until stopped."""
    from streaming import stream as leg  # here, as PySpark's import would slow every other command

    stop = stop_on_signals()
    with live.live() as show:
        report = show.draining if resolved.settings.once else show.totals
        totals = leg.run(resolved.settings, stop, report=report, say=show.say)
    terminal.summary(totals, resolved.settings.lake)


@app.command()
@takes(*REFIT)
def refit(resolved: Resolved, as_json: Annotated[bool, AS_JSON] = False) -> None:
    """Refit standardisation and PCA, in proportion to what has changed, and publish every picture's components."""
    from batch import refit as leg

    # As Ctrl-C does: Spark and its temporary files go with the process.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with live.live() as show:
        done = leg.run(resolved.settings, say=show.say)
    feature_space.refitted(done, as_json)
