"""Knows the queue metrics that AWS publishes each minute, for alarms that watch them; it must not know any alarm."""

from __future__ import annotations

from demo.aws.journal import Journal
from demo.aws.place import Place
from demo.aws.ticking import Ticker

_PER_MINUTE = 4
"""AWS publishes once a minute; more often here, so that an alarm in a short demo is not a minute late."""


class QueueMetrics:
    """Publishes how many messages wait, and for how many an answer is out, under ``AWS/SQS``."""

    def __init__(self, place: Place, *, journal: Journal) -> None:
        self._place = place
        every_s = place.seconds(60 / _PER_MINUTE)
        self._ticker = Ticker("queue-metrics", every_s=every_s, action=self.publish, journal=journal)

    def start(self) -> None:
        """Begin to publish."""
        self._ticker.start()

    def stop(self) -> None:
        """Publish no more."""
        self._ticker.stop()

    def publish(self) -> None:
        """Publish for every queue now."""
        for name, queue in list(self._place.backend("sqs").queues.items()):
            counts = {
                "ApproximateNumberOfMessagesVisible": queue.approximate_number_of_messages,
                "ApproximateNumberOfMessagesNotVisible": queue.approximate_number_of_messages_not_visible,
            }
            self._place.client("cloudwatch").put_metric_data(
                Namespace="AWS/SQS",
                MetricData=[
                    {
                        "MetricName": metric,
                        "Dimensions": [{"Name": "QueueName", "Value": name}],
                        "Value": float(value),
                        "Unit": "Count",
                    }
                    for metric, value in counts.items()
                ],
            )
