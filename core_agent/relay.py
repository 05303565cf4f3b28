"""What the SSH key opens: standard input to the agent's socket, its reply to standard output; it reads neither.

Imports little on purpose: it starts anew for every request.
"""

from __future__ import annotations

import os
import signal
import socket
import sys

WORD = "drawbridge"
_LIMIT_BYTES = (1 << 20) + 1  # one more than the agent accepts, so that it can say so itself
_TIMEOUT_S = 30
_REQUEST_TIMEOUT_S = _REPLY_TIMEOUT_S = 30


def relay(path: str) -> int:
    """Return the exit status: 0 when a whole reply was passed on, 1 with a line on standard error when not.

    sshd runs this whatever was asked for and says what that was; anything but the one word is somebody looking for a
    shell, a file or a tunnel, and is told so at once. A caller that never finishes its request, or never takes the
    reply, is cut off.
    """
    asked = os.environ.get("SSH_ORIGINAL_COMMAND", "" if "SSH_CONNECTION" in os.environ else WORD)
    if asked != WORD:
        print("this key opens one door, Drawbridge's agent: no shell, no files, no forwarding", file=sys.stderr)
        return 1
    signal.signal(signal.SIGALRM, _give_up)
    signal.alarm(_REQUEST_TIMEOUT_S)
    agent = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    agent.settimeout(_TIMEOUT_S)
    try:
        agent.connect(path)
        left = _LIMIT_BYTES
        while left and (data := os.read(0, min(left, 1 << 16))):
            agent.sendall(data)
            left -= len(data)
        agent.shutdown(socket.SHUT_WR)
        signal.alarm(_REPLY_TIMEOUT_S)
        while data := agent.recv(1 << 16):
            view = memoryview(data)
            while view:
                view = view[os.write(1, view) :]
    except OSError as error:
        print(f"reaching the agent at {path}: {error.strerror or error}; is drawbridge-agent running?", file=sys.stderr)
        return 1
    return 0


def _give_up(*_: object) -> None:
    raise TimeoutError(f"no whole request or no taker for the reply within {_REQUEST_TIMEOUT_S} s")
