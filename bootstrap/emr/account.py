"""The way to one's AWS account: region, clients, and one translation of what AWS says when it refuses."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from conf import access
from conf.access import Access
from conf.errors import AccountError, UsageError, VergerError, first_line

# Where nobody says another: Paris, as the pictures of people in the EU stay there.
REGION = "eu-west-3"

_WHOSE = "say whose credentials to use in the environment (AWS_PROFILE, or AWS_ACCESS_KEY_ID and its kin)"
_STALE = (
    "ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "UnrecognizedClientException",
    "InvalidSignatureException", "SignatureDoesNotMatch", "MissingAuthenticationToken", "IncompleteSignature",
)  # fmt: skip
_DENIED = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "NotAuthorized")
_THROTTLED = (
    "Throttling", "ThrottlingException", "ThrottledException", "TooManyRequestsException", "RequestLimitExceeded",
    "RequestThrottled", "RequestThrottledException", "SlowDown",
)  # fmt: skip
_ACTION = re.compile(r"not authorized to perform: ([\w-]+:\w+)")


def region(given: str = "") -> str:
    """Return the region in force: the one given, else that of the environment or of the profile, else `REGION`.

    Raises
    ------
    UsageError
        The environment names a profile that is not there.
    """
    from botocore.exceptions import BotoCoreError
    from botocore.session import get_session

    told = given or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    try:
        return told or get_session().get_config_variable("region") or REGION
    except BotoCoreError as error:
        raise _unanswered("AWS", error) from error


def client(service: str, region: str) -> Any:
    """Return a client of a service, which repeats what may pass.

    Raises
    ------
    UsageError
        There is no such region, or no such profile.
    """
    from botocore.exceptions import BotoCoreError

    try:
        return access.client(service, Access(region=region))
    except BotoCoreError as error:
        raise _unanswered(f"{service} in {region}", error) from error


def call(client: Any, operation: str, /, **request: Any) -> dict[str, Any]:
    """Call an operation, by boto3's name for it, and return AWS's answer.

    Raises
    ------
    UsageError
        No credentials, or such as AWS does not take.
    AccountError
        AWS refuses, or does not answer; the message is one line.
    """
    with _translated(client, operation):
        answer: dict[str, Any] = getattr(client, operation)(**request)
        return answer


def pages(client: Any, operation: str, /, **request: Any) -> Iterator[dict[str, Any]]:
    """Yield the pages of an answer; errors as of `call`."""
    with _translated(client, operation):
        yield from client.get_paginator(operation).paginate(**request)


@contextmanager
def _translated(client: Any, operation: str) -> Iterator[None]:
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError

    try:
        yield
    except ClientError as error:
        raise _refused(_action(client, operation), error) from error
    except (BotoCoreError, ResponseParserError) as error:
        raise _unanswered(_action(client, operation), error) from error


def _action(client: Any, operation: str) -> str:
    """Return an operation as IAM names it."""
    return f"{client.meta.service_model.signing_name}:{client.meta.method_to_api_mapping[operation]}"


def _refused(action: str, error: Any) -> VergerError:
    answer = error.response.get("Error", {})
    code = str(answer.get("Code", ""))
    said = first_line(Exception(answer.get("Message") or error))
    if code in _STALE:
        return UsageError(f"{action}: AWS does not take these credentials ({code}: {said}): {_WHOSE}")
    if code in _DENIED or "not authorized to perform" in said:
        denied = _ACTION.search(said)
        return AccountError(
            f"these credentials may not {denied[1] if denied else action}; the role NAMEPREFIX-submitter of the base "
            f"stack may: use it (AWS_PROFILE), or have it granted; AWS says: {said}",
            code,
        )
    if code in _THROTTLED:
        tries = 1 + int(error.response.get("ResponseMetadata", {}).get("RetryAttempts") or 0)
        return AccountError(f"{action}: AWS throttles, {tries} tries long ({said}): try again in a minute", code)
    return AccountError(f"{action} was refused: {code}: {said}", code)


def _unanswered(what: str, error: Exception) -> VergerError:
    from botocore import exceptions

    nobody = (
        exceptions.NoCredentialsError, exceptions.PartialCredentialsError, exceptions.ProfileNotFound,
        exceptions.CredentialRetrievalError, exceptions.SSOError, exceptions.TokenRetrievalError,
    )  # fmt: skip
    if isinstance(error, nobody):
        return UsageError(f"{what}: {first_line(error)}: {_WHOSE}")
    if isinstance(error, exceptions.InvalidRegionError):
        return UsageError(f"--region: {first_line(error)}")
    return AccountError(f"{what}: AWS does not answer: {first_line(error)}")
