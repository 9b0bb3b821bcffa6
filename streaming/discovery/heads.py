"""Looking at single objects of S3: which version of a picture a key holds now, if it holds one.

An event names a key; what identifies a version, as a listing would show it, is asked of the object itself. Where the
object does not tell, because it is gone or may not be read, the listing of its one key does: it tells both apart from
a bucket that is gone or closed, and gives an object that may not be read the identity that every other route gives it.
"""

from collections.abc import Callable

from conf import access
from conf.access import Access
from conf.errors import StorageError
from conf.objects import addressable
from conf.retrying import persistently
from conf.store_errors import passing, said
from streaming.discovery.buckets import Listed, found, refused
from streaming.discovery.sighting import Found

Look = Callable[[str], Found | None]
_LEFT_TO_THE_LISTING = (400, 403, 404, 405)


class Heads:
    """Looks at keys of one bucket; several threads may ask at once.

    Parameters
    ----------
    landing
        URI of a landing on S3, as the tables spell it.
    way
        How to reach it.

    Raises
    ------
    StorageError
        The store cannot be set up.
    """

    def __init__(self, landing: str, way: Access) -> None:
        self._bucket = access.bucket_of(landing)
        self._store = access.store("s3", self._bucket, way)
        self._client = access.client("s3", way.to(self._bucket))
        payer = {"RequestPayer": "requester"} if way.whose == "requester-pays" else {}
        self._place = {"Bucket": self._bucket, **payer}

    def look(self, key: str) -> Found | None:
        """Return the version that a key holds, or None where it holds none.

        Raises
        ------
        StorageError
            The world prevented an answer.
        DeniedError
            Neither the object nor the listing may be read.
        LandingError
            The bucket is gone.
        """
        # obstore's takes a tenth of the time of boto3's, and cannot name every key.
        return (self._by_obstore(key) if addressable(key) else self._by_boto3(key)) or self._by_listing(key)

    def _by_obstore(self, key: str) -> Found | None:
        import obstore
        from obstore import exceptions

        try:
            meta = persistently(lambda: obstore.head(self._store, key), "landing head", passing)
        except (FileNotFoundError, exceptions.PermissionDeniedError):
            return None
        except (exceptions.BaseError, OSError) as error:
            raise StorageError(f"s3://{self._bucket}/{key} does not answer: {said(error)}") from error
        listed = Listed(key, str(meta["e_tag"] or ""), meta["last_modified"], meta["size"])
        return found("s3", self._bucket, listed, meta["version"] or None)

    def _by_boto3(self, key: str) -> Found | None:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            meta = self._client.head_object(Key=key, **self._place)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] in _LEFT_TO_THE_LISTING:
                return None
            raise refused(f"s3://{self._bucket}", error.response) from error
        except BotoCoreError as error:
            raise access.unanswered(f"the landing s3://{self._bucket}", error) from error
        listed = Listed(key, meta["ETag"], meta["LastModified"], meta["ContentLength"])
        return found("s3", self._bucket, listed, meta.get("VersionId"))

    def _by_listing(self, key: str) -> Found | None:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            # The first of all keys that begin with this one is this one, if it is there.
            page = self._client.list_objects_v2(Prefix=key, MaxKeys=1, **self._place)
        except ClientError as error:
            raise refused(f"s3://{self._bucket}", error.response) from error
        except BotoCoreError as error:
            raise access.unanswered(f"the landing s3://{self._bucket}", error) from error
        same = [each for each in page.get("Contents", ()) if each["Key"] == key]
        listed = [Listed(key, each["ETag"], each["LastModified"], each["Size"]) for each in same]
        return found("s3", self._bucket, listed[0]) if listed else None
