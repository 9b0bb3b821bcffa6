"""Thumbnails: the pictures of a landing, small, for a page that shows them.

A page can do without: whatever the world does, it gets the thumbnails that could be made, and a sentence on the rest.
"""

import json
import os
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile
from pathlib import Path
from typing import cast

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
from numpy.typing import NDArray

from conf import access
from conf.access import Whose
from conf.errors import Rejected, StorageError, VergerError
from conf.lake import LakePaths
from conf.object_storage import ObjectStorage
from conf.saying import Say, silent
from conf.schemas import ARRIVALS
from conf.settings import Settings
from conf.storage import FolderStorage, Storage
from conf.tables import dataset_of, open_table
from conf.uris import path_of, spelled
from streaming.apart import Reading, decoded
from streaming.backbones.backbone import Preparation
from streaming.fetching import Wanted

SIDE = 48
_TELL_EVERY = 64


@dataclass(frozen=True, eq=False)
class Thumbnails:
    """What could be made.

    Attributes
    ----------
    pictures : mapping of str to ndarray of uint8, shape (side, side, 3)
        By uri: RGB, the whole picture on white.
    missing : Counter of str
        Pictures without one, by why: a reason of rejections, or `unread` for those that the world's fault left out.
    fault : str
        That fault; empty for none.
    """

    pictures: Mapping[str, NDArray[np.uint8]]
    missing: Counter[str] = field(default_factory=Counter)
    fault: str = ""

    @property
    def note(self) -> str:
        """What a person should hear, in a sentence; empty where nothing is missing."""
        if not self.missing:
            return ""
        total = self.missing.total() + len(self.pictures)
        reasons = ", ".join(f"{why} {count:,}" for why, count in sorted(self.missing.items()))
        sentence = f"{self.missing.total():,} of {total:,} thumbnails are missing ({reasons})"
        return f"{sentence}: {self.fault}" if self.fault else sentence

    def merged(self, other: "Thumbnails") -> "Thumbnails":
        """Return these and those of other pictures together."""
        return Thumbnails({**self.pictures, **other.pictures}, self.missing + other.missing, self.fault or other.fault)


def thumbnails(settings: Settings, pictures: Sequence[Wanted], side: int = SIDE, say: Say = silent) -> Thumbnails:
    """Read and decode versions of pictures, in processes of their own, side by side over the cores.

    A picture that is another version by now, or cannot be read or decoded, is left out and counted.

    Parameters
    ----------
    settings
        Among them `landing`, by which an outage is told from pictures that are gone; pictures elsewhere, and all where
        it is empty, are judged by the folder that they have in common. Further `landing_access`, the limits and cores.
    pictures
        Which versions; see `wanted`.
    side
        In pixels.
    """
    made: dict[str, NDArray[np.uint8]] = {}
    missing: Counter[str] = Counter()
    fault = ""
    say("reading thumbnails", 0, len(pictures))
    for root, group in _by_root(pictures, settings.landing).items():
        try:
            for wanted, found in decoded(group, _reading(root, settings, side), settings.cores or os.cpu_count() or 1):
                if isinstance(found, Rejected):
                    missing[found.reason.value] += 1
                else:
                    made[wanted.uri] = found[0].pixels
                done = len(made) + missing.total()
                if done % _TELL_EVERY == 0:
                    say("reading thumbnails", done, len(pictures))
        except VergerError as error:
            fault = str(error)
    say("reading thumbnails", len(pictures), len(pictures))
    missing["unread"] = len(pictures) - len(made) - missing.total()
    return Thumbnails(made, +missing, fault)


def wanted(lake: LakePaths, versions: pa.Table) -> list[Wanted]:
    """Return versions of pictures as they arrived.

    Parameters
    ----------
    versions
        With the columns `uri` and `e_tag`, as rows of the view have them; each picture once.
    """
    keys = list(zip(versions["uri"].to_pylist(), versions["e_tag"].to_pylist(), strict=True))
    arrivals = dataset_of(open_table(lake.table(ARRIVALS)))
    mine = ds.field("uri").isin(versions["uri"].combine_chunks())
    found = arrivals.to_table(columns=["uri", "e_tag", "size"], filter=mine).to_pylist()
    sizes = {(row["uri"], row["e_tag"]): row["size"] for row in found}
    return [Wanted(*key, sizes[key]) for key in keys if key in sizes]


def landing_of(lake: LakePaths) -> str:
    """Return the URI of the landing that a lake was last streamed from; empty where it does not say."""
    try:
        found = json.loads(lake.report("stream").read_text("utf-8"))["landing"]
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    return found if isinstance(found, str) else ""


def _by_root(pictures: Sequence[Wanted], landing: str) -> dict[str, list[Wanted]]:
    """Deal pictures out to the places that hold them, as URIs: the landing, or what a bucket's or all files share."""
    groups: dict[str, list[Wanted]] = defaultdict(list)
    inside = f"{spelled(landing, 'landing').rstrip('/')}/" if landing else ""
    for each in pictures:
        if inside and each.uri.startswith(inside):
            groups[inside.rstrip("/")].append(each)
        else:
            groups["/".join(each.uri.split("/", 3)[:3])].append(each)
    return {root if root == inside.rstrip("/") else _shared(group): group for root, group in groups.items()}


def _shared(pictures: Sequence[Wanted]) -> str:
    """Return the folder that pictures share: what the first and the last by name do, all do."""
    folders = [each.uri.split("/")[:-1] for each in pictures]
    same = takewhile(lambda pair: pair[0] == pair[1], zip(min(folders), max(folders), strict=False))
    return "/".join(one for one, _ in same)


def _reading(root: str, settings: Settings, side: int) -> Reading:
    return Reading(
        storage=_storage(root, settings),
        preparations=(Preparation(side, fit="pad"),),
        pixel_limit=settings.pixel_limit,
        byte_limit=settings.byte_limit,
        decode_seconds=settings.decode_seconds,
    )


def _storage(root: str, settings: Settings) -> Storage:
    if access.scheme_of(root):
        way = replace(access.current(), whose=cast(Whose, settings.landing_access))
        return ObjectStorage(root, way.to(access.bucket_of(root)) if root.startswith("s3://") else way)
    folder = _folder(root)
    try:
        return FolderStorage(str(folder))
    except OSError as error:
        raise StorageError(f"the landing {folder} does not answer: {error.strerror or error}") from error


def _folder(root: str) -> Path:
    """Return the folder of a URI; pictures may share no more than the root."""
    return Path("/") / path_of(root)
