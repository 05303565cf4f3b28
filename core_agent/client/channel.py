"""One SSH channel, joined to the agent by the core's relay: documents out, replies in; it must not know what they say.

Both ways, a document ends with a newline. Several may be under way at once; replies come in their order.

Rule: what is under way unanswered is one document, or at most ``_AHEAD`` bytes. The agent reads more than that from a
caller who has not taken his replies, so the two never wait for each other however long requests and replies are.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Sequence

import paramiko

from core_agent.contract.codec import MAX_REPLY_BYTES
from core_agent.contract.names import shown
from core_agent.errors import ContractError, CoreUnreachable

_AHEAD = 256 << 10  # a quarter of what the agent reads ahead (core_agent.conversation)
_CHUNK = 1 << 16
_STDERR_LINES = 5
_STDERR_BYTES = 1 << 14


class ChannelLost(CoreUnreachable):
    """The channel ended before the reply was whole; another one may carry the request."""


class ConnectionLost(ChannelLost):
    """And so did the connection under it."""


class Channel:
    """``channel`` with the relay at its other end; ``where`` is for messages. For one thread at a time."""

    def __init__(self, channel: paramiko.Channel, where: str) -> None:
        self._channel = channel
        self._where = where
        self._received = bytearray()

    @property
    def open(self) -> bool:
        """Whether the other end has not said, so far, that it is gone."""
        return not (self._channel.closed or self._channel.eof_received)

    def close(self) -> None:
        """Hang up; the relay ends, and the connection stays."""
        self._channel.close()

    def exchange(self, documents: Sequence[bytes], replies: list[bytes]) -> None:
        """Send ``documents`` and add the reply to each to ``replies``, where those stay that came before an error.

        Raises ``ChannelLost`` or ``ConnectionLost`` with what the relay said, and ``ContractError`` for a reply without
        an end.
        """
        unsent = deque(documents)
        under_way: deque[int] = deque()
        ahead = 0
        while unsent or under_way:
            if ahead <= _AHEAD // 2:  # many at a time, for the agent takes together what comes together
                batch = bytearray()
                while unsent and (not ahead or ahead + len(unsent[0]) < _AHEAD):
                    batch += unsent[0] + b"\n"
                    under_way.append(len(unsent[0]) + 1)
                    ahead += under_way[-1]
                    unsent.popleft()
                self._send(batch)
            replies.append(self._reply())
            ahead -= under_way.popleft()

    def _send(self, batch: bytearray) -> None:
        # A relay that hung up before it had read everything: what it left, its stderr and its status say why.
        with contextlib.suppress(OSError, EOFError):
            self._channel.sendall(bytes(batch))

    def _reply(self) -> bytes:
        searched = 0
        while (end := self._received.find(b"\n", searched)) < 0:
            searched = len(self._received)
            if searched > MAX_REPLY_BYTES:
                raise ContractError(f"reply: wanted at most {MAX_REPLY_BYTES} bytes from {self._where}, found more")
            data = self._channel.recv(_CHUNK)
            if not data:
                raise self._loss()
            self._received += data
        reply = bytes(self._received[:end])
        del self._received[: end + 1]
        return reply

    def _loss(self) -> ChannelLost:
        """Return the error that tells why the relay's output ended."""
        with contextlib.suppress(OSError, EOFError):
            self._channel.shutdown_write()  # the relay waits for our end too before it tells its exit status
        said = self._last_lines()
        status = self._channel.recv_exit_status()
        doing = f"asking {self._where}"
        if status < 0:
            return ConnectionLost(f"{doing}: the connection ended before the answer was whole{said}")
        if status > 0:
            return ChannelLost(f"{doing}: the relay exited {status}{said or ': it said nothing'}")
        if not self._received:
            return ChannelLost(f"{doing}: wanted a reply, found nothing{said}")
        return ChannelLost(
            f"{doing}: wanted one JSON document, found {shown(bytes(self._received[:80]))} "
            f"({len(self._received)} bytes): cut short, or not from the agent"
        )

    def _last_lines(self) -> str:
        """What the relay said on stderr, as the end of a sentence, or nothing."""
        tail = b""
        while data := self._channel.recv_stderr(_CHUNK):
            tail = (tail + data)[-_STDERR_BYTES:]
        lines = tail.decode(errors="replace").strip().splitlines()[-_STDERR_LINES:]
        return f": {' / '.join(line.strip() for line in lines)}" if lines else ""
