"""One batch of an SQS queue: done, to be redelivered, or to the dead letters with a reason; it knows no event's kind.

Rule 1: an error that a retry can heal gives the message back to the queue, to come again soon and then ever later; SQS
counts, and gives up in its own time. A spot warning is worth nothing after two minutes.
Rule 2: an error that no retry can heal goes to the dead-letter queue at once, with the reason, and counts as handled.
Rule 3: an error that is none of ours (a bug) is treated as the first kind: the next deployment may heal it.
Rule 4: a dead letter that cannot be sent gives the message back: nothing is dropped here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from core_agent.errors import DrawbridgeError
from lambdas.environment import Queues

_REASON_CHARACTERS = 1000
_FIRST_DELAY_S = 5
_LAST_DELAY_S = 180


class Messenger(Protocol):
    """What a batch asks of SQS; ``lambdas.cloud.Cloud`` does it."""

    def send(self, queue_url: str, body: str, *, attributes: Mapping[str, str]) -> None:
        """Send ``body`` with string attributes."""
        ...

    def hide(self, queue_url: str, receipt_handle: str, *, seconds: int) -> None:
        """Have a received message come again after ``seconds``."""
        ...


def consume(
    event: Mapping[str, Any],
    handle: Callable[[str], None],
    *,
    queues: Queues,
    messenger: Messenger,
    logger: Logger,
    metrics: Metrics,
) -> PartialItemFailureResponse:
    """Give every message's body to ``handle`` and return which messages SQS has to deliver again."""

    def come_again_soon(record: SQSRecord) -> None:
        try:
            messenger.hide(queues.own, record.receipt_handle, seconds=delay_s(record))
        except DrawbridgeError as error:  # it comes again all the same, when the queue's own timeout is over
            logger.warning("message comes again late", extra=_facts(record, error))

    def one(record: SQSRecord) -> None:
        try:
            handle(record.body)
        except DrawbridgeError as error:
            if error.retryable:
                logger.warning("message goes back to the queue", extra=_facts(record, error))
                come_again_soon(record)
                raise
            logger.error("message goes to the dead letters", extra=_facts(record, error))  # noqa: TRY400  # no bug
            messenger.send(queues.dead_letter, record.body, attributes=_attributes(record, error))
            metrics.add_metric("MessagesDeadLettered", MetricUnit.Count, 1)
        except Exception:
            logger.exception("message goes back to the queue: a bug", extra={"message_id": record.message_id})
            raise

    processor = BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)
    answer = process_partial_response(event=dict(event), record_handler=one, processor=processor)
    metrics.add_metric("MessagesReturned", MetricUnit.Count, len(answer["batchItemFailures"]))
    return answer


def delay_s(record: SQSRecord) -> int:
    """Return after how long a message comes again: 5 s after its first failure, twice that after each further one."""
    failures = int(record.attributes.approximate_receive_count)
    return int(min(_LAST_DELAY_S, _FIRST_DELAY_S * 2 ** (failures - 1)))


def _facts(record: SQSRecord, error: DrawbridgeError) -> dict[str, str]:
    return {"message_id": record.message_id, "error": type(error).__name__, "reason": str(error)}


def _attributes(record: SQSRecord, error: DrawbridgeError) -> dict[str, str]:
    """What a person finds beside a dead letter; SQS refuses attributes with control characters in them."""
    reason = "".join(c if c.isprintable() else " " for c in str(error))[:_REASON_CHARACTERS]
    return {"Reason": reason or type(error).__name__, "Error": type(error).__name__, "MessageId": record.message_id}
