"""The box that the whole demo lives in: knows how to enter namespaces that the kernel empties when their PID 1 dies.

It must not know what runs inside. Nothing here cleans up: processes, networks, mounts and files of the sandbox exist
only inside its namespaces, so ``kill -9`` at any moment takes them all away.

    python -m demo.sandbox [--door PORT] [--grace SECONDS] -- PROGRAM [ARGUMENT …]
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path
from types import FrameType

from core_agent.errors import DrawbridgeError

INSIDE_VARIABLE = "DRAWBRIDGE_SANDBOX"
GRACE_S = 5
DOOR_TARGET = "192.0.2.1:22"

_UNSHARE = ("unshare", "--net", "--mount", "--uts", "--pid", "--fork", "--mount-proc", "--kill-child=KILL")
_INIT = Path(__file__).with_name("sandbox_init.py")
_PROGRAMS = ("unshare", "nsenter", "setpriv", "ip", "mount", "pivot_root")
_TUN = Path("/dev/net/tun")
# What a host needs of the kernel, tried once in namespaces that vanish with the shell.
_PROBE = """
mount -t tmpfs probe /run
mkdir /run/upper /run/work /run/root
mount -t overlay -o lowerdir=/,upperdir=/run/upper,workdir=/run/work probe /run/root
ip link add name internet type bridge
ip link add name left type veth peer name right
"""


class SandboxError(DrawbridgeError):
    """This machine cannot hold the sandbox; the message says what is wanted."""


def inside() -> bool:
    """Whether this process runs inside a sandbox."""
    return INSIDE_VARIABLE in os.environ


def require(tun: Path = _TUN) -> None:
    """Return if this machine can hold the sandbox, else raise ``SandboxError`` with the first thing that is missing."""
    doing = "entering the sandbox"
    if os.geteuid() != 0:
        raise SandboxError(f"{doing}: wanted root, which creates namespaces, found user id {os.geteuid()}; use sudo")
    for program in _PROGRAMS:
        if shutil.which(program) is None:
            raise SandboxError(f"{doing}: wanted the program {program}, found none; install util-linux and iproute2")
    if not tun.exists() or not stat.S_ISCHR(tun.stat().st_mode):
        raise SandboxError(f"{doing}: wanted the device {tun} for WireGuard, found none; try: modprobe tun")
    if Path.cwd().is_relative_to("/run"):
        raise SandboxError(
            f"{doing}: wanted a working directory outside /run, which is empty inside, found {Path.cwd()}"
        )
    probe = subprocess.run((*_UNSHARE, "sh", "-ec", _PROBE), capture_output=True, text=True, check=False)
    if probe.returncode != 0:
        raise SandboxError(
            f"{doing}: wanted namespaces with an overlay of / and a bridge, found: "
            f"{probe.stderr.strip() or f'exit status {probe.returncode}'}"
        )


def run(argv: tuple[str, ...], *, door: int | None = None, grace_s: int = GRACE_S) -> int:
    """Run ``argv`` inside a new sandbox and return its exit status, 128 + N when signal N ended it.

    ``door`` is a TCP port of this machine's 127.0.0.1 that leads to the core's sshd inside. An interrupt is passed on
    once; the sandbox then has ``grace_s`` seconds to end, or until the second interrupt. Call it from the main thread:
    the kernel kills the sandbox when the thread that started it dies. Raises ``SandboxError``.
    """
    if threading.current_thread() is not threading.main_thread():
        raise SandboxError("entering the sandbox: wanted the main thread, found another")
    require()
    listener = _listen(door) if door is not None else None
    lifeline, held = os.pipe()
    passed = (lifeline,) if listener is None else (lifeline, listener.fileno())
    init: tuple[str, ...] = (sys.executable, "-I", str(_INIT), "--lifeline", str(lifeline))
    if listener is not None:
        init += ("--door", str(listener.fileno()), "--door-target", DOOR_TARGET)
    # A session of its own keeps the terminal's Ctrl-C to this process, which passes it on exactly once.
    process = subprocess.Popen(
        ("setpriv", "--pdeathsig", "KILL", *_UNSHARE, *init, "--", *argv), pass_fds=passed, start_new_session=True
    )
    os.close(lifeline)
    if listener is not None:
        listener.close()
    try:
        return _wait(process, grace_s)
    finally:
        os.close(held)


def _listen(port: int) -> socket.socket:
    """Return a socket listening on this machine's loopback; the sandbox inherits it and answers."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except OSError as error:
        listener.close()
        raise SandboxError(f"opening the door 127.0.0.1:{port}: {error.strerror}; choose another port") from None
    listener.listen()
    return listener


def _wait(process: subprocess.Popen[bytes], grace_s: int) -> int:
    """Wait for the sandbox's end, passing on what this process is told."""
    told: list[int] = []

    def pass_on(signum: int, _frame: FrameType | None) -> None:
        if told or signum == signal.SIGALRM:
            process.kill()
            return
        told.append(signum)
        os.killpg(process.pid, signal.SIGINT if signum == signal.SIGINT else signal.SIGTERM)
        signal.alarm(grace_s)

    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGALRM)
    before = {signum: signal.signal(signum, pass_on) for signum in signals}
    try:
        status = process.wait()
    finally:
        signal.alarm(0)
        for signum, handler in before.items():
            signal.signal(signum, handler)
    return status if status >= 0 else 128 - status


def main() -> int:
    """Run one program in a sandbox, from the command line."""
    parser = argparse.ArgumentParser(prog="python -m demo.sandbox", description="Run a program inside the demo's box.")
    parser.add_argument("--door", type=int, metavar="PORT", help=f"lead 127.0.0.1:PORT to {DOOR_TARGET} inside")
    parser.add_argument("--grace", type=int, default=GRACE_S, metavar="SECONDS", help="to end after an interrupt")
    parser.add_argument("argv", nargs="+", metavar="PROGRAM", help="what to run, with its arguments, after --")
    options = parser.parse_args()
    try:
        return run(tuple(options.argv), door=options.door, grace_s=options.grace)
    except SandboxError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
