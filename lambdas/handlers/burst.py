"""The ``burst`` function: set how much of the edge is used to what the alarm says *now*; it must not judge the load."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.typing import LambdaContext

from core_agent.contract.messages import BurstReport, SetBurst
from core_agent.contract.names import Reason, shown
from core_agent.errors import ContractError
from lambdas import environment
from lambdas.batch import consume
from lambdas.cloud import Alarm, Cloud
from lambdas.core import Core, WarmCore, ask
from lambdas.environment import BurstLevels, Place, Queues
from lambdas.errors import ForeignEvent
from lambdas.events.alarm import AlarmChange
from lambdas.events.envelope import Ignored
from lambdas.events.parse import parse

logger = Logger()
metrics = Metrics()

_REASON_CHARACTERS = 200


@logger.inject_lambda_context
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> PartialItemFailureResponse:  # noqa: ARG001  # Powertools'
    """Take one batch of the burst queue and return which messages have to come again."""
    warm = _warm()
    visit = Visit(warm.place, warm.levels, cloud=warm.cloud, core=warm.core)
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

    def alarm(self, name: str) -> Alarm:
        """Return the alarm as it stands now."""
        ...


class Visit:
    """One invocation. Alarm events may come late, twice and in the wrong order: each only makes us ask CloudWatch."""

    def __init__(self, place: Place, levels: BurstLevels, *, cloud: BurstCloud, core: Core) -> None:
        self._place = place
        self._levels = levels
        self._cloud = cloud
        self._core = core

    def handle(self, body: str) -> None:
        """Act on one message; raises ``DrawbridgeError``, whose ``retryable`` decides where the message goes."""
        event = parse(body, account=self._place.account, region=self._place.region)
        match event:
            case AlarmChange(name=name) if name == self._levels.alarm:
                self._follow(self._cloud.alarm(name))
            case AlarmChange(name=name):
                raise ForeignEvent(f"reading an alarm: wanted {self._levels.alarm}, found {shown(name)}")
            case Ignored(reason=reason, metadata=metadata):
                logger.info("ignored", extra={"reason": reason, "event_id": metadata.id})
            case _:
                raise ContractError(f"reading an alarm: wanted an alarm event, found {type(event).__name__}")

    def _follow(self, alarm: Alarm) -> None:
        match alarm.state:
            case "ALARM":
                level_percent = self._levels.alarm_percent
            case "OK":
                level_percent = self._levels.calm_percent
            case _:  # INSUFFICIENT_DATA says nothing about the load: the level stays as it is
                logger.info("left the level as it is", extra={"alarm": alarm.name, "state": alarm.state})
                return
        command = SetBurst(level_percent=level_percent, reason=reason(alarm))
        report = ask(self._core, command, BurstReport)
        metrics.add_metric("BurstLevel", MetricUnit.Percent, report.level_percent)
        logger.info("set the level", extra={"level_percent": report.level_percent, "reason": report.reason})


def reason(alarm: Alarm) -> Reason:
    """Return why, as the contract wants it: one printable line of at most 200 characters."""
    text = f"alarm {alarm.name} is {alarm.state}: {alarm.reason}"
    return Reason("".join(c if c.isprintable() else " " for c in text)[:_REASON_CHARACTERS])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Warm:
    """What one container keeps from invocation to invocation."""

    place: Place
    queues: Queues
    levels: BurstLevels
    cloud: Cloud
    core: WarmCore


@cache
def _warm() -> _Warm:
    place = environment.place(os.environ)
    cloud = Cloud(region=place.region)
    return _Warm(
        place=place,
        queues=environment.queues(os.environ),
        levels=environment.burst_levels(os.environ),
        cloud=cloud,
        core=WarmCore(place.core, cloud.private_key),
    )
