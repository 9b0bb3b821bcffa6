"""The checkpoints of a lake, as files: what they say, and how they are harmed."""

import json
import os
import shutil
from pathlib import Path

from tests.faults.stage import Stage


def numbers(stage: Stage, kind: str) -> set[int]:
    found: set[int] = set()
    for folder in _folders(stage):
        try:
            found |= {int(entry.name) for entry in os.scandir(folder / kind) if entry.name.isdecimal()}
        except OSError:
            continue
    return found


def sunk(stage: Stage) -> int:
    """Return the last micro-batch that the newest commits of features tell of."""
    log = Path(stage.lake) / "features" / "_delta_log"
    try:
        newest = sorted(entry.name for entry in os.scandir(log) if entry.name.endswith(".json"))[-3:]
        texts = [(log / name).read_text() for name in newest]
    except OSError:
        return -1
    actions = [json.loads(line) for text in texts for line in text.splitlines() if line.startswith('{"txn"')]
    # Adoptions are transactions, too, of an application of another name.
    return max((each["txn"]["version"] for each in actions if "verger" not in each["txn"]["appId"]), default=-1)


def _folders(stage: Stage) -> list[Path]:
    return [each for each in (Path(stage.lake) / "checkpoints").glob("*") if (each / "metadata").exists()]


def harm(stage: Stage, harm: str) -> None:
    if stage.backend is not None:
        _delete_objects(stage)
        return
    for folder in _folders(stage):
        if harm == "deleted":
            shutil.rmtree(folder)
        elif harm == "truncated":
            victim = stage.random.choice(sorted(path for path in folder.rglob("*") if path.is_file()))
            stage.note(f"cut {victim.relative_to(folder)}")
            victim.write_bytes(victim.read_bytes()[: victim.stat().st_size // 2])
        elif harm == "foreign":
            for path in sorted(folder.glob("offsets/[0-9]*")):
                _rewritten(path, '"reservoirId":"', '"reservoirId":"0')


def _rewritten(path: Path, old: str, new: str) -> None:
    path.write_text(path.read_text().replace(old, new))
    path.with_name(f".{path.name}.crc").unlink(missing_ok=True)


def _delete_objects(stage: Stage) -> None:
    assert stage.backend is not None
    client, bucket = stage.backend.cloud.client("s3"), stage.lake.split("/")[2]
    for each in client.list_objects_v2(Bucket=bucket, Prefix="lake/checkpoints/").get("Contents", ()):
        client.delete_object(Bucket=bucket, Key=each["Key"])


def copied(stage: Stage) -> Path:
    kept = stage.folder / "kept"
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(Path(stage.lake) / "checkpoints", kept)
    return kept


def replace(stage: Stage, kept: Path) -> None:
    shutil.rmtree(Path(stage.lake) / "checkpoints")
    shutil.copytree(kept, Path(stage.lake) / "checkpoints")
