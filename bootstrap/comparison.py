"""`verger backbone compare`: what backbones cost and what they tell apart, measured on a sample of one's own pictures.

Speed is of decoding and running the network on this machine: fetching, Spark and the writing of tables come on top.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray
from rich.markup import escape

from bootstrap.terminal import grid, plain, standard_output
from conf.errors import LandingError, Rejected, StorageError, UsageError
from conf.lake import open_lake
from conf.saying import Say, silent
from conf.settings import Settings
from conf.uris import Place
from streaming.apart import Reading, decoded
from streaming.backbones.backbone import Preparation
from streaming.backbones.featurizer import Featurizer, ensure_all, requests_of
from streaming.backbones.measuring import Measured, measure
from streaming.discovery.zone import Zone, zone
from streaming.fetching import Wanted
from streaming.landing import labeller
from streaming.sampling import sample
from streaming.timing import Timed, timed

# USD for a core's hour: what general-purpose machines of the large clouds cost on demand, per virtual CPU.
PRICE = 0.05
SAMPLE, _MOST = 400, 5000
# With less of the cores' time a run was disturbed.
_QUIET = 0.85
_NONE = "\N{EN DASH}"


@dataclass(frozen=True)
class Compared:
    """What one backbone did with the sample.

    Attributes
    ----------
    backbone : str
        As it was asked for.
    featurizer : str
        Its id.
    width : int
        Length of its vectors.
    tflite_bytes : int
        Of the compiled model.
    pictures : int
        That it gave a vector.
    labels : int
        Distinct ones among them.
    rejections : mapping of str to int
        Pictures of the sample that were left out, by why.
    core_rate : float
        Pictures a second of one core alone, decoding and running.
    rate : float
        Pictures a second of `cores` side by side.
    cores : int
    cores_had : float
        Share of their time that the run had; the rest went to other programs, and `rate` is that much too low.
    purity : float or None
        Share of the labelled pictures whose nearest other one, by the cosine of their vectors, has the same label;
        None for fewer than two labels.
    chance : float or None
        What that would be by chance.
    k : int
        Components that explain 90 % of the variance of the sample's standardised vectors.
    dollars_per_million : float
        Estimated from `rate` and the price of a core's hour, for a million pictures.
    """

    backbone: str
    featurizer: str
    width: int
    tflite_bytes: int
    pictures: int
    labels: int
    rejections: dict[str, int]
    core_rate: float
    rate: float
    cores: int
    cores_had: float
    purity: float | None
    chance: float | None
    k: int
    dollars_per_million: float


@dataclass(frozen=True, eq=False)
class _Sample:
    """The pictures that could be decoded.

    Attributes
    ----------
    pixels : dict of Preparation to ndarray of uint8, shape (n, side, side, 3)
    seconds : dict of Preparation to float
        That decoding one takes, on average.
    labels : list of (str or None)
    rejected : Counter of str
        What was left out, by why.
    """

    pixels: dict[Preparation, NDArray[np.uint8]]
    seconds: dict[Preparation, float]
    labels: list[str | None]
    rejected: Counter[str]


def compare(
    settings: Settings, backbones: Sequence[str], size: int = SAMPLE, price: float = PRICE, say: Say = silent
) -> tuple[Compared, ...]:
    """Compile backbones where they are not compiled yet, and run each on the same sample of a landing.

    Parameters
    ----------
    settings
        Among them `landing`, `label`, the limits, and `cores`; what `backbones` leave out (`weights`, `pooling`,
        `fit`); and `lake`, whose compiled backbones are used and kept. Without one they are compiled for this once.
    backbones
        As `--backbone` takes them.
    size
        Pictures of the sample, spread over the labels; 5,000 at most.
    price
        USD for a core's hour.

    Raises
    ------
    UsageError
        A setting is wrong, or `size` or `price`.
    LandingError
        The landing cannot be listed, or holds no picture that can be decoded.
    BackboneError, StorageError, IsolationError
        A backbone cannot be compiled; the landing or the lake cannot be read.
    """
    if not backbones:
        raise UsageError("there is nothing to compare: name at least one backbone, as --backbone takes it")
    if not 2 <= size <= _MOST:
        raise UsageError(f"--sample {size}: take from 2 to {_MOST:,} pictures")
    if not 0 < price < math.inf:
        raise UsageError(f"--price {price:g}: say what a core costs an hour, in USD, as {PRICE:g}")
    requests = requests_of(dataclasses.replace(settings, backbone=tuple(backbones)))
    landing, cores = zone(settings), settings.cores or os.cpu_count() or 1
    with tempfile.TemporaryDirectory(prefix="verger-compare-") as temporary:
        folder = Path(temporary)
        shelf = open_lake(settings.lake).backbones if settings.lake else folder
        chosen = _sampled(landing, settings, size, say)
        featurizers = ensure_all(requests, shelf, say)
        preparations = tuple(dict.fromkeys(each.manifest.backbone.preparation for each in featurizers))
        reading = Reading(
            landing.storage, preparations, settings.pixel_limit, settings.byte_limit, settings.decode_seconds, timed
        )
        seen = _decoded(chosen, reading, cores, folder, say)
        found = []
        for spec, each in zip(backbones, featurizers, strict=True):
            pixels = seen.pixels[each.manifest.backbone.preparation]
            run = measure(_local(each.model, folder), each.manifest, pixels, cores, say)
            found.append(_compared(spec, each, seen, run, cores, price))
    return tuple(found)


def show(found: Sequence[Compared], price: float, as_json: bool) -> None:
    """Print a comparison: a table, or one JSON object a line."""
    if as_json:
        for each in found:
            print(json.dumps(dataclasses.asdict(each)))
        return
    cores = found[0].cores
    side_by_side = f"img/s, {cores} core{'s' if cores > 1 else ''}"
    columns = ("features", ".tflite", "1-NN purity", "k at 90 %", "USD a million")
    table = grid(None, "backbone", "img/s, 1 core", side_by_side, *columns)
    for each in found:
        table.add_row(escape(each.backbone), *_cells(each))
    standard_output().print(table)
    for line in _footnotes(found, price):
        plain(line)


def _sampled(landing: Zone, settings: Settings, size: int, say: Say) -> dict[Wanted, str | None]:
    say("listing the landing")
    found = sample(landing.listing.poll(), landing.uri, labeller(settings.label, landing.uri), size)
    if not found:
        young = landing.listing.sighting().young
        why = f"; {young:,} may still be growing: wait --settle {settings.settle:g} seconds" if young else ""
        raise LandingError(f"the landing {landing.uri} holds no pictures to compare with{why}")
    return {Wanted(each.uri, each.e_tag, each.size): label for each, label in found.items()}


def _decoded(chosen: dict[Wanted, str | None], reading: Reading, cores: int, folder: Path, say: Say) -> _Sample:
    """Decode the sample once for each preparation, into files: a page of memory goes when it is not needed."""
    text, places = "decoding the sample", {each: place for place, each in enumerate(chosen)}
    files = [_file(folder / f"{at}.npy", len(chosen), each.size) for at, each in enumerate(reading.preparations)]
    seconds = np.zeros((len(files), len(chosen)))
    rejected: dict[int, str] = {}
    for done, (wanted, found) in enumerate(decoded(list(chosen), reading, cores)):
        say(text, done, len(chosen))
        if isinstance(found, Rejected):
            rejected[places[wanted]] = found.reason.value
            continue
        for at, picture in enumerate(found):
            files[at][places[wanted]] = picture.pixels
            seconds[at, places[wanted]] = cast(Timed, picture).seconds
    kept = [place for place in range(len(chosen)) if place not in rejected]
    reasons = Counter(rejected.values())
    if not kept:
        raise LandingError(f"no picture of the sample can be decoded: {_counted(reasons)}")
    # Moved up in place where some are missing: a copy of all would be as large as the files.
    for file in files:
        for to, place in enumerate(kept):
            file[to] = file[place]
    labels = list(chosen.values())
    return _Sample(
        pixels={each: file[: len(kept)] for each, file in zip(reading.preparations, files, strict=True)},
        seconds=dict(zip(reading.preparations, seconds[:, kept].mean(axis=1).tolist(), strict=True)),
        labels=[labels[place] for place in kept],
        rejected=reasons,
    )


def _file(path: Path, count: int, side: int) -> NDArray[np.uint8]:
    """Return a file as an array; its room is taken first, as a full disk ends whoever writes to such an array."""
    shape = (count, side, side, 3)
    try:
        with path.open("wb") as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, math.prod(shape))
            else:
                file.truncate(math.prod(shape))
    except OSError as error:
        why = error.strerror or str(error)
        raise StorageError(f"{path.parent} has no room for the sample ({why}): take a smaller --sample") from error
    return np.memmap(path, np.uint8, "r+", shape=shape)


def _local(model: Place, folder: Path) -> Path:
    """Return a compiled model as a file of this machine."""
    if isinstance(model, Path):
        return model
    copy = folder / model.name
    copy.write_bytes(model.read_bytes())
    return copy


def _compared(spec: str, featurizer: Featurizer, seen: _Sample, run: Measured, cores: int, price: float) -> Compared:
    # Here, as SciPy's import would slow every other command.
    from batch.algebra.separation import components_for, purity

    finite = np.asarray(np.isfinite(run.vectors).all(axis=1))
    vectors = run.vectors[finite]
    labels = [label for label, usable in zip(seen.labels, finite.tolist(), strict=True) if usable]
    pure = purity(vectors, labels)
    decoding = seen.seconds[featurizer.manifest.backbone.preparation]
    rate = 1 / (decoding / cores + run.together)
    return Compared(
        backbone=spec,
        featurizer=featurizer.id,
        width=featurizer.width,
        tflite_bytes=featurizer.manifest.tflite_bytes,
        pictures=len(vectors),
        labels=len({each for each in labels if each is not None}),
        rejections=dict(seen.rejected + Counter(non_finite=int((~finite).sum()))),
        core_rate=1 / (decoding + run.alone),
        rate=rate,
        cores=cores,
        cores_had=run.had,
        purity=pure[0] if pure else None,
        chance=pure[1] if pure else None,
        k=components_for(vectors),
        dollars_per_million=price * cores * 1e6 / rate / 3600,
    )


def _cells(each: Compared) -> tuple[str, ...]:
    pure = _NONE if each.purity is None else f"{each.purity:.3f}"
    return (
        f"{each.core_rate:.1f}",
        f"{each.rate:.1f}",
        f"{each.width:,}",
        f"{each.tflite_bytes / 1e6:.1f} MB",
        pure,
        f"{each.k:,}",
        f"{each.dollars_per_million:.2f}",
    )


def _footnotes(found: Sequence[Compared], price: float) -> list[str]:
    first, most = found[0], max(found, key=lambda each: sum(each.rejections.values()))
    left_out = f"; left out: {_counted(most.rejections)}" if most.rejections else ""
    chance = "" if first.chance is None else f" By chance the purity would be {first.chance:.3f}."
    least = min(each.cores_had for each in found)
    busy = (f"Other programs had up to {1 - least:.0%} of the cores' time meanwhile: img/s are too low by as much.",)
    return [
        f"On {first.pictures:,} pictures of {first.labels:,} labels{left_out}.{chance} k is of this sample: "
        "more pictures need more.",
        "Measured here, decoding included; fetching, Spark and tables come on top. USD are estimated from that at "
        f"{price:g} a core and hour (--price).",
        *(busy if least < _QUIET else ()),
    ]


def _counted(reasons: Mapping[str, int]) -> str:
    return ", ".join(f"{why} {count:,}" for why, count in sorted(reasons.items()))
