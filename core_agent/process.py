"""Runs a program with an argv and a time limit; it never sees a shell."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping

from core_agent.errors import CommandFailed

_TIMEOUT_S = 30
_NOTHING: Mapping[str, str] = {}


def run(argv: tuple[str, ...], *, doing: str, environment: Mapping[str, str] = _NOTHING) -> str:
    """Return what ``argv`` printed on standard output; raises ``CommandFailed`` when it exits non-zero or hangs.

    ``environment`` is added to our own.
    """
    return start(argv, doing=doing, environment=environment)()


def start(argv: tuple[str, ...], *, doing: str, environment: Mapping[str, str] = _NOTHING) -> Callable[[], str]:
    """Start ``argv`` and return what waits for its end, to be called once: it returns and raises as ``run``."""
    try:
        process = subprocess.Popen(
            argv,
            cwd="/",
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    except FileNotFoundError:
        raise CommandFailed(doing, argv[0], 127, "not installed, or not in PATH") from None
    except OSError as error:
        raise CommandFailed(doing, argv[0], 126, error.strerror or str(error)) from None

    def finish() -> str:
        with process:
            try:
                out, complaint = process.communicate(timeout=_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                raise CommandFailed(doing, argv[0], 124, f"no end after {_TIMEOUT_S} s") from None
        if process.returncode != 0:
            said = (complaint or out).decode(errors="replace")
            raise CommandFailed(doing, argv[0], process.returncode, said)
        return out.decode(errors="replace")

    return finish
