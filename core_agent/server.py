"""The agent on its Unix socket, a thread for each caller, and the ticker; it knows no command.

systemd may hand over the listening socket (sd_listen_fds(3)); otherwise it is made here.
"""

from __future__ import annotations

import grp
import logging
import os
import select
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from core_agent.agent import Agent
from core_agent.contract.codec import FailedReply, RefusedReply, decode_request, encode_reply
from core_agent.contract.messages import Command, Report
from core_agent.conversation import Conversation
from core_agent.errors import ContractError, DrawbridgeError, RecordsLost, Refused
from core_agent.turns import Turns

log = logging.getLogger("drawbridge")

# Each caller has one descriptor, and systemd lets a service have 1,024 unless told otherwise.
_MOST_CALLERS = 500
# Deep enough for the most nested document that json reads; what is not used costs no memory.
_STACK_BYTES = 1 << 20
_FINISH_S = 10.0
_LISTEN_FD = 3  # SD_LISTEN_FDS_START
_MOVING_INTERVAL_S, _LOOK_INTERVAL_S, _TROUBLE_INTERVAL_S = 0.25, 2.0, 4.0
_LOOK_REST = 19.0  # times as long as a look took: a large fleet's looks take a twentieth of one processor


def answer(turns: Turns, documents: Sequence[bytes]) -> Iterator[bytes]:
    """Carry out ``documents`` in one turn, then yield the reply to each, in order, made when it is asked for.

    Every error of the tree becomes a reply; a document that cannot be read takes no turn and changes nothing, and its
    reply's id is ``unreadable``.
    """
    requests = [_read(document) for document in documents]
    commands = [wish for _, wish in requests if not isinstance(wish, ContractError)]
    if commands:
        kinds = Counter(type(command).__name__ for command in commands)
        ids = requests[0][0] if len(requests) == 1 else f"{requests[0][0]}…{requests[-1][0]}"
        log.info("asked id=%s %s", ids, " ".join(f"{kind}={count}" for kind, count in kinds.items()))
    outcomes = iter(turns.carry_out(commands) if commands else ())
    return (
        _reply(request_id, wish if isinstance(wish, ContractError) else next(outcomes)) for request_id, wish in requests
    )


def _read(document: bytes) -> tuple[str, Command | ContractError]:
    try:
        return decode_request(document)
    except ContractError as error:
        return "unreadable", error


def _reply(request_id: str, outcome: Report | DrawbridgeError) -> bytes:
    said: Report | RefusedReply | FailedReply
    match outcome:
        case Refused():
            said = RefusedReply(kind=outcome.kind, message=str(outcome))
        case DrawbridgeError():
            said = FailedReply(message=str(outcome), retryable=outcome.retryable)
        case _:
            said = outcome
    if isinstance(outcome, DrawbridgeError):
        log.warning("refused id=%s: %s", request_id, outcome)
    try:
        return encode_reply(said, request_id=request_id)
    except ContractError as error:  # a report that is too large
        return encode_reply(FailedReply(message=str(error), retryable=False), request_id=request_id)


class Server:
    """Serves until ``stop`` is called: up to 500 callers at once, each in a thread of its own."""

    def __init__(self, agent: Agent, listener: socket.socket) -> None:
        self._agent = agent
        self._turns = Turns(agent.carry_out_all)
        self._listener = listener
        self._stopping = threading.Event()
        self._wake, self._waker = os.pipe()
        self._callers: set[threading.Thread] = set()

    def run(self) -> None:
        """Tick, accept and answer until SIGTERM, SIGINT or ``stop``; the process's main thread belongs here."""
        signal.signal(signal.SIGTERM, lambda *_: self.stop())
        signal.signal(signal.SIGINT, lambda *_: self.stop())
        threading.excepthook = _end_loudly
        threading.stack_size(_STACK_BYTES)
        ticker = threading.Thread(target=self._tick, name="ticker", daemon=True)
        ticker.start()
        self.accept()
        ticker.join(_FINISH_S)

    def accept(self) -> None:
        """Accept and answer; returns after ``stop``, when what had been read by then is answered."""
        while self._wake not in select.select((self._listener.fileno(), self._wake), (), ())[0]:
            connection, _ = self._listener.accept()
            if len(self._callers) >= _MOST_CALLERS:
                log.warning("a caller was sent away: wanted at most %d at once", _MOST_CALLERS)
                connection.close()
                continue
            caller = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._callers.add(caller)
            caller.start()
        limit = time.monotonic() + _FINISH_S
        for caller in tuple(self._callers):
            caller.join(max(0.0, limit - time.monotonic()))

    def stop(self) -> None:
        """End ``run`` once the turn in progress is over; callers find their connections closed, and may call again.

        The listening socket itself is left alone: it is systemd's, and shutting it down would end it for good.
        """
        self._stopping.set()
        os.write(self._waker, b".")

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection:
                Conversation(connection, lambda documents: answer(self._turns, documents), stop=self._wake).hold()
        except OSError as error:
            log.warning("a caller was given up: %s", error)
        finally:
            self._callers.discard(threading.current_thread())

    def _tick(self) -> None:
        """Look at everything now and then, and at the nodes in motion in between."""
        interval, complaint, look_at = _MOVING_INTERVAL_S, "", 0.0
        while not self._stopping.wait(interval):
            began = time.monotonic()
            looks = began >= look_at
            try:
                moving = self._agent.tick() if looks else self._agent.advance()
            except RecordsLost:  # nothing that is recorded now would be found again
                raise
            except DrawbridgeError as error:
                if str(error) != complaint:  # once for each trouble, not four times a second
                    complaint = str(error)
                    log.error("converging: %s; trying again and again", complaint)  # noqa: TRY400 - the message is whole
                interval = min(2 * interval, _TROUBLE_INTERVAL_S)
                continue
            if looks:
                ended = time.monotonic()
                look_at = ended + max(_LOOK_INTERVAL_S, _LOOK_REST * (ended - began))
            if complaint:
                log.info("converging: well again")
            interval, complaint = _MOVING_INTERVAL_S, ""
            if not moving:
                interval = max(_MOVING_INTERVAL_S, look_at - time.monotonic())


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
