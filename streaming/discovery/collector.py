"""Discovery through notifications: what the queue tells of becomes what a listing would show, round by round.

A message is deleted only by `done`, after its pictures have arrived for good: whatever fails before, it comes again.
Repeated, reordered and late events change nothing, as each key is looked at now and a version arrives once.
"""

from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from conf import access
from conf.logs import fields, logger
from streaming.discovery.buckets import prefix_of
from streaming.discovery.heads import Look
from streaming.discovery.notifications import Event, Happened, NotUnderstood, events
from streaming.discovery.sighting import Found
from streaming.discovery.sqs import Message, Queue
from streaming.landing import Kind, NameRule

_WAIT = 1.0
_EVENTS = 2_000
_LOOKS = 32
_LOOKS_AT_OTHERS = 4
_REMEMBERED = 1_000


@dataclass
class _Round:
    """What one round has received so far: e_tags by the key to look at, receipts by message, what was passed over."""

    keys: dict[str, set[str]] = field(default_factory=dict)
    receipts: dict[str, str] = field(default_factory=dict)
    passed_over: Counter[str] = field(default_factory=Counter)
    size: int = 0


class Collector:
    """Takes messages from a queue, looks at what they tell of, and deletes them when told.

    Parameters
    ----------
    landing
        URI of the landing on S3, as the tables spell it.
    rule
        Which names count.
    queue
        Gets the bucket's notifications.
    look
        Returns the version of a picture that a key holds, or None; called by several threads at once. `Heads.look`.
    wait
        Seconds that a round waits for its first message, up to 20.
    most
        Events after which a round ends, about.
    """

    def __init__(
        self, landing: str, rule: NameRule, queue: Queue, look: Look, *, wait: float = _WAIT, most: int = _EVENTS
    ) -> None:
        self._bucket, self._prefix = access.bucket_of(landing), prefix_of(landing)
        self._rule = rule
        self._queue = queue
        self._look = look
        self._wait = wait
        self._most = most
        self._threads = ThreadPoolExecutor(_LOOKS, "look")
        self._receipts: dict[str, str] = {}
        self._full = False
        self._passed_over: Counter[str] = Counter()
        self._complained: dict[str, None] = {}

    @property
    def full(self) -> bool:
        """Whether the last round ended by its bound: there is more to receive at once."""
        return self._full

    def receive(self) -> Iterator[Found]:
        """Return the pictures that the messages at hand tell of and that are there.

        Messages of an earlier round that `done` has not deleted are forgotten here, and come again.

        Raises
        ------
        LandingError, StorageError
            The queue or the landing does not answer; no message is lost.
        """
        self._receipts, self._full = {}, False
        taken = _Round()
        for wave in self._queue.waves(self._wait):
            for message in wave:
                self._read(message, taken)
            self._full = taken.size >= self._most
            if self._full:
                break
        found = self._look_at(taken.keys)
        # Only now: a round that failed has nothing to delete, and comes to be counted again.
        self._receipts = taken.receipts
        self._passed_over += taken.passed_over + Counter(gone_already=len(taken.keys) - len(found))
        return iter(found)

    def passed_over(self) -> Counter[str]:
        """Return what has been passed over since the start.

        Events are counted by `test_event`, `deletion`, `other_event` (neither created nor deleted), `foreign` (another
        bucket or prefix), what the name says (`hidden`, `temporary`, `skipped`, `folder_marker`) and `gone_already`;
        messages by `not_understood`, each time they come.
        """
        return self._passed_over.copy()

    def done(self) -> None:
        """Delete the messages of the last round, once its pictures have arrived; also where it found none.

        Raises
        ------
        LandingError, StorageError
            The queue does not let them be deleted; they come again, which changes nothing.
        """
        receipts, self._receipts = self._receipts, {}
        left = self._queue.delete(receipts.values())
        if left:
            logger().warning("messages could not be deleted from the queue and come again", extra=fields(messages=left))

    def _read(self, message: Message, taken: _Round) -> None:
        try:
            told = events(message.body)
        except NotUnderstood as error:
            told = []
            taken.passed_over["not_understood"] += 1
            self._complain(message, error)
        else:
            taken.receipts[message.id] = message.receipt
        # At least one: messages that tell nothing must end a round, too.
        taken.size += max(1, len(told))
        for event in told:
            self._sort(event, taken)

    def _sort(self, event: Event, taken: _Round) -> None:
        why = self._why_not(event)
        if why:
            taken.passed_over[why] += 1
        else:
            taken.keys.setdefault(event.key, set()).add(event.e_tag)

    def _why_not(self, event: Event) -> str:
        """Return why an event does not count; empty for one that does."""
        if event.happened is not Happened.CREATED:
            return str(event.happened.value)
        if event.bucket != self._bucket or not event.key.startswith(self._prefix):
            return "foreign"
        kind = self._rule.kind_below(event.key[len(self._prefix) :])
        return "" if kind is Kind.PICTURE else str(kind.value)

    def _look_at(self, keys: dict[str, set[str]]) -> list[Found]:
        waiting = deque(keys.items())
        looks = [self._threads.submit(self._look_on, waiting) for _ in range(min(len(keys), _LOOKS))]
        try:
            return [each for look in looks for each in look.result()]
        finally:
            # After a failure the other threads have nothing left to do.
            waiting.clear()

    def _look_on(self, waiting: deque[tuple[str, set[str]]]) -> list[Found]:
        # One task for each thread, not for each key: handing a key over costs as much as looking at it.
        seen = []
        while waiting:
            try:
                key, e_tags = waiting.popleft()
            except IndexError:
                break
            seen.append(self._looked(key, e_tags))
        return [each for each in seen if each is not None]

    def _looked(self, key: str, e_tags: set[str]) -> Found | None:
        # None of those told of is a version that came since, or an answer spoilt on its way: the last look is believed.
        for _ in range(_LOOKS_AT_OTHERS):
            found = self._look(key)
            if found is None or "" in e_tags or found.e_tag in e_tags:
                break
        return found

    def _complain(self, message: Message, error: NotUnderstood) -> None:
        if message.id in self._complained:
            return
        if len(self._complained) >= _REMEMBERED:
            del self._complained[next(iter(self._complained))]
        self._complained[message.id] = None
        logger().warning(
            "a message of the queue is not understood; it is left for the dead-letter queue",
            extra=fields(message=message.id, why=str(error)),
        )
