"""One caller's connection, over a socket pair: framing, order, room and patience."""

from __future__ import annotations

import os
import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from core_agent import conversation
from core_agent.contract.codec import MAX_REQUEST_BYTES
from core_agent.conversation import Conversation

PATIENCE_S = 20


class Held:
    """A conversation in a thread of its own that answers each document with itself in brackets."""

    def __init__(self) -> None:
        self.caller, self._agent = socket.socketpair()
        self.caller.settimeout(PATIENCE_S)
        self.stop, self._stopper = os.pipe()
        self.taken: list[list[bytes]] = []
        self.made = 0
        self.reply_bytes = 0  # when not 0, what each reply is stuffed up to
        self.error: OSError | None = None
        self.go = threading.Event()
        self.go.set()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with self._agent:
            try:
                Conversation(self._agent, self._answer, stop=self.stop).hold()
            except OSError as error:
                self.error = error

    def _answer(self, documents: list[bytes]) -> Iterator[bytes]:
        self.taken.append(documents)
        assert self.go.wait(PATIENCE_S)
        for document in documents:
            self.made += 1
            yield b"<%s>" % document[:20].ljust(self.reply_bytes)

    def hear(self) -> bytes:
        """Return all that comes until the conversation is over."""
        return b"".join(iter(lambda: self.caller.recv(1 << 16), b""))

    def over(self) -> None:
        """Return once the conversation is over."""
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()

    def end(self) -> None:
        """Let whatever still goes on end."""
        self.go.set()
        os.write(self._stopper, b".")
        self.caller.close()
        self.over()
        os.close(self.stop)
        os.close(self._stopper)


@pytest.fixture
def held() -> Iterator[Held]:
    """A conversation with an echo."""
    held = Held()
    yield held
    held.end()


def test_documents_are_answered_in_order_for_as_long_as_the_caller_likes(held: Held) -> None:
    """One connection, many documents, a reply for each, and the end of the caller's side ends it."""
    for number in range(3):
        held.caller.sendall(b"%d\n" % number)
        assert held.caller.recv(100) == b"<%d>\n" % number
    held.caller.sendall(b"x\ny\nz\n")
    held.caller.shutdown(socket.SHUT_WR)
    assert held.hear() == b"<x>\n<y>\n<z>\n"
    assert held.error is None


def test_what_is_there_is_taken_at_once(held: Held) -> None:
    """What comes while a turn is under way waits together for the next, half a document for its other half."""
    held.go.clear()
    held.caller.sendall(b"1\n")
    while not held.taken:
        time.sleep(0.001)
    held.caller.sendall(b"2\n3\n\n4")
    held.go.set()
    held.caller.sendall(b"4\n")
    held.caller.shutdown(socket.SHUT_WR)
    assert held.hear() == b"<1>\n<2>\n<3>\n<>\n<44>\n"
    assert held.taken[0] == [b"1"]
    assert held.taken[1][:3] == [b"2", b"3", b""]


