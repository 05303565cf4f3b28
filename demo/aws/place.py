"""Knows which account and region this is, where it answers and how long its minute lasts; nothing of its services."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import boto3
from botocore.config import Config
from moto.backends import get_backend

from demo.aws.gaps import Moto

ACCESS_KEY = "AKIADEMOOPERATOR0000"
_make_client: Callable[..., Any] = boto3.client  # its stubs want a literal service name
SECRET_KEY = "demo-operator-secret"  # noqa: S105 - made up: moto accepts any, and nothing else ever sees it


class Place:
    """One account in one region.

    ``endpoint`` is the URL every client uses; ``minute_s`` is how many real seconds a minute of schedules, alarm
    periods and retries lasts, so that tests need not wait for real ones.
    """

    def __init__(self, *, account: str, region: str, endpoint: str, minute_s: float = 60.0) -> None:
        self.account = account
        self.region = region
        self.endpoint = endpoint
        self.minute_s = minute_s
        self._clients: dict[str, Any] = {}
        self._creating = threading.Lock()

    def client(self, service: str) -> Any:  # noqa: ANN401 - boto3 makes a client's class at run time
        """A boto3 client against this place, made once: that costs a tenth of a second, and clients are thread-safe."""
        with self._creating:
            if service not in self._clients:
                self._clients[service] = _make_client(
                    service,
                    region_name=self.region,
                    endpoint_url=self.endpoint,
                    aws_access_key_id=ACCESS_KEY,
                    aws_secret_access_key=SECRET_KEY,
                    config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
                )
            return self._clients[service]

    def backend(self, service: str) -> Moto:
        """The records that moto keeps of ``service`` in this place; IAM's are global."""
        return get_backend(service)[self.account]["aws" if service == "iam" else self.region]

    def arn(self, service: str, resource: str) -> str:
        """The ARN of a regional resource."""
        return f"arn:aws:{service}:{self.region}:{self.account}:{resource}"

    def seconds(self, aws_seconds: float) -> float:
        """Real seconds for a time that AWS counts in whole minutes."""
        return aws_seconds * self.minute_s / 60
