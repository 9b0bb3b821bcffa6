"""Pictures in a bucket or container, read by obstore: on the condition that they are the version that arrived.

What a store answers is told apart by its own error code first, and by obstore's exception where it gave none: a
picture's own fault, a fault of credentials, or one of the moment.
"""

from enum import Enum
from typing import Any

import obstore
from obstore import exceptions

from conf import access
from conf.access import Access
from conf.errors import DeniedError, OutageError, Rejected, StorageError
from conf.objects import addressable
from conf.rejections import Reason
from conf.store_errors import said
from conf.uris import key_of

_AHEAD = 16
_SAMPLE = 4
_ERRORS = (exceptions.BaseError, OSError)


class _Fault(Enum):
    """What an answer means."""

    GONE = "there is no such object"
    MISSING = "something is not there: the object, or the whole bucket"
    NO_BUCKET = "there is no such bucket"
    CHANGED = "there is another version"
    LOCKED = "it is archived, or encrypted with a key that was not given"
    DENIED = "permission lacks, for it or for all"
    CREDENTIALS = "the credentials are expired or wrong"
    PASSING = "the next try may succeed"


_BY_CODE = {
    _Fault.GONE: ("NoSuchKey", "BlobNotFound"),
    _Fault.NO_BUCKET: ("NoSuchBucket", "ContainerNotFound"),
    _Fault.LOCKED: ("InvalidObjectState", "BlobArchived", "BlobBeingRehydrated"),
    _Fault.CREDENTIALS: (
        "ExpiredToken", "InvalidToken", "TokenRefreshRequired", "InvalidAccessKeyId", "SignatureDoesNotMatch",
        "RequestTimeTooSkewed", "InvalidSecurity", "AuthenticationFailed", "AuthorizationHeaderMalformed",
    ),
}  # fmt: skip
_FAULTS = {code: fault for fault, codes in _BY_CODE.items() for code in codes}


