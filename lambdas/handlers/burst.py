"""The ``burst`` function: set the edge's use to what alarms and peaks say *now*; it must not judge the load itself."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.typing import LambdaContext

from core_agent.contract.messages import BurstReport, SetBurst
from core_agent.contract.names import shown
from core_agent.errors import ContractError
from lambdas import environment
from lambdas.batch import consume
from lambdas.clock import now_ms
from lambdas.cloud import Alarm, Cloud
from lambdas.core import Core, WarmCore, ask
from lambdas.environment import Place, Queues
from lambdas.errors import ForeignEvent
from lambdas.events import metric_names
from lambdas.events.alarm import AlarmChange
from lambdas.events.envelope import Ignored
from lambdas.events.parse import parse
from lambdas.events.peak import PeakChange
from lambdas.levels import Levels, decide
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
    """One invocation. Events may come late, twice and in the wrong order: each only makes us look at what is now."""

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

    def handle(self, body: str) -> None:
        """Act on one message; raises ``DrawbridgeError``, whose ``retryable`` decides where the message goes."""
        event = parse(body, account=self._place.account, region=self._place.region)
        match event:
            case AlarmChange():
                self._refuse_foreign_alarm(event)
                self._follow(at_a_peaks_edge=False)
            case PeakChange():
                self._refuse_foreign_peak(event)
                self._follow(at_a_peaks_edge=True)
            case Ignored(reason=reason, metadata=metadata):
                logger.info("ignored", extra={"reason": reason, "event_id": metadata.id})
            case _:
                raise ContractError(f"reading an event: wanted an alarm's or a peak's, found {type(event).__name__}")

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

    def _follow(self, *, at_a_peaks_edge: bool) -> None:
        """Have the core do what is to be done now, and look once more.

        Two of us may be at work at once, and what the other saw later may have been set before this: so whoever sets
        last looks after it, and then what is set is what was seen last.
        """
        command = self._look(at_a_peaks_edge=at_a_peaks_edge)
        while command is not None:
            report = ask(self._core, command, BurstReport)
            logger.info(
                "set the level",
                extra={
                    "level_percent": report.level_percent,
                    "core_percent": report.core_percent,
                    "reason": report.reason,
                },
            )
            wanted = self._look(at_a_peaks_edge=at_a_peaks_edge)
            command = wanted if wanted is not None and _differs(wanted, command) else None

    def _look(self, *, at_a_peaks_edge: bool) -> SetBurst | None:
        alarms = self._cloud.alarms(self._levels.alarms.names)
        peaks = in_force(self._peaks, self._now_ms() / 1000 + _CLOCKS_APART_S)
        logger.info(
            "looked at the alarms",
            extra={
                "alarms": {alarm.name: alarm.state for alarm in alarms},
                "peaks": [peak.name for peak in peaks],
            },
        )
        return decide(self._levels, alarms, peaks, at_a_peaks_edge=at_a_peaks_edge)


def _differs(one: SetBurst, other: SetBurst) -> bool:
    return (one.level_percent, one.core_percent) != (other.level_percent, other.core_percent)


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
