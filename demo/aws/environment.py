"""Knows one warm process that runs a function, one invocation at a time; it must not know which function or why.

Like AWS it freezes the process between invocations, so nothing runs in the background unseen. The process has a group
of its own in our session: should we be killed, the kernel hangs up on a stopped group that nobody is left to continue.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_PROGRAM = Path(__file__).with_name("bundle_runtime.py")
_INIT_S = 60.0
"""For importing the handler. AWS allows 10; a small, busy machine needs longer, and nothing rests on the number."""
_MEMORY_LOOK_S = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one invocation may use: seconds and MiB of resident memory."""

    timeout_s: float
    memory_mib: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of one invocation; ``error`` is an error document in AWS's shape, or None."""

    result: Any = None
    error: dict[str, Any] | None = None
    log: str = ""
    duration_s: float = 0.0


class _Log:
    """What the process prints during one invocation; whole lines are passed on as soon as they are there."""

    def __init__(self, pass_on: Callable[[str], None]) -> None:
        self._pass_on = pass_on
        self._all: list[bytes] = []
        self._begun = b""

    def add(self, chunk: bytes) -> None:
        """More of it."""
        self._all.append(chunk)
        lines, newline, self._begun = (self._begun + chunk).rpartition(b"\n")
        if newline:
            self._pass_on(lines.decode(errors="replace"))

    def end(self) -> str:
        """Pass on a last line that was not ended; all of the output."""
        if self._begun:
            self._pass_on(self._begun.decode(errors="replace"))
        self._begun = b""
        return b"".join(self._all).decode(errors="replace")


class Environment:
    """One process with the handler loaded: frozen after each ``Answer``, gone once ``alive`` is False."""

    def __init__(self, *, bundle: Path, runtime: Path, variables: dict[str, str], arn: str) -> None:
        self._arn = arn
        self._variables = variables
        request_read, self._requests = os.pipe()
        self._answers, answer_write = os.pipe()
        self._process = subprocess.Popen(
            (sys.executable, "-I", "-S", "-u", _PROGRAM, bundle, runtime, str(request_read), str(answer_write)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=(request_read, answer_write),
            env=variables,
            cwd=bundle,
            process_group=0,
        )
        os.close(request_read)
        os.close(answer_write)
        assert self._process.stdout is not None
        self._output = self._process.stdout.fileno()
        os.set_blocking(self._output, False)
        os.set_blocking(self._answers, False)
        self._pending = b""
        self._ready = False

    @property
    def alive(self) -> bool:
        """Whether it can take another invocation."""
        return self._process.poll() is None

    @property
    def log_stream(self) -> str:
        """The CloudWatch log stream of this environment: AWS gives each its own."""
        return self._variables["AWS_LAMBDA_LOG_STREAM_NAME"]

    def invoke(
        self,
        event: Any,  # noqa: ANN401 - JSON
        *,
        request_id: str,
        limits: Limits,
        pass_on: Callable[[str], None],
    ) -> Answer:
        """Run the handler once; its output goes to ``pass_on`` line by line while it runs.

        A handler that fails, times out or grows too big is an ``Answer`` with an error.
        """
        started = time.monotonic()
        self._signal(signal.SIGCONT)
        log = _Log(pass_on)
        try:
            if not self._ready:
                first = self._read(log, deadline=started + _INIT_S, limits=limits)
                if "ready" not in first:
                    self.close()
                    return _failed(first["failure"], log, started)
                self._ready = True
                started = time.monotonic()
            request = {
                "event": event,
                "request_id": request_id,
                "arn": self._arn,
                "timeout_s": limits.timeout_s,
                "trace_id": f"Root=1-{int(time.time()):08x}-{uuid.uuid4().hex[:24]};Sampled=0",
            }
            self._send(json.dumps(request).encode() + b"\n")
            answer = self._read(log, deadline=started + limits.timeout_s, limits=limits)
        except _Ended as ended:
            self.close()
            return _failed(ended.document(request_id, limits), log, started)
        self._signal(signal.SIGSTOP)
        if "failure" in answer:
            return _failed(answer["failure"], log, started)
        return Answer(result=answer["result"], log=log.end(), duration_s=time.monotonic() - started)

    def kill(self) -> None:
        """End the process and whatever it started; whoever waits for its answer learns it, and closes."""
        self._signal(signal.SIGKILL)

    def close(self) -> None:
        """End the process, and forget it. Not while another thread invokes it."""
        self.kill()
        self._process.wait()
        for descriptor in (self._requests, self._answers):
            with contextlib.suppress(OSError):
                os.close(descriptor)
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def _send(self, line: bytes) -> None:
        try:
            while line:
                line = line[os.write(self._requests, line) :]
        except BrokenPipeError:
            raise _Exited from None

    def _read(self, log: _Log, *, deadline: float, limits: Limits) -> dict[str, Any]:
        """The next document from the process; its output is added to ``log`` as it comes."""
        while True:
            if b"\n" in self._pending:
                line, _, self._pending = self._pending.partition(b"\n")
                self._drain(log)
                document: dict[str, Any] = json.loads(line)
                return document
            if self._resident_mib() > limits.memory_mib:
                raise _OutOfMemory
            left = deadline - time.monotonic()
            if left <= 0:
                raise _TimedOut
            readable, _, _ = select.select([self._answers, self._output], [], [], min(left, _MEMORY_LOOK_S))
            self._drain(log)
            if self._answers in readable:
                chunk = os.read(self._answers, 1 << 20)
                if not chunk:
                    raise _Exited
                self._pending += chunk
            elif self._output in readable and self._process.poll() is not None:
                raise _Exited

    def _drain(self, log: _Log) -> None:
        with contextlib.suppress(BlockingIOError):
            while chunk := os.read(self._output, 1 << 16):
                log.add(chunk)

    def _resident_mib(self) -> int:
        try:
            pages = int(Path(f"/proc/{self._process.pid}/statm").read_text(encoding="ascii").split()[1])
        except (OSError, IndexError):
            return 0
        return pages * os.sysconf("SC_PAGE_SIZE") // (1 << 20)


class _Ended(Exception):
    """The process is to be given up."""

    def document(self, request_id: str, limits: Limits) -> dict[str, Any]:
        """The error that AWS answers."""
        raise NotImplementedError


class _TimedOut(_Ended):
    def document(self, request_id: str, limits: Limits) -> dict[str, Any]:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
        message = f"{stamp} {request_id} Task timed out after {limits.timeout_s:.2f} seconds"
        return {"errorMessage": message, "errorType": "Sandbox.Timedout"}


class _OutOfMemory(_Ended):
    def document(self, request_id: str, limits: Limits) -> dict[str, Any]:  # noqa: ARG002 - one signature for all
        message = f"RequestId: {request_id} Error: Runtime exited with error: signal: killed"
        return {"errorMessage": message, "errorType": "Runtime.OutOfMemory"}


class _Exited(_Ended):
    def document(self, request_id: str, limits: Limits) -> dict[str, Any]:  # noqa: ARG002 - one signature for all
        message = f"RequestId: {request_id} Error: Runtime exited without providing a reason"
        return {"errorMessage": message, "errorType": "Runtime.ExitError"}


def _failed(error: dict[str, Any], log: _Log, started: float) -> Answer:
    return Answer(error=error, log=log.end(), duration_s=time.monotonic() - started)
