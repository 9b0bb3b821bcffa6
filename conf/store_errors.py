"""What object stores answer when they do not: obstore's errors as a file system's, and which of them may pass."""

from collections.abc import Iterator
from contextlib import contextmanager

from conf.errors import first_line

# Codes of S3 that come without an exception of their own.
_LASTING = frozenset(
    {
        "NoSuchBucket", "InvalidBucketName", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch",
        "ExpiredToken", "InvalidToken", "AuthorizationHeaderMalformed", "PermanentRedirect",
    }
)  # fmt: skip
_METADATA = "169.254."


def passing(error: BaseException) -> bool:
    """Whether what obstore raises may be gone at the next try: an outage, throttling, a broken connection."""
    from obstore import exceptions

    lasting = (
        FileNotFoundError, exceptions.AlreadyExistsError, exceptions.PreconditionError, exceptions.NotModifiedError,
        exceptions.PermissionDeniedError, exceptions.UnauthenticatedError, exceptions.InvalidPathError,
        exceptions.NotSupportedError, exceptions.UnknownConfigurationKeyError,
    )  # fmt: skip
    if not isinstance(error, exceptions.BaseError | OSError) or isinstance(error, lasting):
        return False
    return said(error).partition(":")[0] not in _LASTING


@contextmanager
def translated(uri: str) -> Iterator[None]:
    """Raise what a file system would raise."""
    from obstore import exceptions

    try:
        yield
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{uri} is not there") from error
    except (exceptions.AlreadyExistsError, exceptions.PreconditionError) as error:
        raise FileExistsError(f"{uri} is another version, or there already") from error
    except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError) as error:
        raise PermissionError(f"{uri}: access is denied: {said(error)}") from error
    except exceptions.BaseError as error:
        text = said(error)
        # Of a listing these come without an exception of their own.
        kinds = {"AccessDenied": PermissionError, "NoSuchBucket": FileNotFoundError}
        raise kinds.get(text.partition(":")[0], OSError)(f"{uri} does not answer: {text}") from error


def said(error: BaseException) -> str:
    """Return what a store said of an error, in one line: its own code and message where it gave them."""
    text = str(error)
    if _METADATA in text:
        return "no credentials: neither the environment nor a role of this machine gives any"
    code, message = (_between(text, f"<{name}>", f"</{name}>") for name in ("Code", "Message"))
    return f"{code}: {message}" if code else first_line(error)


def _between(text: str, start: str, end: str) -> str:
    return text.partition(start)[2].partition(end)[0] if start in text else ""