def test_pieces_of_many_documents_make_one_list(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a caller sends ahead comes in pieces; a turn for each would cost more than the moment between them."""
    monkeypatch.setattr(conversation, "GATHER_S", PATIENCE_S)
    held.caller.sendall(b"1\n2\n")
    time.sleep(0.05)
    held.caller.sendall(b"3\n4\n")
    held.caller.shutdown(socket.SHUT_WR)
    assert held.hear() == b"<1>\n<2>\n<3>\n<4>\n"
    assert held.taken == [[b"1", b"2", b"3", b"4"]]


def test_half_a_document_does_not_keep_the_whole_ones_waiting(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    """What has come whole is answered although more trickles in."""
    monkeypatch.setattr(conversation, "GATHER_S", 2 * PATIENCE_S)
    held.caller.sendall(b"1\n2\n")
    time.sleep(0.05)
    held.caller.sendall(b"half")
    assert held.caller.recv(100).startswith(b"<1>\n")


def test_the_last_document_may_end_with_the_callers_side(held: Held) -> None:
    """So a person can pipe one into the relay without minding newlines."""
    held.caller.sendall(b"first\nlast")
    held.caller.shutdown(socket.SHUT_WR)
    assert held.hear() == b"<first>\n<last>\n"


def test_a_caller_who_says_nothing_gets_no_reply(held: Held) -> None:
    """A connection that is opened and closed is no request."""
    held.caller.shutdown(socket.SHUT_WR)
    assert held.hear() == b""
    assert held.taken == []


def test_no_list_is_longer_than_a_thousand(held: Held) -> None:
    """However many documents a caller sends ahead, a turn takes a bounded number of them."""
    held.go.clear()
    held.caller.sendall(b"x\n")
    held.caller.sendall(b"y\n" * 2500)
    held.go.set()
    held.caller.shutdown(socket.SHUT_WR)
    assert held.hear() == b"<x>\n" + b"<y>\n" * 2500
    assert max(len(documents) for documents in held.taken) == 1000


# --- room -----------------------------------------------------------------------------------------------------------


def test_the_largest_document_is_taken_whole(held: Held) -> None:
    """Exactly the limit, and another one behind it."""
    held.caller.sendall(b"a" * MAX_REQUEST_BYTES + b"\nb\n")
    held.caller.shutdown(socket.SHUT_WR)
    assert held.hear() == b"<" + b"a" * 20 + b">\n<b>\n"
    assert [len(document) for documents in held.taken for document in documents] == [MAX_REQUEST_BYTES, 1]


def test_a_larger_one_is_answered_once_and_ends_it(held: Held) -> None:
    """A caller who goes on writing long after the limit still finds the one reply to it, then the end."""
    with suppress(BrokenPipeError):
        for _ in range(64):
            held.caller.sendall(b"b\n" + b"a" * (MAX_REQUEST_BYTES // 4))
        held.caller.sendall(b"a" * (3 * MAX_REQUEST_BYTES))
        held.caller.sendall(b"\nnever heard\n")
        held.caller.shutdown(socket.SHUT_WR)
    heard = held.hear()
    assert heard.endswith(b"<" + b"a" * 20 + b">\n")
    assert b"never" not in heard
    assert len(held.taken[-1][-1]) == MAX_REQUEST_BYTES + 1
    held.over()
    assert held.error is None


def test_who_sends_ahead_is_read_while_he_takes_no_reply(held: Held) -> None:
    """With every pipe on the way full of replies, nearly a megabyte of requests still gets in: nobody is stuck."""
    held.reply_bytes = 2_000
    held.caller.sendall((b"c" * 99 + b"\n") * 9_000)
    held.caller.shutdown(socket.SHUT_WR)
    assert held.hear().count(b">\n") == 9_000


def test_replies_are_made_as_they_are_taken(held: Held) -> None:
    """A caller who asks for a hundred large replies and takes none has two of them made, not a hundred."""
    held.reply_bytes = 1 << 20
    held.caller.sendall(b"x\n" * 100)
    select.select((held.caller,), (), (), PATIENCE_S)
    time.sleep(0.2)
    assert held.made <= 3
    held.caller.shutdown(socket.SHUT_WR)
    assert held.hear().count(b">\n") == 100


# --- patience -------------------------------------------------------------------------------------------------------


def test_a_silent_caller_is_let_go(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between documents there is time, but not for ever."""
    monkeypatch.setattr(conversation, "IDLE_S", 0.2)
    held.caller.sendall(b"x\n")
    assert held.hear() == b"<x>\n"
    held.over()
    assert str(held.error) == "wanted a document or the end within 0.2 s, found 0 bytes of one"


def test_half_a_document_is_not_waited_for_as_long(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    """From its first byte on, whatever comes between: a byte now and then does not keep it open."""
    monkeypatch.setattr(conversation, "DOCUMENT_S", 0.5)
    began = time.monotonic()
    with suppress(BrokenPipeError):
        while time.monotonic() < began + PATIENCE_S:
            held.caller.sendall(b"x")
            time.sleep(0.05)
    held.over()
    assert time.monotonic() - began < PATIENCE_S / 2
    assert "wanted a document within 0.5 s, found" in str(held.error)
    assert held.taken == []


def test_a_caller_who_takes_no_replies_is_cut_off(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    """He may send, but his replies do not wait for him for ever."""
    monkeypatch.setattr(conversation, "REPLY_S", 0.3)
    held.reply_bytes = 1 << 20
    held.caller.sendall(b"x\ny\n")
    held.over()
    assert str(held.error) == "wanted a reply to be taken within 0.3 s, found none"


def test_a_slow_taker_is_not_cut_off(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as something is taken, the whole may last longer."""
    monkeypatch.setattr(conversation, "REPLY_S", 1)
    held.reply_bytes = 1 << 20
    held.caller.sendall(b"x\ny\n")
    held.caller.shutdown(socket.SHUT_WR)
    heard = 0
    while data := held.caller.recv(1 << 16):
        heard += len(data)
        time.sleep(0.05)
    assert heard > 2 << 20


def test_stopping_answers_what_was_read_and_hangs_up(held: Held) -> None:
    """A caller whose turn is in progress gets his reply; then, and for who is silent at once, it is over."""
    held.go.clear()
    held.caller.sendall(b"x\n")
    while not held.taken:
        time.sleep(0.001)
    os.write(held._stopper, b".")
    held.go.set()
    assert held.hear() == b"<x>\n"
    held.over()
    assert held.error is None
