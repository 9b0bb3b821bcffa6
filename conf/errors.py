"""Every error a person can meet, one tree.

VergerError              exit 1: it failed; the message says what, where and the mend
├── UsageError           exit 2: a setting or an argument is wrong
├── PlatformError        exit 1: Python, Java or the jars of this machine
├── AccountError         exit 1: AWS refuses a call on one's account, or does not answer
├── LandingError         exit 1: the landing zone does not answer
├── LakeError            exit 1: the lake is missing, foreign, newer or held by another driver
│   └── LeaseLost        exit 1: this process may no longer write as the driver of its leg
│       └── LeaseUnsure  the same, but a renewal of the lease can heal it
├── BackboneError        exit 1: a backbone cannot be compiled, or its copy in the lake is damaged
├── StreamError          exit 1: the streaming query ended by itself
├── StorageError         a failure of the world (network, disk, credentials): retried, never a row
│   ├── DeniedError      the whole landing may not be read: waiting does not heal it
│   └── OutageError      the next try, seconds later, may succeed
└── IsolationError       a failure of the world: no process to decode in; retried, never a row
Rejected                 not an error of the program: a picture's own fault, which becomes a row
"""

from conf.rejections import Reason


class VergerError(Exception):
    """The root; `exit_code` is what the command returns."""

    exit_code = 1


class UsageError(VergerError):
    """A setting or an argument is wrong; the message names it and the mend."""

    exit_code = 2


class PlatformError(VergerError):
    """Python, Java or the jars of this machine do not serve."""


class AccountError(VergerError):
    """AWS refuses a call on one's account, or does not answer.

    Attributes
    ----------
    code : str
        AWS's own word for a refusal; empty where nobody answered.
    """

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class LandingError(VergerError):
    """The landing zone is missing or does not answer."""


class LakeError(VergerError):
    """The lake is missing, foreign, of a newer version, or held by another driver."""


class LeaseLost(LakeError):
    """The lease is another's or may be: this process must no longer write as the driver of its leg."""


class LeaseUnsure(LeaseLost):
    """The lease was not renewed in time, and nobody is known to have taken it: a later renewal can heal it."""


class BackboneError(VergerError):
    """A backbone cannot be compiled, or its copy in the lake is damaged."""


class StreamError(VergerError):
    """The streaming query ended by itself; nothing is lost, the next run goes on from the checkpoint."""


class StorageError(VergerError):
    """The world's fault while reading or writing bytes: the task is retried, no row is written."""


class DeniedError(StorageError):
    """The whole landing may not be read: somebody has to grant it, waiting does not."""


class OutageError(StorageError):
    """The world's fault, of the kind that the next try, seconds later, need not meet: throttling, a lost connection."""


class IsolationError(VergerError):
    """The world's fault while starting a process to decode in: the task is retried, no row is written."""


class Rejected(Exception):
    """A picture's own fault.

    Attributes
    ----------
    reason : Reason
        One of the fixed list.
    detail : str
        What exactly was seen, for the person who looks at the row.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


def first_line(error: BaseException) -> str:
    """Return what an error says in one line of at most 300 characters; its type where it says nothing."""
    lines = [" ".join(line.split()) for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__
