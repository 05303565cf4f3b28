"""The ``burst`` function: set the edge's use to what alarms and peaks say *now*; it must not judge the load itself.

It is told of each change, and each minute it looks anyway: a level that was lost on its way is said again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.typing import LambdaContext

from core_agent.contract.messages import BurstReport, ReadTelemetry, SetBurst, TelemetryReport
from core_agent.contract.names import shown
from core_agent.errors import ContractError, DrawbridgeError
from lambdas import environment
from lambdas.alarms import Alarm
from lambdas.batch import consume
from lambdas.clock import now_ms
from lambdas.cloud import Cloud
from lambdas.core import Core, WarmCore, ask
from lambdas.environment import Place, Queues
from lambdas.errors import AlarmMissing, ForeignEvent
from lambdas.events import metric_names
from lambdas.events.alarm import AlarmChange
from lambdas.events.envelope import Ignored
from lambdas.events.parse import parse
from lambdas.events.peak import PeakChange
from lambdas.events.sweep import Sweep
from lambdas.levels import Levels, decide, differs
from lambdas.peaks import Peak, in_force

logger = Logger()
metrics = Metrics()

# Scheduler strikes at a peak's very second and never again: a clock of ours that is late must not miss it.
_CLOCKS_APART_S = 2


@logger.inject_lambda_context
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> PartialItemFailureResponse:  # noqa: ARG001  # Powertools'
    """Take one batch of the burst queue and return which messages have to come again."""
    warm = _warm()
    visit = Visit(warm.place, warm.levels, warm.peaks, cloud=warm.cloud, core=warm.core, now_ms=now_ms)
    return consume(
        event,
        visit.handle,
        queues=warm.queues,
        messenger=warm.cloud,
        logger=logger,
        metrics=metrics,
    )


class BurstCloud(Protocol):
    """What this function asks of AWS; ``lambdas.cloud.Cloud`` says what it means."""

    def alarms(self, names: Sequence[str]) -> tuple[Alarm, ...]:
        """Return the alarms as they stand now."""
        ...


class Visit:
    """One invocation. Events may come late, twice and in the wrong order: each only makes us look at what is now.

    However many of its messages are sweeps, one is carried out: an invocation has no time for ten of them.
    """

    def __init__(
        self,
        place: Place,
        levels: Levels,
        peaks: tuple[Peak, ...],
        *,
        cloud: BurstCloud,
        core: Core,
        now_ms: Callable[[], int],
    ) -> None:
        self._place = place
        self._levels = levels
        self._peaks = peaks
        self._cloud = cloud
        self._core = core
        self._now_ms = now_ms
        self._swept = False

    def handle(self, body: str) -> None:
        """Act on one message; raises ``DrawbridgeError``, whose ``retryable`` decides where the message goes."""
        event = parse(body, account=self._place.account, region=self._place.region)
        match event:
            case AlarmChange():
                self._refuse_foreign_alarm(event)
                self._follow(between=None)
            case PeakChange():
                self._refuse_foreign_peak(event)
                self._follow(between=self._levels.calm_percent)
            case Sweep():
                self._routine()
            case Ignored(reason=reason, metadata=metadata):
                logger.info("ignored", extra={"reason": reason, "event_id": metadata.id})
            case _:
                raise ContractError(
                    f"reading an event: wanted an alarm's, a peak's or the clock's, found {type(event).__name__}"
                )

    def _refuse_foreign_alarm(self, event: AlarmChange) -> None:
        metrics = self._levels.alarms.metrics
        if event.name not in metrics:
            raise ForeignEvent(f"reading an alarm: wanted one of {', '.join(metrics)}, found {shown(event.name)}")
        wanted = f"{metric_names.NAMESPACE}/{metrics[event.name]}"
        if event.metrics != (wanted,):
            found = ", ".join(event.metrics) or "none"
            raise ForeignEvent(f"reading alarm {event.name}: wanted one that watches {wanted}, found {shown(found)}")

    def _refuse_foreign_peak(self, event: PeakChange) -> None:
        known = [peak.name for peak in self._peaks]
        if event.name not in known:
            raise ForeignEvent(f"reading a peak: wanted {' or '.join(known) or 'none'}, found {shown(event.name)}")

    def _routine(self) -> None:
        """Sweep because it was time to. The next minute's is the retry, so that an outage piles nothing up."""
        if self._swept:
            return
        self._swept = True
        try:
            self._sweep()
        except AlarmMissing as error:  # the stacks are being made or taken down
            logger.warning("no alarms to look at", extra={"reason": str(error)})
        except DrawbridgeError as error:
            if not error.retryable:
                raise
            logger.warning("message is dropped: the next minute looks again", extra={"reason": str(error)})
            metrics.add_metric("MessagesDropped", MetricUnit.Count, 1)

    def _sweep(self) -> None:
        """Put right what the core has, unless a person wanted it so."""
        present = ask(self._core, ReadTelemetry(window_s=1), TelemetryReport).burst
        if present.by_hand:
            logger.info("left alone: the level is a person's", extra={"reason": present.reason})
            return
        self._follow(between=present.level_percent, told=present)

    def _follow(self, *, between: int | None, told: SetBurst | BurstReport | None = None) -> None:
        """Have the core do what is to be done now, unless it was ``told`` just that, and look once more.

        Two of us may be at work at once, and what the other saw later may have been set before this: so whoever sets
        last looks after it, and then what is set is what was seen last.
        """
        wanted = self._look(between)
        while wanted is not None and (told is None or differs(wanted, told)):
            report = ask(self._core, wanted, BurstReport)
            logger.info(
                "set the level",
                extra={
                    "level_percent": report.level_percent,
                    "core_percent": report.core_percent,
                    "reason": report.reason,
                },
            )
            told = wanted
            wanted = self._look(between)

    def _look(self, between: int | None) -> SetBurst | None:
        alarms = self._cloud.alarms(self._levels.alarms.names)
        peaks = in_force(self._peaks, self._now_ms() / 1000 + _CLOCKS_APART_S)
        logger.info(
            "looked at the alarms",
            extra={
                "alarms": {alarm.name: alarm.state for alarm in alarms},
                "peaks": [peak.name for peak in peaks],
            },
        )
        return decide(self._levels, alarms, peaks, between=between)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Warm:
    """What one container keeps from invocation to invocation."""

    place: Place
    queues: Queues
    levels: Levels
    peaks: tuple[Peak, ...]
    cloud: Cloud
    core: WarmCore


@cache
def _warm() -> _Warm:
    place = environment.place(os.environ)
    cloud = Cloud(region=place.region)
    return _Warm(
        place=place,
        queues=environment.queues(os.environ),
        levels=environment.levels(os.environ),
        peaks=environment.peaks(os.environ),
        cloud=cloud,
        core=WarmCore(place.core, cloud.private_key),
    )
