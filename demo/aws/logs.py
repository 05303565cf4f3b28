"""Knows where a function's output goes: journal, CloudWatch Logs and, for metric lines, CloudWatch; not who wrote."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from botocore.exceptions import ClientError

from demo.aws import emf
from demo.aws.journal import Journal
from demo.aws.place import Place


class LogKeeper:
    """Keeps output in the background, in order, so that no invocation waits for its own log."""

    def __init__(self, place: Place, *, journal: Journal) -> None:
        self._place = place
        self._journal = journal
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="logs")
        self._streams: set[tuple[str, str]] = set()

    def keep(self, *, function: str, group: str, stream: str, text: str) -> None:
        """Have ``text`` kept, soon."""
        self._journal.say(function, text)
        self._worker.submit(self._keep, function, group, stream, text)

    def flush(self) -> None:
        """Return when everything so far has been kept."""
        self._worker.submit(lambda: None).result()

    def close(self) -> None:
        """Keep what is waiting and stop."""
        self._worker.shutdown(wait=True)

    def _keep(self, function: str, group: str, stream: str, text: str) -> None:
        try:
            self._ensure_stream(group, stream)
            now = int(time.time() * 1000)
            events = [{"timestamp": now, "message": line} for line in text.splitlines() if line]
            if events:
                self._place.client("logs").put_log_events(logGroupName=group, logStreamName=stream, logEvents=events)
            for line in text.splitlines():
                self._publish(list(emf.parse(line)))
        except Exception:  # noqa: BLE001 - one line that cannot be kept must not end the keeping of all others
            self._journal.failed(function, "keeping its log")

    def _ensure_stream(self, group: str, stream: str) -> None:
        if (group, stream) in self._streams:
            return
        logs = self._place.client("logs")
        for make, request in (
            (logs.create_log_group, {"logGroupName": group}),
            (logs.create_log_stream, {"logGroupName": group, "logStreamName": stream}),
        ):
            try:
                make(**request)
            except ClientError as error:
                if error.response["Error"]["Code"] != "ResourceAlreadyExistsException":
                    raise
        self._streams.add((group, stream))

    def _publish(self, points: list[emf.MetricPoint]) -> None:
        """One request for each namespace of a line."""
        for namespace in {point.namespace for point in points}:
            data = [_datum(point) for point in points if point.namespace == namespace]
            self._place.client("cloudwatch").put_metric_data(Namespace=namespace, MetricData=data)


def _datum(point: emf.MetricPoint) -> dict[str, Any]:
    return {
        "MetricName": point.name,
        "Dimensions": [{"Name": name, "Value": value} for name, value in point.dimensions.items()],
        "Timestamp": point.time,
        "Values": list(point.values),
        "Unit": point.unit,
        "StorageResolution": point.resolution_s,
    }
