"""Runs a program with an argv and a time limit; it never sees a shell."""

from __future__ import annotations

import subprocess

from core_agent.errors import CommandFailed

_TIMEOUT_S = 30


def run(argv: tuple[str, ...], *, doing: str) -> str:
    """Return what ``argv`` printed on standard output; raises ``CommandFailed`` when it exits non-zero or hangs."""
    try:
        done = subprocess.run(
            argv, cwd="/", capture_output=True, text=True, errors="replace", timeout=_TIMEOUT_S, check=False
        )
    except FileNotFoundError:
        raise CommandFailed(doing, argv[0], 127, "not installed, or not in PATH") from None
    except OSError as error:
        raise CommandFailed(doing, argv[0], 126, error.strerror or str(error)) from None
    except subprocess.TimeoutExpired:
        raise CommandFailed(doing, argv[0], 124, f"no end after {_TIMEOUT_S} s") from None
    if done.returncode != 0:
        raise CommandFailed(doing, argv[0], done.returncode, done.stderr or done.stdout)
    return done.stdout
