"""Knows how a deployed function is invoked: its bundle, its environments, its limits; not who invokes it or why."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import shutil
import sys
import threading
import time
import uuid
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from demo.aws import runtime_packages
from demo.aws.environment import Answer, Environment, Limits
from demo.aws.gaps import Moto
from demo.aws.journal import Journal
from demo.aws.logs import LogKeeper
from demo.aws.place import ACCESS_KEY, SECRET_KEY, Place

_AT_MOST_AT_A_TIME = 8
"""Environments of one function without reserved concurrency; AWS would allow a thousand, this machine does not."""

_FAILED_AGAIN_S = 60.0
_THROTTLED_AGAIN_S = (1.0, 300.0)
_EVENT_AGE_S = 6 * 3600.0
_STOP_S = 5.0

_ARCHITECTURES = {"x86_64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}


class Throttled(Exception):
    """Every environment that the function may have is busy."""


class CannotRunHere(Exception):
    """A function for another interpreter or processor than this machine's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a caller gets: the JSON ``payload``, and ``error`` ("Unhandled") if it is an error document."""

    payload: bytes
    error: str | None = None
    log_tail: str = ""


@dataclass(slots=True)
class _Pool:
    """The environments of one function in one configuration."""

    idle: list[Environment] = field(default_factory=list)
    busy: int = 0