class ObjectStorage:
    """Pictures below a URI of S3, Google Cloud Storage or Azure.

    Without the permission to list, S3 calls a missing object forbidden, and so does its rejection.

    Parameters
    ----------
    landing
        URI of the landing, as the tables spell it.
    access
        The way there.
    """

    ahead = _AHEAD

    def __init__(self, landing: str, access: Access) -> None:
        self._landing, self._access = landing, access
        self._last_read = ""

    def read(self, uri: str, e_tag: str, size: int, byte_limit: int) -> bytes:
        """Get an object that is still the version that arrived; see `Storage.read`.

        A weak e_tag, or none, cannot be a condition of the request: what the answer says of itself is compared.
        """
        key = key_of(uri)
        if not addressable(key):
            raise Rejected(Reason.UNADDRESSABLE, repr(key))
        try:
            found = obstore.get(self._store(), key, options=_condition(e_tag))
            meta = found.meta
            _check(uri, meta, e_tag, size, byte_limit)
            data = bytes(found.bytes())
        except _ERRORS as error:
            # None: obstore's names of errors, in the trace of a failed task, are not to be taken for Verger's.
            raise self._translated(error, uri) from None
        if len(data) != meta["size"]:
            raise OutageError(f"{uri}: {len(data)} bytes came of {meta['size']}")
        self._last_read = key
        return data

    def _store(self) -> Any:
        return access.store(access.scheme_of(self._landing), access.bucket_of(self._landing), self._access)

    def _translated(self, error: Exception, uri: str) -> Exception:
        fault = _fault_of(error)
        match fault:
            case _Fault.GONE:
                return Rejected(Reason.GONE, said(error))
            case _Fault.CHANGED:
                return Rejected(Reason.CHANGED, said(error))
            case _Fault.LOCKED:
                return Rejected(Reason.FORBIDDEN, f"{fault.value}: {said(error)}")
            case _Fault.MISSING | _Fault.DENIED:
                reason = Reason.FORBIDDEN if fault is _Fault.DENIED else Reason.GONE
                return self._silence() or Rejected(reason, said(error))
        return _worlds(fault, uri, error)

    def _silence(self) -> StorageError | None:
        """Return why no picture of the landing can be read; None where one can."""
        try:
            if self._last_read and self._opens(self._last_read):
                return None
            return self._silence_of_sample()
        except StorageError as error:
            return error

    def _silence_of_sample(self) -> StorageError | None:
        """Return why none of some keys can be read: a landing that can be listed need not let its objects be read."""
        try:
            prefix = f"{key_of(self._landing)}/".lstrip("/") or None
            keys = [meta["path"] for meta in next(iter(obstore.list(self._store(), prefix)), [])]
        except exceptions.InvalidPathError:
            # The store did answer, with a key among others that obstore cannot name.
            return None
        except _ERRORS as error:
            return self._unanswered(error)
        sample = keys[:: max(1, len(keys) // _SAMPLE)]
        if not sample or any(self._opens(key) for key in sample):
            return None
        return self._denied(f"none of {len(sample)} objects that were tried can be read")

    def _opens(self, key: str) -> bool:
        """Whether an object may be read.

        Raises
        ------
        StorageError
            The world's fault.
        """
        try:
            # Not a HEAD: that does not ask for the key by which an object may be encrypted. The body is left unread.
            obstore.get(self._store(), key)
        except _ERRORS as error:
            fault = _fault_of(error)
            if fault in (_Fault.CREDENTIALS, _Fault.NO_BUCKET, _Fault.PASSING):
                raise _worlds(fault, self._landing, error) from None
            return fault is _Fault.LOCKED
        self._last_read = key
        return True

    def _unanswered(self, error: Exception) -> StorageError:
        fault = _fault_of(error)
        return self._denied(said(error)) if fault is _Fault.DENIED else _worlds(fault, self._landing, error)

    def _denied(self, why: str) -> DeniedError:
        return DeniedError(
            f"the landing {self._landing} may not be read: {why}; grant s3:ListBucket on the bucket and s3:GetObject "
            "on its objects, or what the store calls them, and start again"
        )


def _condition(e_tag: str) -> Any:
    return {"if_match": f'"{e_tag}"'} if _is_strong(e_tag) else {}


def _is_strong(e_tag: str) -> bool:
    return bool(e_tag) and not e_tag.startswith("W/")


def _bare(e_tag: str) -> str:
    return e_tag.removeprefix("W/").strip('"')


def _check(uri: str, meta: Any, e_tag: str, size: int, byte_limit: int) -> None:
    """Hold what an answer says of itself against the arrival, before its body is read."""
    arrived, now, length = _bare(e_tag), _bare(meta["e_tag"] or ""), meta["size"]
    if (arrived and now and arrived != now) or length != size:
        seen = f"arrived as {arrived} of {size} bytes, now {now} of {length}"
        if _is_strong(e_tag):
            raise OutageError(f"{uri}: {seen}, though only the version that arrived was asked for by If-Match")
        raise Rejected(Reason.CHANGED, seen)
    if length > byte_limit:
        raise Rejected(Reason.TOO_MANY_BYTES, f"{length} bytes, the limit is {byte_limit}")


def _worlds(fault: _Fault, uri: str, error: Exception) -> StorageError:
    if fault is _Fault.PASSING:
        return OutageError(f"{uri}: {said(error)}")
    return StorageError(f"{uri}: {fault.value}: {said(error)}")


def _fault_of(error: Exception) -> _Fault:
    text = said(error)
    by_code = _FAULTS.get(text.partition(":")[0])
    if by_code:
        return by_code
    if text.startswith("InvalidRequest") and "Server Side Encryption" in text:
        return _Fault.LOCKED
    if isinstance(error, FileNotFoundError):
        return _Fault.MISSING
    if isinstance(error, exceptions.PreconditionError):
        return _Fault.CHANGED
    if isinstance(error, exceptions.UnauthenticatedError):
        return _Fault.CREDENTIALS
    # What a listing is refused comes without obstore's own exception for it.
    if isinstance(error, exceptions.PermissionDeniedError) or " 403 Forbidden" in str(error):
        return _Fault.DENIED
    return _Fault.PASSING
