"""moto's queues for backlogs of thousands: its own count every message at each send and receive, and lose some.

A deletion in moto replaces the list of messages by a copy, without what another thread appended meanwhile.
"""

import time
from typing import Any

from moto.sqs import models
from moto.sqs.exceptions import ReceiptHandleIsInvalid
from moto.sqs.models import Queue, SQSBackend

_COUNTS = {
    "ApproximateNumberOfMessages": "approximate_number_of_messages",
    "ApproximateNumberOfMessagesDelayed": "approximate_number_of_messages_delayed",
    "ApproximateNumberOfMessagesNotVisible": "approximate_number_of_messages_not_visible",
}
_attributes_but_counts = SQSBackend.get_queue_attributes


def quicken() -> None:
    """Change moto's queues in this process."""
    changed: Any = models
    changed.unix_time = time.time
    changed.unix_time_millis = lambda: time.time() * 1000
    changed.Queue.BASE_ATTRIBUTES = [name for name in Queue.BASE_ATTRIBUTES if name not in _COUNTS]
    changed.Queue.delete_message = _delete
    changed.SQSBackend.get_queue_attributes = _attributes
    changed.SQSBackend.is_message_valid_based_on_retention_period = lambda *_: True


def _attributes(backend: SQSBackend, queue_name: str, attribute_names: list[str]) -> dict[str, Any]:
    """Count only for who asks for it."""
    others = [name for name in attribute_names if name not in _COUNTS]
    wanted = _COUNTS if "All" in attribute_names else attribute_names
    counts = {name: getattr(backend.get_queue(queue_name), _COUNTS[name]) for name in wanted if name in _COUNTS}
    return _attributes_but_counts(backend, queue_name, others) | counts


def _delete(queue: Queue, receipt_handle: str) -> None:
    """Delete in place; what was received lies at the front."""
    with queue._messages_lock:
        if receipt_handle in queue.deleted_messages:
            return
        message = next((each for each in queue._messages if each.had_receipt_handle(receipt_handle)), None)
        if message is None:
            raise ReceiptHandleIsInvalid
        queue._messages.remove(message)
        queue.pending_messages.discard(message)
        queue.deleted_messages.update(str(each) for each in message.all_receipt_handles)