class Functions:
    """Runs functions as deployed: bundle, environment, timeout, memory; warm environments are used again."""

    def __init__(self, place: Place, *, folder: Path, logs: LogKeeper, journal: Journal) -> None:
        self._place = place
        self._folder = folder
        self._logs = logs
        self._journal = journal
        self._runtime = runtime_packages.lay_out(folder / "runtime")
        self._pools: dict[str, tuple[str, _Pool]] = {}
        self._running: set[Environment] = set()
        self._lock = threading.Lock()
        self._idle = threading.Condition(self._lock)
        self._closing = threading.Event()

    @staticmethod
    def check(*, name: str, runtime: str | None, architectures: list[str]) -> None:
        """Raise ``CannotRunHere`` unless this machine's interpreter can load the function's bundle."""
        here = f"python{sys.version_info.major}.{sys.version_info.minor}"
        processor = _ARCHITECTURES[platform.machine()]
        if runtime != here or architectures != [processor]:
            raise CannotRunHere(
                f"function {name}: wanted {here} on {processor}, which this machine runs, "
                f"found {runtime} on {', '.join(architectures)}"
            )

    def invoke(self, name_or_arn: str, payload: bytes, *, qualifier: str | None = None) -> Outcome:
        """Run it once and return what it answered. Raises ``Throttled``; an unknown function is moto's own error."""
        function = self._place.backend("lambda").get_function(name_or_arn, qualifier)
        self.check(name=function.function_name, runtime=function.run_time, architectures=function.architectures)
        environment = self._take(function)
        request_id = str(uuid.uuid4())
        limits = Limits(timeout_s=float(function.timeout), memory_mib=int(function.memory_size))
        first = f"START RequestId: {request_id} Version: {function.version}"

        def keep(text: str) -> None:
            self._logs.keep(
                function=function.function_name,
                group=function.logs_group_name,
                stream=environment.log_stream,
                text=text,
            )

        keep(first)
        try:
            answer = environment.invoke(
                json.loads(payload or b"{}"), request_id=request_id, limits=limits, pass_on=keep
            )
            last = _closing_lines(answer, request_id, limits)
            keep(last)
        finally:
            self._give_back(function, environment)
        log = "\n".join((first, *answer.log.splitlines(), last))
        if answer.error is not None:
            return Outcome(payload=json.dumps(answer.error).encode(), error="Unhandled", log_tail=log[-4096:])
        return Outcome(payload=json.dumps(answer.result).encode(), log_tail=log[-4096:])

    def invoke_later(self, arn: str, payload: bytes) -> None:
        """Invoke as AWS does for events: in the background, beside whatever else runs.

        A function that fails gets the event again after one and two minutes, or as its event invoke configuration says;
        one that is throttled gets it after a second, then ever later, for six hours, which counts as no attempt.
        https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html
        """
        threading.Thread(target=self._insist, args=(arn, payload), name="lambda-async", daemon=True).start()

    def forget(self, function_arn: str) -> None:
        """End the idle environments of a function that was changed or deleted."""
        with self._lock:
            _, pool = self._pools.pop(function_arn, ("", _Pool()))
        for environment in pool.idle:
            environment.close()

    def close(self) -> None:
        """End every environment, whatever it is doing."""
        self._closing.set()
        with self._idle:
            for environment in self._running:
                environment.kill()
            self._idle.wait_for(lambda: not self._running, timeout=_STOP_S)
            arns = list(self._pools)
        for arn in arns:
            self.forget(arn)

    def _insist(self, arn: str, payload: bytes) -> None:
        function = self._place.backend("lambda").get_function(arn)
        given = {name: value for config in function.event_invoke_config for name, value in config.config.items()}
        attempts = 1 + int(given.get("MaximumRetryAttempts", 2))
        deadline = time.monotonic() + self._place.seconds(float(given.get("MaximumEventAgeInSeconds", _EVENT_AGE_S)))
        failed, (throttled_s, longest_s) = 0, _THROTTLED_AGAIN_S
        while not self._closing.is_set():
            try:
                if self.invoke(arn, payload).error is None:
                    return
                failed += 1
                wait_s = _FAILED_AGAIN_S * failed
            except Throttled as busy:
                self._journal.say("lambda", f"{busy}; the event waits")
                wait_s, throttled_s = throttled_s, min(2 * throttled_s, longest_s)
            except Exception:  # noqa: BLE001 - nobody waits for this invocation; the journal shows it
                self._journal.failed("lambda", f"an asynchronous invocation of {arn}")
                return
            wait_s = self._place.seconds(wait_s)
            if failed == attempts or time.monotonic() + wait_s > deadline:
                self._journal.say("lambda", f"{arn}: the event is dropped, too old or after {failed} failures")
                return
            self._closing.wait(wait_s)

    def _take(self, function: Moto) -> Environment:
        fingerprint = _fingerprint(function)
        with self._lock:
            self._refuse_when_closing(function)
            known, pool = self._pools.setdefault(function.function_arn, (fingerprint, _Pool()))
            outdated: list[Environment] = []
            if known != fingerprint:
                outdated, pool = pool.idle, _Pool()
                self._pools[function.function_arn] = (fingerprint, pool)
            limit = _AT_MOST_AT_A_TIME
            if function.reserved_concurrency is not None:
                limit = min(limit, int(function.reserved_concurrency))
            if pool.busy >= limit:
                raise Throttled(f"invoking {function.function_name}: all of its {limit} environments are busy")
            pool.busy += 1
            environment = pool.idle.pop() if pool.idle else None
        for old in outdated:
            old.close()
        environment = environment or self._start(function)
        with self._lock:
            self._running.add(environment)
            if self._closing.is_set():
                environment.kill()
        return environment

    def _refuse_when_closing(self, function: Moto) -> None:
        if self._closing.is_set():
            raise Throttled(f"invoking {function.function_name}: the local AWS is stopping")

    def _give_back(self, function: Moto, environment: Environment) -> None:
        with self._idle:
            known, pool = self._pools.get(function.function_arn, ("", _Pool()))
            pool.busy = max(0, pool.busy - 1)
            self._running.discard(environment)
            self._idle.notify_all()
            keep = environment.alive and known == _fingerprint(function) and not self._closing.is_set()
            if keep:
                pool.idle.append(environment)
        if not keep:
            environment.close()

    def _start(self, function: Moto) -> Environment:
        bundle = self._unpack(function)
        day = time.strftime("%Y/%m/%d", time.gmtime())
        variables = {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "LANG": "en_US.UTF-8",
            "TZ": ":UTC",
            "_HANDLER": str(function.handler),
            "LAMBDA_TASK_ROOT": str(bundle),
            "LAMBDA_RUNTIME_DIR": str(self._runtime),
            "AWS_EXECUTION_ENV": f"AWS_Lambda_{function.run_time}",
            "AWS_LAMBDA_FUNCTION_NAME": function.function_name,
            "AWS_LAMBDA_FUNCTION_VERSION": str(function.version),
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_size),
            "AWS_LAMBDA_LOG_GROUP_NAME": function.logs_group_name,
            "AWS_LAMBDA_LOG_STREAM_NAME": f"{day}/[{function.version}]{uuid.uuid4().hex}",
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_REGION": self._place.region,
            "AWS_DEFAULT_REGION": self._place.region,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_SESSION_TOKEN": "demo-function-token",
            "AWS_ENDPOINT_URL": self._place.endpoint,
            "AWS_EC2_METADATA_DISABLED": "true",
            **{name: str(value) for name, value in function.environment_vars.items()},
        }
        return Environment(bundle=bundle, runtime=self._runtime, variables=variables, arn=function.function_arn)

    def _unpack(self, function: Moto) -> Path:
        bundle = self._folder / "bundles" / hashlib.sha256(function.code_bytes).hexdigest()[:16]
        if not bundle.is_dir():
            fresh = bundle.with_name(f"{bundle.name}.{uuid.uuid4().hex}")
            with zipfile.ZipFile(io.BytesIO(function.code_bytes)) as archive:
                archive.extractall(fresh)  # the archive that this very stack uploaded
            try:
                fresh.rename(bundle)
            except OSError:
                shutil.rmtree(fresh)  # another environment unpacked the same bundle meanwhile
        return bundle


def _fingerprint(function: Moto) -> str:
    """Changes whenever AWS would start new environments."""
    parts: list[Any] = [
        function.code_sha_256,
        function.handler,
        function.run_time,
        function.memory_size,
        function.timeout,
        function.logs_group_name,
        sorted(function.environment_vars.items()),
    ]
    return json.dumps(parts, default=str)


def _closing_lines(answer: Answer, request_id: str, limits: Limits) -> str:
    """What AWS writes after the output."""
    milliseconds = answer.duration_s * 1000
    lines = [
        f"END RequestId: {request_id}",
        f"REPORT RequestId: {request_id}\tDuration: {milliseconds:.2f} ms\tMemory Size: {limits.memory_mib} MB",
    ]
    if answer.error is not None and answer.error["errorType"].startswith(("Sandbox.", "Runtime.")):
        lines.insert(0, answer.error["errorMessage"])
    return "\n".join(lines)
