"""Corpus: small files, each with an outcome of its own, kept as files of a folder beside what is expected of them."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from pathlib import Path

from tests.fuzz.outcome import Outcome

CORPUS = Path(__file__).with_name("corpus")
_EXPECTED = "outcomes.json"


@dataclass(frozen=True)
class Case:
    """A file and its outcome, as decoded to `STILL` within `LIMIT` of the tests' pictures."""

    data: bytes
    outcome: Outcome

    @property
    def name(self) -> str:
        """Give the file's name: what it looks like, what becomes of it, and a hash."""
        return f"{self.outcome.kind}-{self.outcome.result}-{hashlib.sha256(self.data).hexdigest()[:8]}"


def read(folder: Path = CORPUS) -> list[Case]:
    """Read a corpus; a folder that is missing holds none."""
    listed = folder / _EXPECTED
    expected = json.loads(listed.read_text()) if listed.exists() else {}
    return [Case((folder / name).read_bytes(), Outcome(*outcome)) for name, outcome in expected.items()]


def write(folder: Path, cases: Iterable[Case]) -> None:
    """Make a folder hold these cases and no other."""
    folder.mkdir(parents=True, exist_ok=True)
    for case in read(folder):
        (folder / case.name).unlink(missing_ok=True)
    kept = sorted(cases, key=lambda case: case.name)
    for case in kept:
        (folder / case.name).write_bytes(case.data)
    lines = (f"  {json.dumps(case.name)}: {json.dumps(astuple(case.outcome))}" for case in kept)
    (folder / _EXPECTED).write_text("{\n" + ",\n".join(lines) + "\n}\n")
