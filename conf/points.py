"""Named points of the program: the moments between two writes at which it may be cut off.

In production nobody listens, and reaching one does nothing. The fault suite listens, and ends or holds the process
there.
"""

from collections.abc import Callable

POINTS = {
    "arrivals-appended": "a commit of arrivals stands; no query has seen it, no notification is deleted",
    "checkpoint-set-aside": "a query's checkpoint is out of the way; its gap is not known yet",
    "outcomes-adopted": "one commit of an adoption stands, others may be to come",
    "adoption-complete": "every arrival of an adoption has its outcome; no new query has started",
    "compaction-begins": "the small files of a table are known",
    "compaction-written": "the large files of arrivals are written; no commit names them",
    "compaction-committed": "the commit that replaces small files stands",
    "vacuum-listed": "the files that VACUUM deletes are known",
    "request-executed": "what a command asked for is done; it has not been told",
    "refit-planned": "what a refit reads is known",
    "sums-taken": "a refit has its sums",
    "axes-found": "a refit has its axes",
    "components-written": "the files of new components are written; no commit names them",
    "model-appended": "the new model stands in its table; its components are not published",
    "components-published": "the new components are published",
}

Listener = Callable[[str], None]
_listener: Listener | None = None


def reach(point: str) -> None:
    """Tell the listener, where there is one, that the program has come to one of `POINTS`."""
    if _listener is not None:
        _listener(point)


def listen(listener: Listener | None) -> None:
    """Have a function told of each point that this process reaches, on the thread that does; None: nobody."""
    global _listener
    _listener = listener
