"""Knows how an event source mapping moves messages from a queue to its function; it must not know what they say.

https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html
"""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from moto.sqs import models

from demo.aws.functions import Functions, Throttled
from demo.aws.gaps import Gaps, Moto
from demo.aws.journal import Journal
from demo.aws.place import Place
from demo.aws.ticking import Ticker

_AT_A_TIME = 5
"""Batches of one mapping that AWS starts with, where the mapping sets no maximum concurrency."""
_LOOK_S = 0.2


def install(gaps: Gaps) -> None:
    """Fill moto's gaps until ``gaps`` are undone."""

    def receive_message(self: Moto, queue_name: str, *args: Any, **kwargs: Any) -> list[Moto]:  # noqa: ANN401
        with self.get_queue(queue_name)._messages_lock:  # noqa: SLF001 - waiting for a message releases it
            received: list[Moto] = original_receive(self, queue_name, *args, **kwargs)
            return received

    def delete_message(self: Moto, receipt_handle: str) -> None:
        with self._messages_lock:
            original_delete(self, receipt_handle)

    original_receive = gaps.fill(
        models.SQSBackend, "receive_message", receive_message, gap="loses messages when two threads use a queue"
    )
    original_delete = gaps.fill(
        models.Queue, "delete_message", delete_message, gap="loses messages that arrive while one is deleted"
    )


class QueuePollers:
    """One poller per event source mapping, started and stopped as mappings come and go."""

    def __init__(self, place: Place, functions: Functions, *, journal: Journal) -> None:
        self._place = place
        self._functions = functions
        self._journal = journal
        self._pollers: dict[str, _Poller] = {}
        self._ticker = Ticker("event-sources", every_s=_LOOK_S, action=self._follow, journal=journal)

    def start(self) -> None:
        """Begin to follow the mappings."""
        self._ticker.start()

    def stop(self) -> None:
        """Return when no batch is under way."""
        self._ticker.stop()
        for poller in self._pollers.values():
            poller.stop()
        self._pollers.clear()

    def _follow(self) -> None:
        mappings = {
            uuid: mapping
            for uuid, mapping in list(self._place.backend("lambda")._event_source_mappings.items())  # noqa: SLF001
            if mapping.enabled
        }
        for uuid in self._pollers.keys() - mappings.keys():
            self._pollers.pop(uuid).stop()
        for uuid in mappings.keys() - self._pollers.keys():
            self._pollers[uuid] = _Poller(self._place, self._functions, mappings[uuid], journal=self._journal)


class _Poller:
    """Receives for one mapping, gathers batches and has them handled, several at a time."""

    def __init__(self, place: Place, functions: Functions, mapping: Moto, *, journal: Journal) -> None:
        self._place = place
        self._functions = functions
        self._mapping = mapping
        self._journal = journal
        at_a_time = int((mapping.scaling_config or {}).get("MaximumConcurrency", _AT_A_TIME))
        self._free = threading.Semaphore(at_a_time)
        self._workers = ThreadPoolExecutor(at_a_time, thread_name_prefix="event-source")
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="event-source", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Return when every batch has been answered."""
        self._stopping.set()
        self._thread.join()
        self._workers.shutdown(wait=True)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._free.acquire()
            try:
                batch = self._gather()
            except Exception:  # noqa: BLE001 - a queue may be deleted under its mapping; the next look may find it
                self._journal.failed("event-source", f"receiving from {self._mapping.event_source_arn}")
                self._stopping.wait(1.0)
                batch = []
            if batch:
                self._workers.submit(self._handle, batch)
            else:
                self._free.release()

    def _gather(self) -> list[Moto]:
        """A batch: what is there at once, or what comes within the batching window."""
        size = int(self._mapping.batch_size)
        window_s = float(self._mapping.max_batch_window or 0)
        batch = self._receive(size)
        deadline = time.monotonic() + window_s
        while batch and len(batch) < size and time.monotonic() < deadline and not self._stopping.is_set():
            batch += self._receive(size - len(batch))
        return batch

    def _receive(self, count: int) -> list[Moto]:
        sqs = self._place.backend("sqs")
        name = self._queue_name()
        visibility_s = sqs.queues[name].visibility_timeout
        received: list[Moto] = sqs.receive_message(name, min(count, 10), 1, visibility_s, ["All"])
        return received

    def _handle(self, batch: list[Moto]) -> None:
        try:
            failed = self._failures(batch)
            sqs = self._place.backend("sqs")
            for message in batch:
                if message.id not in failed:
                    sqs.delete_message(self._queue_name(), message.receipt_handle)
        except Throttled as busy:
            self._journal.say("event-source", f"{busy}; the messages become visible again")
        except Exception:  # noqa: BLE001 - the messages become visible again, as on AWS; the journal has the reason
            self._journal.failed("event-source", f"a batch of {self._mapping.event_source_arn}")
        finally:
            self._free.release()

    def _failures(self, batch: list[Moto]) -> set[str]:
        """The ids of the messages that were not handled. Without ReportBatchItemFailures it is all or none."""
        everything = {message.id for message in batch}
        event = {"Records": [self._record(message) for message in batch]}
        outcome = self._functions.invoke(self._mapping.function_arn, json.dumps(event).encode())
        if outcome.error is not None:
            return everything
        if "ReportBatchItemFailures" not in (self._mapping.function_response_types or []):
            return set()
        return reported_failures(json.loads(outcome.payload), everything)

    def _record(self, message: Moto) -> dict[str, Any]:
        return {
            "messageId": message.id,
            "receiptHandle": message.receipt_handle,
            "body": message.body,
            "attributes": {
                "ApproximateReceiveCount": str(message.approximate_receive_count),
                "SentTimestamp": str(message.sent_timestamp),
                "SenderId": "AIDADEMOSENDER0000000",
                "ApproximateFirstReceiveTimestamp": str(message.approximate_first_receive_timestamp),
            },
            "messageAttributes": {
                name: {"stringValue": value.get("StringValue"), "dataType": value["DataType"]}
                for name, value in message.message_attributes.items()
            },
            "md5OfBody": message.body_md5,
            "eventSource": "aws:sqs",
            "eventSourceARN": self._mapping.event_source_arn,
            "awsRegion": self._place.region,
        }

    def _queue_name(self) -> str:
        return str(self._mapping.event_source_arn).rsplit(":", 1)[1]


def reported_failures(answer: Any, everything: set[str]) -> set[str]:  # noqa: ANN401 - whatever a handler returned
    """What ReportBatchItemFailures means: an unreadable answer, or an unknown id, fails the whole batch."""
    if answer is None:
        return set()
    if not isinstance(answer, dict):
        return everything
    reported: set[str] = set()
    for entry in answer.get("batchItemFailures") or ():
        identifier = entry.get("itemIdentifier") if isinstance(entry, dict) else None
        if identifier not in everything:
            return everything
        reported.add(identifier)
    return reported
