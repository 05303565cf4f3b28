"""EC2's instance metadata service, version 2: knows what one machine may read about itself, and with which token.

It must not know how the machine was made; it serves on a socket that it is given. Source: Amazon EC2 User Guide, "Use
the Instance Metadata Service". Every refusal is a bare status, as on EC2.
"""

from __future__ import annotations

import json
import secrets
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.message import Message
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address

from demo.aws.credentials import InstanceCredentials
from demo.aws.machines import Machine

ADDRESS = IPv4Address("169.254.169.254")
PORT = 80
MAX_TTL_S = 21_600
RENEW_BEFORE = timedelta(minutes=5)
_TOKEN = "X-aws-ec2-metadata-token"  # noqa: S105 -- a header's name
_TTL = "X-aws-ec2-metadata-token-ttl-seconds"

Mint = Callable[[Machine], InstanceCredentials]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A status, its body and the headers that matter."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()


class Metadata:
    """What ``machine`` may ask. ``clock`` gives seconds; ``mint`` new credentials, called again before they expire."""

    def __init__(self, machine: Machine, mint: Mint, clock: Callable[[], float] = time.monotonic) -> None:
        self._machine = machine
        self._mint = mint
        self._clock = clock
        self._lock = threading.Lock()
        self._tokens: dict[str, float] = {}
        self._credentials: InstanceCredentials | None = None

    def answer(self, method: str, path: str, headers: Mapping[str, str] | Message) -> Answer:
        """Return EC2's answer to one request; ``headers`` must find names whatever their case."""
        path = path.partition("?")[0]
        if path == "/latest/api/token":
            return self._issue(method, headers)
        if method not in {"GET", "HEAD"}:
            return Answer(status=HTTPStatus.METHOD_NOT_ALLOWED)
        if not self._admitted(headers.get(_TOKEN)):
            return Answer(status=HTTPStatus.UNAUTHORIZED)
        body = self._read(path)
        if body is None:
            return Answer(status=HTTPStatus.NOT_FOUND)
        return Answer(status=HTTPStatus.OK, body=body)

    def _issue(self, method: str, headers: Mapping[str, str] | Message) -> Answer:
        if method != "PUT":
            return Answer(status=HTTPStatus.METHOD_NOT_ALLOWED)
        if headers.get("X-Forwarded-For") is not None:
            return Answer(status=HTTPStatus.FORBIDDEN)
        ttl = headers.get(_TTL) or ""
        if not (ttl.isascii() and ttl.isdecimal() and 1 <= int(ttl) <= MAX_TTL_S):
            return Answer(status=HTTPStatus.BAD_REQUEST)
        token = secrets.token_urlsafe(42)
        with self._lock:
            self._tokens[token] = self._clock() + int(ttl)
        return Answer(status=HTTPStatus.OK, body=token.encode(), headers=((_TTL, ttl),))

    def _admitted(self, token: str | None) -> bool:
        if token is None:
            return self._machine.metadata_options.http_tokens != "required"
        with self._lock:
            return self._tokens.get(token, 0) > self._clock()

    def _read(self, path: str) -> bytes | None:
        """The document at ``path``, a folder's entries one per line, or None."""
        machine = self._machine
        documents = {
            "/latest/user-data": machine.user_data,
            "/latest/dynamic/instance-identity/document": _json(_identity_document(machine)),
            "/latest/meta-data/ami-id": machine.image_id.encode(),
            "/latest/meta-data/instance-id": machine.instance_id.encode(),
            "/latest/meta-data/instance-type": machine.instance_type.encode(),
            "/latest/meta-data/local-ipv4": machine.private_ip.encode(),
            "/latest/meta-data/placement/availability-zone": machine.availability_zone.encode(),
            "/latest/meta-data/placement/region": machine.region.encode(),
        }
        if machine.role_name is not None:
            credentials = f"/latest/meta-data/iam/security-credentials/{machine.role_name}"
            if path == credentials:
                return _json(_credentials_document(self._fresh_credentials()))
            documents[credentials] = b""
        if path in documents:
            return documents[path] or None
        return _folder(path, tuple(documents))

    def _fresh_credentials(self) -> InstanceCredentials:
        with self._lock:
            if self._credentials is None or self._credentials.expiration - datetime.now(UTC) < RENEW_BEFORE:
                self._credentials = self._mint(self._machine)
            return self._credentials


class MetadataServer:
    """Serves ``metadata`` on ``listener``, one thread per connection, until ``stop``."""

    def __init__(self, metadata: Metadata, listener: socket.socket) -> None:
        self._server = ThreadingHTTPServer((str(ADDRESS), PORT), _handler(metadata), bind_and_activate=False)
        self._server.socket.close()
        self._server.socket = listener
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()

    def stop(self) -> None:
        """Stop and close the socket."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _handler(metadata: Metadata) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        server_version, sys_version = "EC2ws", ""
        timeout = 5

        def _serve(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            answer = metadata.answer(self.command, self.path, self.headers)
            self.send_response(answer.status)
            self.send_header("Content-Type", "text/plain")
            self.send_header("Content-Length", str(len(answer.body)))
            for name, value in answer.headers:
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _serve  # noqa: N815 -- the names that http.server looks for

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the base class's parameter
            """Say nothing: requests carry tokens."""

    return Handler


def _folder(path: str, documents: tuple[str, ...]) -> bytes | None:
    """The entries below ``path`` as EC2 lists them, folders with a slash; None if there are none."""
    prefix = path.rstrip("/") + "/"
    if not prefix.startswith("/latest/"):
        return None
    names = set()
    for document in documents:
        if document.startswith(prefix):
            name, slash, _ = document.removeprefix(prefix).partition("/")
            names.add(name + slash)
    return "\n".join(sorted(names)).encode() or None


def _identity_document(machine: Machine) -> dict[str, object]:
    return {
        "accountId": machine.account,
        "availabilityZone": machine.availability_zone,
        "imageId": machine.image_id,
        "instanceId": machine.instance_id,
        "instanceType": machine.instance_type,
        "privateIp": machine.private_ip,
        "region": machine.region,
        "version": "2017-09-30",
    }


def _credentials_document(credentials: InstanceCredentials) -> dict[str, object]:
    return {
        "Code": "Success",
        "LastUpdated": _time(datetime.now(UTC)),
        "Type": "AWS-HMAC",
        "AccessKeyId": credentials.access_key_id,
        "SecretAccessKey": credentials.secret_access_key,
        "Token": credentials.token,
        "Expiration": _time(credentials.expiration),
    }


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _json(document: dict[str, object]) -> bytes:
    return json.dumps(document, indent=2).encode()
