"""Dropping a featurizer: its rows, its checkpoints and its compiled backbone leave the lake."""

import re
from collections.abc import Collection

from conf.deletion import delete_rows, quoted
from conf.errors import StorageError, UsageError
from conf.featurizers import featurized, meant
from conf.files import remove_tree
from conf.lake import LakePaths
from conf.schemas import COMPONENTS, FEATURES, MODELS
from conf.tables import count_rows
from conf.uris import Place
from streaming.commands.requests import Answer, Request, amount

# Every table with rows of a featurizer's own; what names the others' rows goes first.
_TABLES = (COMPONENTS, MODELS, FEATURES)


def drop(request: Request, lake: LakePaths, streamed: Collection[str]) -> Answer:
    """Remove everything of the one featurizer that a request means; arrivals stay, they are everybody's.

    Parameters
    ----------
    streamed
        The featurizers that are being streamed; none of them is dropped.

    Raises
    ------
    UsageError
        The request means none or several, or one that is being streamed.
    StorageError
        The lake cannot be written; executing the request again completes it.
    """
    featurizer = meant(request.featurizer, _present(lake))
    if featurizer in streamed:
        raise UsageError(f"{featurizer} is being streamed: stop the stream, or start it without this backbone")
    outcomes = count_rows(lake.table(FEATURES), featurizer=featurizer)
    for table in _TABLES:
        if lake.has(table):
            delete_rows(lake.table(table), f"featurizer = {quoted(featurizer)}")
    try:
        # The manifest last: the featurizer can be named as long as anything of it is left.
        for folder in _checkpoints(lake, featurizer):
            remove_tree(folder)
        for path in sorted(_compiled(lake, featurizer), key=lambda path: path.suffix == ".json"):
            path.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"{featurizer} cannot be dropped: {error}") from error
    sentence = f"{featurizer} dropped, with {amount(outcomes, 'outcome')}; VACUUM deletes their files later"
    return Answer(sentence, {"featurizer": featurizer, "outcomes": outcomes})


def _present(lake: LakePaths) -> list[str]:
    """Return the ids of the featurizers of which there is anything."""
    folders = lake.checkpoints.iterdir() if lake.checkpoints.is_dir() else ()
    named = {*(path.name for path in folders), *(path.stem for path in lake.backbones.glob("*.json"))}
    return sorted({*featurized(lake), *named})


def _checkpoints(lake: LakePaths, featurizer: str) -> list[Place]:
    """Return the featurizer's checkpoint and those of it that were set aside, as far as there are any."""
    aside = re.compile(rf"{re.escape(featurizer)}-\d{{8}}T\d+")
    folders = lake.quarantine.iterdir() if lake.quarantine.is_dir() else ()
    found = [lake.checkpoint(featurizer), *(path for path in folders if aside.fullmatch(path.name))]
    return [path for path in found if path.exists()]


def _compiled(lake: LakePaths, featurizer: str) -> list[Place]:
    folder = lake.backbones
    return [path for path in folder.iterdir() if path.stem == featurizer] if folder.is_dir() else []
