"""The sandbox: it ends whole however it is ended, says why it cannot start, and has one door."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from demo import sandbox

PATIENCE_S = 60  # far beyond anything that passes; for the end of a test that fails
# Leaves all the traces a demo could: files, a mount, networks by name and by process, a daemon, a sandbox inside.
PROGRAM = """
mkdir "$TMPDIR/$MARK" "/run/$MARK"
mount -t tmpfs "$MARK" "/run/$MARK"
ip link add name internet type bridge
ip netns add "$MARK"
setsid --fork sleep 3600
setsid --fork unshare --net --mount --pid --fork --mount-proc sleep 3600
trap 'echo told' INT
trap '' TERM HUP
echo up
while :; do sleep 3600 || :; done
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Busy:
    """A sandbox full of traces that all carry ``mark``."""

    outer: subprocess.Popen[str]
    mark: str


@pytest.fixture
def busy(request: pytest.FixtureRequest) -> Iterator[Busy]:
    """Starts one, in a session of its own as a terminal would; its grace is the parameter, or an hour."""
    mark = f"mark-{uuid.uuid4().hex[:12]}"
    grace = ("--grace", str(getattr(request, "param", 3600)))
    argv = (sys.executable, "-m", "demo.sandbox", *grace, "--", "sh", "-ec", PROGRAM)
    outer = subprocess.Popen(
        argv, stdout=subprocess.PIPE, text=True, env=os.environ | {"MARK": mark}, start_new_session=True
    )
    assert outer.stdout is not None
    assert outer.stdout.readline() == "up\n"
    await_that(lambda: len(processes(mark)) >= 6)
    yield Busy(outer=outer, mark=mark)
    outer.kill()
    outer.wait()
    outer.stdout.close()


def await_that(holds: Callable[[], bool]) -> None:
    """Return as soon as it holds."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def processes(mark: str) -> list[int]:
    """The processes of this machine that have ``mark`` in their environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"MARK={mark}\0".encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def assert_nothing_left(mark: str) -> None:
    """Wait for the kernel to end every process with ``mark``, then find no mount, network or file with it."""
    await_that(lambda: not processes(mark))
    assert mark not in Path("/proc/self/mountinfo").read_text()
    for place in ("/run", "/run/netns", "/run/tmp", "/tmp", "/var/tmp"):
        assert not (Path(place) / mark).exists()
    assert not Path("/sys/class/net/internet").exists()


def init_of(mark: str) -> int:
    """The pid, seen from here, of the sandbox's PID 1."""
    (pid,) = [
        pid
        for pid in processes(mark)
        if any(
            word.endswith(b"sandbox_init.py") for word in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[2:3]
        )
    ]
    return pid


@pytest.mark.integration
def test_kill_of_the_outer_process_leaves_nothing(busy: Busy) -> None:
    """Kill -9 of the process that a person sees takes everything inside with it."""
    busy.outer.kill()
    assert_nothing_left(busy.mark)


@pytest.mark.integration
def test_kill_of_the_init_leaves_nothing(busy: Busy) -> None:
    """Kill -9 of the sandbox's PID 1 takes everything inside with it and is no success."""
    os.kill(init_of(busy.mark), signal.SIGKILL)
    assert busy.outer.wait(PATIENCE_S) != 0
    assert_nothing_left(busy.mark)


@pytest.mark.integration
def test_kill_of_the_program_leaves_nothing(busy: Busy) -> None:
    """When the program is killed, whatever it had started goes too."""
    (program,) = Path(f"/proc/{init_of(busy.mark)}/task/{init_of(busy.mark)}/children").read_text().split()[:1]
    os.kill(int(program), signal.SIGKILL)
    assert busy.outer.wait(PATIENCE_S) == 137
    assert_nothing_left(busy.mark)


@pytest.mark.integration
def test_second_interrupt_ends_a_program_that_ignores_the_first(busy: Busy) -> None:
    """The second Ctrl-C ends what stayed after the first, without waiting for the hour of its grace."""
    os.killpg(busy.outer.pid, signal.SIGINT)
    assert busy.outer.stdout is not None
    assert busy.outer.stdout.readline() == "told\n"
    assert busy.outer.poll() is None
    os.killpg(busy.outer.pid, signal.SIGINT)
    assert busy.outer.wait(PATIENCE_S) == 137
    assert_nothing_left(busy.mark)


@pytest.mark.integration
@pytest.mark.parametrize("busy", [2], indirect=True, ids=["grace of 2 s"])
def test_program_that_ignores_the_interrupt_is_given_a_limited_time(busy: Busy) -> None:
    """One SIGTERM ends a program that ignores it when its grace is over."""
    started = time.monotonic()
    os.kill(busy.outer.pid, signal.SIGTERM)
    assert busy.outer.wait(PATIENCE_S) == 137
    assert time.monotonic() - started >= 2
    assert_nothing_left(busy.mark)


@pytest.mark.integration
@pytest.mark.parametrize("delay_ms", [0, 30, 60, 90, 120, 200, 300])
def test_kill_while_it_starts_leaves_nothing(delay_ms: int) -> None:
    """There is no moment of the start at which kill -9 of the outer process would leave something running."""
    mark = f"mark-{uuid.uuid4().hex[:12]}"
    argv = (sys.executable, "-m", "demo.sandbox", "--", "sleep", "3600")
    outer = subprocess.Popen(argv, env=os.environ | {"MARK": mark}, start_new_session=True)
    time.sleep(0.1 + delay_ms / 1000)
    outer.kill()
    outer.wait()
    assert_nothing_left(mark)


