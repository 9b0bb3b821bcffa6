"""The landing zone that the settings name: how it is listed, who else tells of pictures, and how they are read."""

from dataclasses import dataclass, replace
from typing import cast

from conf import access
from conf.access import Access, Whose
from conf.errors import LandingError, UsageError
from conf.object_storage import ObjectStorage
from conf.settings import Settings
from conf.storage import FolderStorage, Storage
from conf.uris import folder_of, spelled, uri_of
from streaming.discovery.buckets import ObjectListing, pages_of
from streaming.discovery.folders import FolderListing
from streaming.discovery.polling import Listing, Notices
from streaming.landing import NameRule, parse_skip

# Seconds between two looks: listing a bucket is paid for by the page.
_POLL_FOLDER, _POLL_BUCKET, _POLL_QUEUE = 2.0, 60.0, 0.2


@dataclass(frozen=True)
class Zone:
    """A landing zone.

    Attributes
    ----------
    uri : str
        As the tables spell it, without a slash at its end.
    listing : Listing
    storage : Storage
        Reads its pictures, in workers.
    poll : float
        Seconds between two looks.
    notices : Notices or None
        Tells of new pictures; None where nobody is asked.
    """

    uri: str
    listing: Listing
    storage: Storage
    poll: float
    notices: Notices | None = None


def zone(settings: Settings) -> Zone:
    """Return the landing zone.

    Raises
    ------
    UsageError
        The settings contradict themselves, or name no landing.
    LandingError
        The folder does not exist.
    """
    rule = parse_skip(settings.skip_extensions)
    if not access.scheme_of(settings.landing):
        return _folder(settings, rule)
    uri = spelled(settings.landing, "landing")
    way = replace(access.current(), whose=cast(Whose, settings.landing_access))
    if uri.startswith("s3://"):
        way = way.to(access.bucket_of(uri))
    listing = ObjectListing(uri, rule, pages_of(uri, way))
    storage = ObjectStorage(uri, way)
    if settings.discover == "listing":
        return Zone(uri, listing, storage, settings.poll or _POLL_BUCKET)
    if not settings.queue:
        raise UsageError("--discover notifications needs --queue, the URL of the queue that gets them")
    if not uri.startswith("s3://"):
        raise UsageError(f"--discover notifications: only S3 tells of pictures through SQS, not {uri}")
    return Zone(uri, listing, storage, settings.poll or _POLL_QUEUE, _notices(settings.queue, uri, rule, way))


def _folder(settings: Settings, rule: NameRule) -> Zone:
    folder = folder_of(settings.landing, "landing")
    if settings.discover != "listing":
        raise UsageError(f"--discover notifications: nobody tells of pictures in a folder: leave it out for {folder}")
    if not folder.exists():
        raise LandingError(f"the landing {folder} does not exist: make the folder or correct --landing")
    if not folder.is_dir():
        raise UsageError(f"--landing {folder} is a file: give the folder that holds the pictures")
    listing = FolderListing(folder, rule, settings.settle)
    return Zone(uri_of(folder), listing, FolderStorage(str(folder)), settings.poll or _POLL_FOLDER)


def _notices(queue: str, landing: str, rule: NameRule, way: Access) -> Notices:
    # Only here: boto3's import takes a quarter of a second.
    from streaming.discovery import sqs
    from streaming.discovery.collector import Collector
    from streaming.discovery.heads import Heads

    return Collector(landing, rule, sqs.Queue(queue, sqs.client_of(queue)), Heads(landing, way).look)
