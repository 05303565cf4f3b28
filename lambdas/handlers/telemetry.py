"""The ``telemetry`` function: ask the core how it goes, and say so on CloudWatch; it must not act on any of it.

It stands behind no queue: what fails now is asked again at the next beat, and the next minute asks anyway.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricResolution
from aws_lambda_powertools.utilities.typing import LambdaContext

from core_agent.contract.messages import ReadTelemetry, TelemetryReport
from core_agent.errors import DrawbridgeError
from lambdas import environment
from lambdas.beats import Beats
from lambdas.clock import now_ms, wait_ms
from lambdas.cloud import Cloud
from lambdas.core import Core, WarmCore, ask
from lambdas.publish import publish, publish_unreachable

logger = Logger()
metrics = Metrics()

_PATIENCE_S = 4
_PATIENCE_MS = 1000 * (_PATIENCE_S + 1)  # with the time to read the key and to write the metrics out


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> None:  # noqa: ARG001  # whatever woke it says nothing
    """Ask at each beat of this minute. Raises the error that no retry can heal, which is for a person to see."""
    warm = _warm()
    visit = Visit(warm.core, period_s=warm.period_s)
    for _ in warm.beats.during(context.get_remaining_time_in_millis(), patience_ms=_PATIENCE_MS):
        visit.ask()


class Visit:
    """One invocation: of the failures that pass by themselves, each counts and only the first is told."""

    def __init__(self, core: Core, *, period_s: int) -> None:
        self._core = core
        self._period_s = period_s
        self._resolution = MetricResolution.High if period_s < 60 else MetricResolution.Standard
        self._told = False

    def ask(self) -> None:
        """Ask once and write the metrics out, those of a failure too; raises the error that no retry can heal."""
        failure: DrawbridgeError | None = None
        try:
            report = ask(self._core, ReadTelemetry(window_s=self._period_s), TelemetryReport)
        except DrawbridgeError as error:
            failure = error
            publish_unreachable(metrics, resolution=self._resolution)
        else:
            publish(report, metrics, resolution=self._resolution)
        metrics.flush_metrics()
        if failure is not None:
            self._tell(failure)

    def _tell(self, failure: DrawbridgeError) -> None:
        if not failure.retryable:
            raise failure
        if not self._told:
            self._told = True
            logger.warning("no telemetry", extra={"error": type(failure).__name__, "reason": str(failure)})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Warm:
    """What one container keeps from invocation to invocation."""

    core: WarmCore
    period_s: int
    beats: Beats


@cache
def _warm() -> _Warm:
    place, period_s = environment.place(os.environ), environment.period_s(os.environ)
    cloud = Cloud(region=place.region)
    return _Warm(
        core=WarmCore(place.core, cloud.private_key, reply_timeout_s=_PATIENCE_S),
        period_s=period_s,
        beats=Beats(period_s=period_s, now_ms=now_ms, wait_ms=wait_ms),
    )
