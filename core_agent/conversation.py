"""One caller's connection: documents out of bytes, replies into bytes, and how long each is waited for.

Documents are separated by a newline, which no JSON document contains, in both directions; a caller's last one may end
with his side of the connection instead. What a document means is not known here.

Rule 1: replies come in the order of the documents. All whole documents that are there are taken at once.
Rule 2: a caller who has not taken his replies is still read from, up to the size of one document: the pipes on the way
are never full in both directions, so a caller who sends less than that ahead is never stuck.
Rule 3: nobody is waited for without end, and nobody can make a list without bounds.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable, Iterator

from core_agent.contract.codec import MAX_REQUEST_BYTES

IDLE_S = 180.0  # between two documents
GATHER_S = 0.001  # after many documents, until the next piece of them
DOCUMENT_S = 15.0  # from a document's first byte to its last
REPLY_S = 30.0  # until at least a part of what is sent was taken

_ROOM = MAX_REQUEST_BYTES + 1  # the largest document and its newline, or enough to see that it is larger
_MOST_AT_ONCE = 1_000
_CHUNK = 1 << 16

Answer = Callable[[list[bytes]], Iterator[bytes]]


class Conversation:
    """Talks over ``connection``: each list of documents goes to ``answer``, which gives a reply for each.

    When the descriptor ``stop`` becomes readable, what was read is answered, and then the conversation is over.
    """

    def __init__(self, connection: socket.socket, answer: Answer, *, stop: int) -> None:
        self._connection = connection
        self._answer = answer
        self._stop = stop
        self._inbox = bytearray()
        self._began = 0.0  # when the first byte of the inbox came, by the monotonic clock
        self._ended = False  # nothing more is read
        self._oversize = False

    def hold(self) -> None:
        """Answer until the caller's side ends or ``stop``; raises ``OSError`` when he goes away or is too slow."""
        self._connection.setblocking(False)
        while documents := self._hear():
            self._tell(self._answer(documents))
        if self._oversize:
            self._let_him_finish()

    def _hear(self) -> list[bytes]:
        """Return the whole documents that are there, one at least, or none when there will be no more."""
        while not (documents := self._take()) and not self._ended:
            if self._inbox:
                limit_s, wanted = self._began + DOCUMENT_S - time.monotonic(), f"a document within {DOCUMENT_S:g} s"
            else:
                limit_s, wanted = IDLE_S, f"a document or the end within {IDLE_S:g} s"
            ready = _poll({self._connection.fileno(): select.POLLIN, self._stop: select.POLLIN}, limit_s)
            if self._stop in ready:
                return []
            if not ready:
                raise TimeoutError(f"wanted {wanted}, found {len(self._inbox)} bytes of one")
            self._read()
        # Where there are many, more are on their way, in pieces: a turn for each piece costs more than this wait.
        while 1 < len(documents) < _MOST_AT_ONCE and not self._ended and self._more_within(GATHER_S):
            more = self._take(_MOST_AT_ONCE - len(documents))
            if not more:  # a long document has begun, and has its own time
                break
            documents += more
        return documents

    def _more_within(self, limit_s: float) -> bool:
        """Read what comes until then; return whether anything did."""
        if not _poll({self._connection.fileno(): select.POLLIN}, limit_s):
            return False
        self._read()
        return True

    def _take(self, most: int = _MOST_AT_ONCE) -> list[bytes]:
        *documents, rest = bytes(self._inbox).split(b"\n", most)
        if len(rest) == _ROOM:
            self._ended = self._oversize = True
        if self._ended and rest and b"\n" not in rest:
            documents, rest = [*documents, rest], b""
        if documents:
            self._inbox[:] = rest
            self._began = time.monotonic()
        return documents

    def _read(self) -> None:
        """Read all that is there, as far as there is room for it."""
        if not self._inbox:
            self._began = time.monotonic()
        while len(self._inbox) < _ROOM:
            try:
                data = self._connection.recv(min(_CHUNK, _ROOM - len(self._inbox)))
            except BlockingIOError:
                return
            if not data:
                self._ended = True
                return
            self._inbox += data

    def _tell(self, replies: Iterator[bytes]) -> None:
        """Send ``replies``; none is asked for before the one before it is nearly gone."""
        outbox = bytearray()
        for reply in replies:
            outbox += reply + b"\n"
            if len(outbox) >= _CHUNK:
                self._send(outbox, down_to=_CHUNK)
        self._send(outbox, down_to=0)

    def _send(self, outbox: bytearray, *, down_to: int) -> None:
        limit = time.monotonic() + REPLY_S
        while len(outbox) > down_to:
            try:
                sent = self._connection.send(outbox)
            except BlockingIOError:
                reads = not self._ended and len(self._inbox) < _ROOM
                mask = select.POLLOUT | (select.POLLIN if reads else 0)
                ready = _poll({self._connection.fileno(): mask}, limit - time.monotonic())
                if not ready:
                    raise TimeoutError(f"wanted a reply to be taken within {REPLY_S:g} s, found none") from None
                if reads and ready[self._connection.fileno()] & select.POLLIN:
                    self._read()
            else:
                del outbox[:sent]
                limit = time.monotonic() + REPLY_S

    def _let_him_finish(self) -> None:
        """Drop what still comes: a caller whose last bytes nobody reads may lose the reply that says why."""
        self._connection.shutdown(socket.SHUT_WR)
        limit = time.monotonic() + DOCUMENT_S
        while _poll({self._connection.fileno(): select.POLLIN}, limit - time.monotonic()):
            if not self._connection.recv(_CHUNK):
                return


def _poll(wanted: dict[int, int], limit_s: float) -> dict[int, int]:
    """Return which descriptors are ready for what, none after ``limit_s``."""
    poller = select.poll()
    for descriptor, mask in wanted.items():
        poller.register(descriptor, mask)
    return dict(poller.poll(max(0.0, limit_s) * 1000))
