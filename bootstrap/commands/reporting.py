"""`verger report`: a feature space as one page, and as charts."""

import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import pyarrow as pa
import typer

from bootstrap import live, terminal
from bootstrap.commands.group import group
from bootstrap.options import takes
from conf import access, presigning
from conf.access import Whose
from conf.errors import StorageError
from conf.featurizers import chosen
from conf.files import write_atomically
from conf.lake import LakePaths, open_lake
from conf.saying import Say
from conf.settings import Resolved, Settings
from conf.uris import FILE_SCHEME, folder_of, spelled
from streaming import thumbnails
from streaming.thumbnails import Thumbnails, landing_of

if TYPE_CHECKING:
    from batch.report.findings import Findings
    from batch.report.resemblance import Thumbnail

app = group()
_PAGE = "report.html"
# A presigned URL has 400 bytes, of which little can be packed: with as many as there are thumbnails a page stays light.
_MOST_SIGNED = 6_000


@app.command()
@takes(
    "lake", "featurizer", "labels", "landing", "landing_access", "pixel_limit", "byte_limit", "decode_seconds", "cores"
)
def report(
    resolved: Resolved,
    out: Annotated[str, typer.Option("--out", help="The folder for the page and the charts.", metavar="FOLDER")],
    presign: Annotated[
        str,
        typer.Option(
            help="Link pictures of a bucket by presigned URLs that hold for this long: 30m, 12h, 1d; 7d at most.",
            metavar="TIME",
        ),
    ] = "",
    pictures: Annotated[
        bool, typer.Option("--thumbnails/--no-thumbnails", help="Read the pictures and show them small.")
    ] = True,
) -> None:
    """Write a page to walk through the feature space, with what is odd in it, and its charts. Starts no JVM."""
    settings, folder = resolved.settings, folder_of(out, "out")
    seconds = presigning.duration(presign, "presign") if presign else 0
    if seconds:
        # Whoever reads the page can read the pictures.
        os.umask(0o077)
    with live.live() as show:
        said = _Said()
        _try_writing(folder)
        written = _report(settings, folder, pictures, _links(settings, seconds, said), said, show.say)
    for note in said.notes():
        terminal.plain(note)
    page, *charts = written
    terminal.plain(f"{page} ({page.stat().st_size / 1e6:.1f} MB) and {len(charts)} charts beside it")


@dataclass
class _Said:
    """What is to be said when the report is written."""

    sentences: list[str] = field(default_factory=list)
    small: Thumbnails = field(default_factory=lambda: Thumbnails({}))

    def notes(self) -> list[str]:
        """Return the sentences, each once, that on missing thumbnails first."""
        return [each for each in dict.fromkeys((self.small.note, *self.sentences)) if each]


def _report(
    settings: Settings, folder: Path, pictures: bool, links: Callable[..., Mapping[str, str]], said: _Said, say: Say
) -> list[Path]:
    # Here, as Matplotlib's and SciPy's imports would slow every other command.
    from batch import own_labels
    from batch.report.report import findings

    lake = open_lake(settings.lake)
    featurizer = chosen(lake, settings.featurizer)
    landing = spelled(settings.landing, "landing") if settings.landing else landing_of(lake)
    # What cannot be signed is told before minutes are spent.
    links([f"{landing}/any.jpg"])
    own = own_labels.load(settings.labels) if settings.labels else None
    reading = _thumbnails(lake, replace(settings, landing=landing), said) if pictures else None
    found = findings(lake, featurizer, labels=own, thumbnails=reading, links=links, say=say)
    said.sentences += [found.sample.rule, _unlabelled(found)]
    return _written(found, folder, say)


def _unlabelled(found: "Findings") -> str:
    count = sum(label.n for label in found.labels if label.name is None) if found.labelled_by else 0
    return f"{count:,} of {found.n:,} pictures have no label in {found.labelled_by}" if count else ""


def _written(found: "Findings", folder: Path, say: Say) -> list[Path]:
    from batch.report.charts import charts
    from batch.report.page import page

    with _told(folder):
        say("writing the page")
        write_atomically(folder / _PAGE, page(found).encode())
        say("drawing charts")
        return [folder / _PAGE, *charts(found, folder)]


def _try_writing(folder: Path) -> None:
    with _told(folder):
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()


@contextmanager
def _told(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(f"--out {folder}: {error.strerror or error}: give a folder that can be written") from error


def _thumbnails(
    lake: LakePaths, settings: Settings, said: _Said
) -> Callable[[pa.Table, Say], Mapping[str, "Thumbnail"]]:
    """Return what reads pictures as they arrived, small; after an outage it does not try again."""

    def read(versions: pa.Table, say: Say) -> Mapping[str, "Thumbnail"]:
        if said.small.fault:
            missing = Counter(unread=versions.num_rows)
            said.small = said.small.merged(Thumbnails({}, missing))
            return {}
        wanted = thumbnails.wanted(lake, versions)
        small = thumbnails.thumbnails(settings, wanted, say=say)
        forgotten = Counter(forgotten=versions.num_rows - len(wanted))
        said.small = said.small.merged(small).merged(Thumbnails({}, +forgotten))
        return small.pictures

    return read


def _links(settings: Settings, seconds: int, said: _Said) -> Callable[[Sequence[str]], Mapping[str, str]]:
    """Return what gives where a browser finds pictures: files where they lie, objects by URLs where these are asked."""

    def find(uris: Sequence[str]) -> Mapping[str, str]:
        files = {uri: uri for uri in uris if uri.startswith(FILE_SCHEME)}
        objects = [uri for uri in uris if uri not in files] if seconds else []
        if len(objects) > _MOST_SIGNED:
            said.sentences.append(
                f"{_MOST_SIGNED:,} of {len(objects):,} pictures are linked, those that lists name first"
            )
        way = replace(access.current(), whose=cast(Whose, settings.landing_access))
        links = presigning.presign(objects[:_MOST_SIGNED], seconds, way)
        said.sentences += links.notes
        return {**files, **links.urls}

    return find
