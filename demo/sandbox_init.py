"""PID 1 of the sandbox: knows how to prepare its namespaces, run one program, and end with it.

It must not know what the program is; it runs by path under ``python -I``, so it imports the standard library only. The
kernel kills whatever is left inside when this process ends.
"""

from __future__ import annotations

import argparse
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

TEMPORARY = Path("/run/tmp")
INSIDE_VARIABLE = "DRAWBRIDGE_SANDBOX"
_DOOR = Path(__file__).with_name("door.py")


def main() -> int:
    """Prepare, run the program, reap every orphan, and return the program's exit status."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--lifeline", type=int, required=True)
    parser.add_argument("--door", type=int)
    parser.add_argument("--door-target")
    parser.add_argument("argv", nargs="+")
    options = parser.parse_args()
    if _is_cut(options.lifeline):
        return 1
    # Handlers, not SIG_IGN, which the program would inherit: it is the one to be interrupted.
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, lambda _signum, _frame: None)
    # A new /run hides the machine's own: no socket of its systemd or Docker is within reach, and no file stays there.
    subprocess.run(("mount", "-t", "tmpfs", "-o", "mode=0755", "sandbox", "/run"), check=True)
    subprocess.run(("ip", "link", "set", "lo", "up"), check=True)
    TEMPORARY.mkdir(mode=0o1777)
    if options.door is not None:
        relay = (sys.executable, "-I", str(_DOOR), str(options.door), options.door_target)
        subprocess.Popen(relay, pass_fds=(options.door,), stdin=subprocess.DEVNULL)
        os.close(options.door)
    environment = os.environ | {INSIDE_VARIABLE: "1", "TMPDIR": str(TEMPORARY)}
    try:
        program = subprocess.Popen(options.argv, env=environment)
    except OSError as error:
        print(f"starting {options.argv[0]}: {error.strerror}", file=sys.stderr)
        return 127
    while True:
        pid, status = os.wait()
        if pid == program.pid:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def _is_cut(lifeline: int) -> bool:
    """Whether the outer process died before the kernel was told to kill this one with it."""
    readable, _, _ = select.select([lifeline], [], [], 0)
    return bool(readable)


if __name__ == "__main__":
    sys.exit(main())
