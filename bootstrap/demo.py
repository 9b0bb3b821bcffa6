"""`verger demo`: an orchard lands in waves, with windfalls among it; both legs take it all, the view merges them."""

import functools
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

import verger
from batch import refit
from batch.algebra.separation import agreeing
from batch.refit import Refit
from bootstrap import orchard, windfalls
from conf import lease
from conf.errors import UsageError, VergerError
from conf.lake import LakePaths
from conf.session import session, set_sql
from conf.settings import Settings
from streaming import stream
from streaming.commands.execution import LEG
from streaming.totals import Totals

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_MARKER = ".verger-demo"
_BAD, _ODD = "Windfalls", "Oddities"
_SAMPLE = 2000
_SECOND_WAVE_SHARE = 10


class Show(Protocol):
    """What the demo needs of a terminal."""

    def say(self, text: str, done: float = 0, total: float = 0) -> None:
        """Show a step that takes seconds, and how far it is."""

    def totals(self, totals: Totals) -> None:
        """Show where the run stands."""


@dataclass(frozen=True)
class Label:
    """One label's part of the feature space.

    Attributes
    ----------
    label : str
    pictures : int
    nearest : str
        The other label whose mean vector has the greatest cosine.
    purity : float
        Share of pictures whose nearest other picture has the same label.
    """

    label: str
    pictures: int
    nearest: str
    purity: float


@dataclass(frozen=True)
class Shown:
    """What the demo shows at its end."""

    landing: Path
    lake: Path
    landed: int
    second_wave: int
    with_features: int
    rejections: Mapping[str, int]
    labels: list[Label]
    circle: "Circle"


@dataclass(frozen=True)
class Circle:
    """What the batch leg made of it: a refit, what landed after it, and the refit of what had changed.

    Attributes
    ----------
    first, second : Refit
    view : mapping of str to int
        Pictures by source (`batch`, `provisional`) between the two.
    """

    first: Refit
    view: Mapping[str, int]
    second: Refit


def run(folder: Path, pictures: int, seed: int, cores: int, stop: Event, show: Show) -> Shown | None:
    """Draw, land, stream, refit, land more, view, refit what changed; return what happened, None if interrupted.

    Parameters
    ----------
    folder
        Where the landing and the lake go; a former demo's are replaced, a compiled backbone is kept.
    pictures
        How many to draw at first; a tenth of that lands as a second wave while the stream runs, and another after the
        refit.
    seed
        Equal seeds draw equal pictures.
    cores
        As in the settings.
    stop
        Ends the demo early when set.
    show
        The terminal.

    Raises
    ------
    VergerError
        `folder` is somebody else's, or streaming failed.
    """
    landing, lake = _cleared(folder)
    show.say(f"drawing {pictures:,} fruit pictures, and bad and odd files")
    orchard.plant(landing, pictures, seed)
    windfalls.bad_files(landing / _BAD)
    windfalls.odd_files(landing / _ODD)
    second = max(1, pictures // _SECOND_WAVE_SHARE)
    expected = sum(1 for each in landing.rglob("*") if each.is_file()) + second
    finished = Event()
    planted = False

    def watch(totals: Totals) -> None:
        nonlocal planted
        show.totals(totals)
        if totals.last is not None and not planted:
            planted = True
            orchard.plant(landing, second, seed, start=pictures)
        if stop.is_set() or (totals.landed >= expected and totals.backlog == 0):
            finished.set()

    settings = Settings(landing=str(landing), lake=str(lake), cores=cores, settle=1.0, poll=1.0)
    with _shared_session(cores) as sessions:
        totals = stream.run(settings, finished, report=watch, say=show.say, sessions=sessions)
        if stop.is_set():
            return None
        first = refit.run(settings, show.say, sessions)
        orchard.plant(landing, second, seed, start=pictures + second)
        once = replace(settings, once=True)
        totals = stream.run(once, stop, report=show.totals, say=show.say, sessions=sessions)
        if stop.is_set():
            return None
        seen = verger.open(str(lake)).view()["source"].value_counts().to_pylist()
        between = {each["values"]: each["counts"] for each in seen}
        circle = Circle(first, between, refit.run(settings, show.say, sessions))
    return _shown(landing, lake, totals.landed, second, circle)


@contextmanager
def _shared_session(cores: int) -> Iterator[Callable[..., AbstractContextManager["SparkSession"]]]:
    """Yield what gives every leg the same session, made when the first one asks: a start of it takes seconds."""
    with ExitStack() as stack:

        @functools.cache
        def started() -> "SparkSession":
            return stack.enter_context(session("verger demo", cores=cores))

        @contextmanager
        def shared(name: str, *, extra: Mapping[str, str], **_: Any) -> Iterator["SparkSession"]:
            for key, value in extra.items():
                set_sql(started(), key, value)
            yield started()

        yield shared


def _cleared(folder: Path) -> tuple[Path, Path]:
    landing, lake = folder.absolute() / "landing", folder.absolute() / "lake"
    try:
        if folder.exists() and any(folder.iterdir()) and not (folder / _MARKER).exists():
            raise UsageError(f"--folder {folder} is not empty and no former demo: choose another")
        foreign = (
            {each.name for each in landing.iterdir()} - {*orchard.VARIETIES, _BAD, _ODD} if landing.exists() else ()
        )
        if foreign:
            raise UsageError(f"--folder {folder}: its landing holds more than a demo planted: choose another")
        if lease.holder(LakePaths(lake).lease(LEG)) is not None:
            raise UsageError(f"--folder {folder}: a stream is running on its lake: stop it or choose another")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _MARKER).touch()
        shutil.rmtree(landing, ignore_errors=True)
        for each in lake.iterdir() if lake.exists() else ():
            if each.name != "backbones":
                shutil.rmtree(each)
        landing.mkdir()
    except OSError as error:
        raise VergerError(f"--folder {folder}: {error.strerror or error}") from error
    return landing, lake


def _shown(landing: Path, lake: Path, landed: int, second_wave: int, circle: Circle) -> Shown:
    opened = verger.open(str(lake))
    features = opened.features(columns=["label", "features"])
    grown = features.filter(pc.is_in(features["label"], pa.array(list(orchard.VARIETIES))))
    counts = opened.rejections()["rejection"].value_counts().to_pylist()
    return Shown(
        landing=landing,
        lake=lake,
        landed=landed,
        second_wave=second_wave,
        with_features=features.num_rows,
        rejections={each["values"]: each["counts"] for each in counts},
        labels=_labels(grown),
        circle=circle,
    )


def _labels(features: pa.Table) -> list[Label]:
    """Return what the vectors say of each label, by cosine similarity among at most 2,000 pictures."""
    counts = Counter(features["label"].to_pylist())
    chosen = np.random.default_rng(0).permutation(features.num_rows)[:_SAMPLE]
    features = features.take(pa.array(np.sort(chosen)))
    vectors = np.stack(features["features"].combine_chunks().to_numpy(zero_copy_only=False)).astype(np.float64)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)
    labels = np.array([each or "" for each in features["label"].to_pylist()])
    same = agreeing(vectors, labels)
    names = sorted(set(labels))
    means = np.stack([vectors[labels == name].mean(axis=0) for name in names])
    between = means @ means.T
    np.fill_diagonal(between, -1)
    return [
        Label(name, counts[name], names[int(between[place].argmax())], float(same[labels == name].mean()))
        for place, name in enumerate(names)
    ]
