"""One warm process: frozen between invocations, and never left behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from demo.aws.environment import Environment, Limits
from tests.demo_aws.probe import eventually

LIMITS = Limits(timeout_s=60, memory_mib=128)
COUNTING = """
import os, threading, time
count = 0
def run():
    global count
    while True:
        time.sleep(0.01)
        count += 1
threading.Thread(target=run, daemon=True).start()
def handler(event, context):
    until = count + event
    while count < until:
        time.sleep(0.01)
    return [os.getpid(), count]
"""


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[[], Environment]]:
    """Start a process that counts in the background."""
    (tmp_path / "main.py").write_text(COUNTING)
    names = ("NAME", "VERSION", "MEMORY_SIZE")
    variables = {f"AWS_LAMBDA_FUNCTION_{name}": "1" for name in names} | {
        "_HANDLER": "main.handler",
        "AWS_LAMBDA_LOG_GROUP_NAME": "g",
        "AWS_LAMBDA_LOG_STREAM_NAME": "s",
    }
    environments: list[Environment] = []

    def start() -> Environment:
        environments.append(Environment(bundle=tmp_path, runtime=tmp_path, variables=variables, arn="arn"))
        return environments[-1]

    yield start
    for environment in environments:
        environment.close()


def test_nothing_runs_between_invocations(started: Callable[[], Environment]) -> None:
    """A thread of the function counts while it is invoked, and in between the kernel lets none of its threads run."""
    environment = started()
    counted = 0
    for _ in range(2):
        process, count = environment.invoke(5, request_id="1", limits=LIMITS, pass_on=print).result
        assert count >= counted + 5
        counted = count
        await_frozen(process)
        before = processor_time(process)
        time.sleep(0.3)
        assert (states(process), processor_time(process)) == ({"T"}, before)


def test_frozen_process_ends_with_its_parent(tmp_path: Path) -> None:
    """When the local AWS is killed without a chance to clean up, its frozen functions do not stay."""
    (tmp_path / "main.py").write_text(COUNTING)
    program = tmp_path / "parent.py"
    program.write_text(
        "import sys, time\n"
        "from pathlib import Path\n"
        "from demo.aws.environment import Environment, Limits\n"
        "here = Path(sys.argv[1])\n"
        "variables = {f'AWS_LAMBDA_{name}': '1' for name in ('FUNCTION_NAME', 'FUNCTION_VERSION',"
        " 'FUNCTION_MEMORY_SIZE', 'LOG_GROUP_NAME', 'LOG_STREAM_NAME')}\n"
        "variables['_HANDLER'] = 'main.handler'\n"
        "environment = Environment(bundle=here, runtime=here, variables=variables, arn='arn')\n"
        "limits = Limits(timeout_s=60, memory_mib=128)\n"
        "print(environment.invoke(0, request_id='1', limits=limits, pass_on=print).result[0], flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen(
        (sys.executable, program, tmp_path),
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    eventually(lambda: states(child) == {"T"})  # every thread: the kernel hangs up on what stands still as a whole
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    eventually(lambda: state(child) in {"gone", "Z"})


def await_frozen(process: int) -> None:
    """Return once every thread of the process stands still."""
    eventually(lambda: states(process) == {"T"})


def states(process: int) -> set[str]:
    """The letters that the kernel shows for the threads of a process."""
    return {stat_of(thread)[0] for thread in Path(f"/proc/{process}/task").glob("*/stat")}


def processor_time(process: int) -> int:
    """The nanoseconds that the threads of a process have run (proc(5), schedstat)."""
    return sum(int(thread.read_text().split()[0]) for thread in Path(f"/proc/{process}/task").glob("*/schedstat"))


def stat_of(path: Path) -> list[str]:
    """The fields of a stat file from the state on."""
    return path.read_text().rsplit(") ", 1)[1].split()


def state(process: int) -> str:
    """The letter that the kernel shows for a process."""
    try:
        return stat_of(Path(f"/proc/{process}/stat"))[0]
    except FileNotFoundError:
        return "gone"
