"""botocore's exceptions → our error tree; it must not know what any call is for.

Sources: botocore's ``retries/standard.py`` for what throttling is called; Amazon EC2 Auto Scaling API Reference,
"Common error types".
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import BotoCoreError, ClientError, ConnectionError, HTTPClientError  # noqa: A004

from core_agent.errors import DrawbridgeError
from lambdas.errors import CloudBusy, CloudRefused

_BUSY = frozenset(
    {
        "BandwidthLimitExceeded",
        "InternalError",
        "InternalFailure",
        "LimitExceededException",
        "PriorRequestNotComplete",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "RequestTimeout",
        "RequestTimeoutException",
        "ResourceContention",
        "ScalingActivityInProgress",
        "ServiceUnavailable",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "Unavailable",
    }
)


@contextmanager
def calling(doing: str) -> Iterator[None]:
    """Let whatever AWS answers or fails to answer come out as ``CloudBusy`` or ``CloudRefused``, saying ``doing``."""
    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise _translated(doing, error) from error


def code(error: ClientError) -> str:
    """Return AWS's error code, empty when it sent none."""
    return str(error.response.get("Error", {}).get("Code", ""))


def message(error: ClientError) -> str:
    """Return AWS's own sentence, empty when it sent none."""
    return str(error.response.get("Error", {}).get("Message", ""))


def _translated(doing: str, error: BotoCoreError | ClientError) -> DrawbridgeError:
    if not isinstance(error, ClientError):
        kind = CloudBusy if isinstance(error, HTTPClientError | ConnectionError) else CloudRefused
        return kind(f"{doing}: {error}")
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    kind = CloudBusy if code(error) in _BUSY or status >= 500 or status == 429 else CloudRefused
    return kind(f"{doing}: AWS answered {code(error)}: {message(error)}")
