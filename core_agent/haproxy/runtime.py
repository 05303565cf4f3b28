"""One conversation with HAProxy's runtime API: command lines in, answers out; it must not know what they mean.

Source: HAProxy Management Guide 9.3 "Unix Socket commands", interactive mode. ``prompt`` makes every line be answered,
in order, by its output, an empty line and ``> ``. Lines are sent in batches below the limits of all versions (3.2
refuses a line over 16 KiB) and small enough that neither side blocks on a full socket buffer.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from core_agent.errors import RuntimeApiError

_PROMPT = b"\n> "
_BATCH_BYTES = 8192
_TIMEOUT_S = 10.0


class RuntimeSession:
    """An open, interactive connection to the admin socket; a context manager. Raises ``RuntimeApiError``."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(_TIMEOUT_S)
        self._unread = b""
        self._first = ["prompt"]  # goes with the first commands, so that it costs no round trip of its own
        try:
            self._socket.connect(str(path))
        except OSError as error:
            self._socket.close()
            raise RuntimeApiError(f"opening {path}", "connect", error.strerror or str(error)) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._socket.close()

    def run(self, lines: Sequence[str]) -> list[str]:
        """Send ``lines`` pipelined and return their answers, stripped, in the same order."""
        answers: list[str] = []
        batch, self._first = self._first, []
        unasked = len(batch)
        size = 0
        for line in lines:
            if batch and size + len(line) > _BATCH_BYTES:
                answers += self._exchange(batch)
                batch, size = [], 0
            batch.append(line)
            size += len(line) + 1
        if batch:
            answers += self._exchange(batch)
        return answers[unasked:]

    def _exchange(self, batch: Sequence[str]) -> list[str]:
        try:
            self._socket.sendall("".join(f"{line}\n" for line in batch).encode())
            return [self._answer(line) for line in batch]
        except OSError as error:
            raise RuntimeApiError(f"talking to {self._path}", batch[0], error.strerror or str(error)) from None

    def _answer(self, line: str) -> str:
        received = bytearray(self._unread)
        searched = 0
        while (end := received.find(_PROMPT, max(0, searched - len(_PROMPT)))) < 0:
            searched = len(received)
            data = self._socket.recv(1 << 18)
            if not data:
                raise RuntimeApiError(f"talking to {self._path}", line, "the connection was closed")
            received += data
        self._unread = bytes(received[end + len(_PROMPT) :])
        return received[:end].decode(errors="replace").strip()
