"""The payloads in ``tests/events``, and the batches that SQS makes of them; it must not know who reads them."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent.parent / "events"
ACCOUNT = "123456789012"
REGION = "eu-north-1"
GROUP = "drawbridge-edge"
ROLE = "drawbridge-node-eu-north-1"
ALARM = "drawbridge-core-saturated"
ALARMS = (ALARM, "drawbridge-core-calm", "drawbridge-queue-long", "drawbridge-queue-short")


def payload(name: str, **changes: object) -> dict[str, Any]:
    """Return one payload, with the fields named ``a__b`` set to other values."""
    document: dict[str, Any] = copy.deepcopy(json.loads((FOLDER / f"{name}.json").read_text()))
    for path, value in changes.items():
        *parents, last = path.split("__")
        place = document
        for parent in parents:
            place = place[parent]
        place[last] = value
    return document


def text(name: str, **changes: object) -> str:
    """Return one payload as the text that a message carries."""
    return json.dumps(payload(name, **changes))


def batch(*bodies: str, received: int = 1) -> dict[str, Any]:
    """Return the event that Lambda gets for these messages, called ``m0``, …, ``received`` for the n-th time."""
    return {
        "Records": [
            {
                "messageId": f"m{number}",
                "receiptHandle": "AQEBexample",
                "body": body,
                "attributes": {
                    "ApproximateReceiveCount": str(received),
                    "SentTimestamp": "1795334400000",
                    "SenderId": "AIDAEXAMPLE",
                    "ApproximateFirstReceiveTimestamp": "1795334400001",
                },
                "messageAttributes": {},
                "md5OfBody": "00000000000000000000000000000000",
                "eventSource": "aws:sqs",
                "eventSourceARN": f"arn:aws:sqs:{REGION}:{ACCOUNT}:drawbridge-fleet",
                "awsRegion": REGION,
            }
            for number, body in enumerate(bodies)
        ]
    }


def returned(answer: Any) -> list[str]:  # noqa: ANN401  # JSON
    """Return the ids of the messages that a batch's answer gives back to the queue."""
    return [item["itemIdentifier"] for item in answer["batchItemFailures"]]
