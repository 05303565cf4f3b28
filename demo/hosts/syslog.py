"""A host's `/dev/log`: knows how to append what programs log to a file, and must not know who logs."""

from __future__ import annotations

import socket
import threading
from pathlib import Path
from typing import BinaryIO

_MAX_MESSAGE = 65_536


class Syslog:
    """Appends every message that arrives on the datagram socket ``receiver`` to ``log``, until ``stop``."""

    def __init__(self, receiver: socket.socket, log: Path) -> None:
        self._receiver = receiver
        self._log = log
        self._thread = threading.Thread(target=self._copy, name=f"syslog {log.name}", daemon=True)

    def start(self) -> None:
        """Begin to copy."""
        self._thread.start()

    def stop(self) -> None:
        """Copy what has arrived, and end."""
        self._receiver.shutdown(socket.SHUT_RD)
        self._thread.join()
        self._receiver.close()

    def _copy(self) -> None:
        with self._log.open("ab") as output:
            while message := self._receiver.recv(_MAX_MESSAGE):
                _append(output, message)


def _append(output: BinaryIO, message: bytes) -> None:
    """Write one message without its priority (`<134>`)."""
    output.write(message.partition(b">")[2].rstrip(b"\n\0") + b"\n")
    output.flush()