@pytest.mark.integration
def test_interrupt_reaches_the_program_once() -> None:
    """Ctrl-C is KeyboardInterrupt in the program, which may say goodbye, and its exit status is the sandbox's."""
    program = (
        "import time\n"
        "try:\n print('up', flush=True)\n time.sleep(60)\n"
        "except KeyboardInterrupt:\n time.sleep(0.5)\n print('goodbye')\n raise SystemExit(5)"
    )
    argv = (sys.executable, "-m", "demo.sandbox", "--grace", "3600", "--", sys.executable, "-c", program)
    outer = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert outer.stdout is not None
    assert outer.stdout.readline() == "up\n"
    os.killpg(outer.pid, signal.SIGINT)
    assert outer.communicate(timeout=PATIENCE_S)[0] == "goodbye\n"
    assert outer.returncode == 5


@pytest.mark.integration
@pytest.mark.parametrize(("program", "status"), [("exit 0", 0), ("exit 7", 7), ("kill -TERM $$", 143)])
def test_exit_status_is_the_programs(program: str, status: int) -> None:
    """The sandbox's exit status is the program's, or 128 + N when signal N ended it."""
    done = subprocess.run((sys.executable, "-m", "demo.sandbox", "--", "sh", "-c", program), check=False)
    assert done.returncode == status


@pytest.mark.integration
def test_inside_there_is_nothing_of_this_machine_to_reach() -> None:
    """Inside are only loopback, the program's own processes and an empty /run, and `inside()` knows it."""
    program = (
        "import os, socket\nfrom demo import sandbox\n"
        "print(sandbox.inside(), sorted(name for _, name in socket.if_nameindex() if not name.startswith('ifb')), "
        "sorted(os.listdir('/run')), os.getpid() < 50)"
    )
    argv = (sys.executable, "-m", "demo.sandbox", "--", sys.executable, "-c", program)
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert done.stdout == "True ['lo'] ['tmp'] True\n"
    assert not sandbox.inside()


@pytest.mark.integration
def test_program_that_does_not_exist_is_named() -> None:
    """A program that cannot be started is one clear line and exit status 127."""
    argv = (sys.executable, "-m", "demo.sandbox", "--", "/no/such/program")
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 127
    assert done.stderr == "starting /no/such/program: No such file or directory\n"


@pytest.mark.integration
def test_door_leads_to_the_core_inside() -> None:
    """A connection to the door's port on this machine's loopback reaches 192.0.2.1:22 inside, both ways to the end."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    program = (
        "import socket, subprocess\n"
        "subprocess.run('ip address add 192.0.2.1/32 dev lo'.split(), check=True)\n"
        "server = socket.create_server(('192.0.2.1', 22))\nprint('up', flush=True)\n"
        "while True:\n"
        " connection, _ = server.accept()\n"
        " data = b''.join(iter(lambda: connection.recv(65536), b''))\n"
        " connection.sendall(data.upper()); connection.close()\n"
    )
    argv = (sys.executable, "-m", "demo.sandbox", "--door", str(port), "--", sys.executable, "-c", program)
    outer = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    try:
        assert outer.stdout is not None
        assert outer.stdout.readline() == "up\n"
        for size in (5, 1_000_000):
            with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as connection:
                connection.sendall(b"x" * size)
                connection.shutdown(socket.SHUT_WR)
                assert b"".join(iter(lambda: connection.recv(65536), b"")) == b"X" * size
    finally:
        outer.kill()
        outer.communicate()


@pytest.mark.integration
def test_door_that_is_taken_is_refused() -> None:
    """A port that another program has is named, before anything is started."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        argv = (sys.executable, "-m", "demo.sandbox", "--door", port, "--", "true")
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == f"opening the door 127.0.0.1:{port}: Address already in use; choose another port\n"


@pytest.mark.integration
def test_root_without_its_powers_is_refused() -> None:
    """Where root may not make namespaces, as in a plain container, the kernel's own word is shown."""
    without = ("setpriv", "--bounding-set", "-sys_admin", "--inh-caps", "-sys_admin")
    argv = (*without, sys.executable, "-m", "demo.sandbox", "--", "true")
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("entering the sandbox: wanted namespaces with an overlay of / and a bridge, found: ")
    assert "Operation not permitted" in done.stderr


def test_other_users_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without root, the message says so and how to get it."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(sandbox.SandboxError, match=r"wanted root.*found user id 1000; use sudo"):
        sandbox.require()


@pytest.mark.integration
def test_machine_without_tun_is_refused(tmp_path: Path) -> None:
    """Without /dev/net/tun, which WireGuard needs, the message says what to load."""
    with pytest.raises(sandbox.SandboxError, match=r"wanted the device .*found none; try: modprobe tun"):
        sandbox.require(tun=tmp_path / "tun")
    (tmp_path / "file").touch()
    with pytest.raises(sandbox.SandboxError, match="wanted the device"):
        sandbox.require(tun=tmp_path / "file")


@pytest.mark.integration
def test_missing_program_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without the programs is told which one, and the packages that have it."""
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(sandbox.SandboxError, match="wanted the program unshare, found none; install util-linux"):
        sandbox.require()
