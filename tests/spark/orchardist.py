"""What the Spark suite builds from: arrivals of a folder, and the work that a query is given."""

from datetime import UTC, datetime
from pathlib import Path

from conf.storage import FolderStorage, folder_e_tag
from conf.uris import uri_of
from streaming.shelf import Compiled
from streaming.worker import Work

Row = tuple[str, str, datetime, datetime, int, int]
SCHEMA = "uri string, e_tag string, landed_at timestamp, discovered_at timestamp, attempt int, size bigint"


def work_on(landing: Path, compiled: Compiled, model: Path, pixel_limit: int = 80_000_000) -> Work:
    """Return the work on pictures of `landing` with a compiled backbone."""
    return Work(
        backbone=compiled.backbone,
        model=str(model),
        storage=FolderStorage(str(landing)),
        landing=uri_of(landing),
        label="parent",
        pixel_limit=pixel_limit,
        byte_limit=1 << 28,
    )


def arrival(path: Path) -> Row:
    """Return the arrival of a file, in the order of `SCHEMA`."""
    status = path.stat()
    landed = datetime.fromtimestamp(status.st_mtime, UTC)
    return uri_of(path), folder_e_tag(status), landed, datetime.now(UTC), 1, status.st_size
