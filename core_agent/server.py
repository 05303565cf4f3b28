"""The agent on its Unix socket: one request per connection, read to its end, answered, closed; and the ticker.

Protocol: the client writes one document and shuts its side down; the agent writes one reply and closes. systemd may
hand over the listening socket (sd_listen_fds(3)); otherwise it is made here.
"""

from __future__ import annotations

import grp
import logging
import os
import select
import signal
import socket
import threading
from pathlib import Path

from core_agent.agent import Agent
from core_agent.contract.codec import (
    MAX_REQUEST_BYTES,
    FailedReply,
    RefusedReply,
    decode_request,
    encode_reply,
)
from core_agent.errors import ContractError, DrawbridgeError, Refused

log = logging.getLogger("drawbridge")

_REQUEST_TIMEOUT_S = 15
_LISTEN_FD = 3  # SD_LISTEN_FDS_START
_MOVING_INTERVAL_S, _QUIET_INTERVAL_S, _TROUBLE_INTERVAL_S = 0.25, 2.0, 4.0


def answer(agent: Agent, document: bytes) -> bytes:
    """Return the reply to ``document``; every error of the tree becomes a reply, and a broken document changes nothing.

    The id of a document that cannot be read is ``unreadable``.
    """
    request_id = "unreadable"
    outcome: RefusedReply | FailedReply
    try:
        request_id, command = decode_request(document)
        reply = encode_reply(agent.carry_out(command), request_id=request_id)
        log.info("answered id=%s command=%s", request_id, type(command).__name__)
        return reply  # noqa: TRY300 - the way of success, with its error handled below: a report may be too large
    except ContractError as error:
        outcome = FailedReply(message=str(error), retryable=False)
    except Refused as error:
        outcome = RefusedReply(kind=error.kind, message=str(error))
    except DrawbridgeError as error:
        outcome = FailedReply(message=str(error), retryable=error.retryable)
    log.warning("refused id=%s: %s", request_id, outcome.message)
    return encode_reply(outcome, request_id=request_id)


class Server:
    """Serves until ``stop`` is called; a thread per connection waits its turn at the agent's lock."""

    def __init__(self, agent: Agent, listener: socket.socket) -> None:
        self._agent = agent
        self._listener = listener
        self._stopping = threading.Event()
        self._wake, self._waker = os.pipe()

    def run(self) -> None:
        """Tick, accept and answer until SIGTERM, SIGINT or ``stop``; the process's main thread belongs here."""
        signal.signal(signal.SIGTERM, lambda *_: self.stop())
        signal.signal(signal.SIGINT, lambda *_: self.stop())
        threading.excepthook = _end_loudly
        threading.Thread(target=self._tick, name="ticker", daemon=True).start()
        self.accept()

    def accept(self) -> None:
        """Accept and answer; returns after ``stop``."""
        while self._wake not in select.select((self._listener.fileno(), self._wake), (), ())[0]:
            connection, _ = self._listener.accept()
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def stop(self) -> None:
        """End ``run``; a request that is being carried out is finished by its own thread or by the next start.

        The listening socket itself is left alone: it is systemd's, and shutting it down would end it for good.
        """
        self._stopping.set()
        os.write(self._waker, b".")

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            connection.settimeout(_REQUEST_TIMEOUT_S)
            try:
                connection.sendall(answer(self._agent, _read(connection)))
            except OSError as error:
                log.warning("a client went away: %s", error)

    def _tick(self) -> None:
        interval, complaint = _MOVING_INTERVAL_S, ""
        while not self._stopping.wait(interval):
            try:
                moving = self._agent.tick()
            except DrawbridgeError as error:
                if str(error) != complaint:  # once for each trouble, not four times a second
                    complaint = str(error)
                    log.error("converging: %s; trying again and again", complaint)  # noqa: TRY400 - the message is whole
                interval = min(2 * interval, _TROUBLE_INTERVAL_S)
                continue
            if complaint:
                log.info("converging: well again")
            interval, complaint = (_MOVING_INTERVAL_S if moving else _QUIET_INTERVAL_S), ""


def _end_loudly(hook: threading.ExceptHookArgs) -> None:
    """End the process on an error that the tree does not know: systemd starts it anew, and starting converges."""
    log.critical("an unexpected error ended the agent", exc_info=hook.exc_value)
    os._exit(70)  # EX_SOFTWARE; a thread cannot end its process otherwise


def listen(path: Path, *, group: str) -> socket.socket:
    """Return systemd's socket when it passed one, else a new one at ``path`` that ``group`` may connect to."""
    if os.environ.get("LISTEN_PID") == str(os.getpid()) and os.environ.get("LISTEN_FDS") == "1":
        return socket.socket(fileno=_LISTEN_FD)
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    previous = os.umask(0o177)
    try:
        listener.bind(str(path))
    finally:
        os.umask(previous)
    os.chown(path, -1, grp.getgrnam(group).gr_gid)
    path.chmod(0o660)
    listener.listen(64)
    return listener


def _read(connection: socket.socket) -> bytes:
    """Read to the end of the client's side, or to one byte more than is ever accepted."""
    received = bytearray()
    while len(received) <= MAX_REQUEST_BYTES and (data := connection.recv(1 << 16)):
        received += data
    return bytes(received)
