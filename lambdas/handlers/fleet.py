"""The ``fleet`` function: whatever happened to the group, look at it once; it must not act on an event's own word."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.typing import LambdaContext

from core_agent.contract.names import InstanceId
from core_agent.errors import DrawbridgeError
from lambdas import environment
from lambdas.again import Again
from lambdas.batch import consume
from lambdas.clock import now_ms
from lambdas.cloud import Cloud, Membership
from lambdas.core import Core, WarmCore
from lambdas.environment import Place, Queues
from lambdas.errors import GroupMissing, UnknownState
from lambdas.events.again import LookAgain
from lambdas.events.alarm import AlarmChange
from lambdas.events.envelope import Ignored
from lambdas.events.interruption import SpotInterruption
from lambdas.events.lifecycle import LifecycleAction
from lambdas.events.parse import parse
from lambdas.events.peak import PeakChange
from lambdas.events.rebalance import RebalanceRecommendation
from lambdas.events.sweep import Sweep
from lambdas.look import Cloud as LookCloud
from lambdas.look import Look, look
from lambdas.measure import measure
from lambdas.states import IN_SERVICE

logger = Logger()
metrics = Metrics()


@logger.inject_lambda_context
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> PartialItemFailureResponse:  # noqa: ARG001  # Powertools'
    """Take one batch of the fleet queue and return which messages have to come again."""
    warm = _warm()
    visit = Visit(warm.place, cloud=warm.cloud, core=warm.core, again=warm.again, now_ms=now_ms)
    return consume(
        event,
        visit.handle,
        queues=warm.queues,
        messenger=warm.cloud,
        logger=logger,
        metrics=metrics,
    )


class FleetCloud(LookCloud, Protocol):
    """What this function asks of AWS; ``lambdas.cloud.Cloud`` says what each means."""

    def membership(self, instance: InstanceId) -> Membership | None:
        """Return the group that the instance belongs to."""
        ...

    def terminate(self, instance: InstanceId) -> None:
        """Have the group terminate the instance by way of its hooks."""
        ...


class Visit:
    """One invocation. However many of its messages ask for it, the group is looked at once.

    That is enough: everything the messages tell had happened before the first of them was read.
    """

    def __init__(self, place: Place, *, cloud: FleetCloud, core: Core, again: Again, now_ms: Callable[[], int]) -> None:
        self._place = place
        self._cloud = cloud
        self._core = core
        self._again = again
        self._now_ms = now_ms
        self._looked = False
        self._failure: DrawbridgeError | None = None

    def handle(self, body: str) -> None:
        """Act on one message; raises ``DrawbridgeError``, whose ``retryable`` decides where the message goes."""
        event = parse(body, account=self._place.account, region=self._place.region)
        match event:
            case Ignored(reason=reason, metadata=metadata):
                logger.info("ignored", extra={"reason": reason, "event_id": metadata.id})
            case AlarmChange(metadata=metadata) | PeakChange(metadata=metadata):
                logger.info("ignored", extra={"reason": "the level is not for this function", "event_id": metadata.id})
            case LifecycleAction(group=group) | LookAgain(group=group) if group != self._place.group.name:
                logger.info("ignored", extra={"reason": f"group {group}", "event_id": event.metadata.id})
            case LifecycleAction():
                self._look()
            case RebalanceRecommendation(instance=instance):
                if self._member(instance) is not None:
                    self._look()
            case SpotInterruption(instance=instance):
                self._interrupted(instance)
            case Sweep() | LookAgain():
                self._routine()

    def _interrupted(self, instance: InstanceId) -> None:
        """Make the group itself say that the instance is leaving, then see what the group says."""
        member = self._member(instance)
        if member is None:
            return
        if member.state == IN_SERVICE:
            self._cloud.terminate(instance)
            self._looked = False  # what was seen before is out of date
        self._look()

    def _routine(self) -> None:
        """Look because it was time to. The next minute's sweep is the retry, so that an outage piles nothing up."""
        try:
            self._look()
        except GroupMissing as error:  # the stacks are being made or taken down
            logger.warning("no group to look at", extra={"reason": str(error)})
        except DrawbridgeError as error:
            if not error.retryable:
                raise
            logger.warning("message is dropped: the next minute looks again", extra={"reason": str(error)})
            metrics.add_metric("MessagesDropped", MetricUnit.Count, 1)

    def _member(self, instance: InstanceId) -> Membership | None:
        member = self._cloud.membership(instance)
        if member is None or member.group != self._place.group.name:
            logger.info("ignored", extra={"reason": f"{instance} is not in group {self._place.group.name}"})
            return None
        return member

    def _look(self) -> None:
        if not self._looked:
            self._looked = True
            self._failure = None
            try:
                self._look_once()
            except DrawbridgeError as error:
                self._failure = error
        if self._failure is not None:
            raise self._failure

    def _look_once(self) -> None:
        seen = look(self._place.group, cloud=self._cloud, core=self._core, now_ms=self._now_ms)
        measure(seen, metrics)
        _report(seen)
        if seen.leaving:
            self._again.ask()
        # An unknown state is logged and counted, but no message is to blame for it and none has to wait for its end.
        failed = [error for error in seen.failed if not isinstance(error, UnknownState)]
        # The one that a retry can heal, if any: what it leaves undone is then looked at again.
        for failure in sorted(failed, key=lambda error: not error.retryable):
            raise failure


def _report(seen: Look) -> None:
    logger.info(
        "looked at the group",
        extra={
            "generation": seen.generation,
            "applied": seen.applied,
            "seats": len(seen.seats),
            "in_motion": {node.instance: node.phase for node in seen.nodes},
            "completed": [f"{hook} {instance}" for instance, hook in seen.completed],
        },
    )
    if seen.kept:
        logger.warning("kept nodes that have no seat and were not disowned", extra={"kept": seen.kept})
    if seen.elsewhere:
        logger.warning("left out seats of nodes that another group still holds", extra={"elsewhere": seen.elsewhere})
    for failure in seen.failed:
        logger.error("something was left undone", extra={"reason": str(failure)})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Warm:
    """What one container keeps from invocation to invocation."""

    place: Place
    queues: Queues
    cloud: Cloud
    core: WarmCore
    again: Again


@cache
def _warm() -> _Warm:
    place, queues = environment.place(os.environ), environment.queues(os.environ)
    cloud = Cloud(region=place.region)
    return _Warm(
        place=place,
        queues=queues,
        cloud=cloud,
        core=WarmCore(place.core, cloud.private_key),
        again=Again(place, queues.own, sender=cloud, now_ms=now_ms),
    )
