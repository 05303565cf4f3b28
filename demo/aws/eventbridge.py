"""Knows how an event finds its rules and targets, and when a schedule fires; it must not know what events mean."""

from __future__ import annotations

import json
import re
import time
import uuid
from datetime import UTC, datetime
from typing import Any

from moto.core.exceptions import JsonRESTError
from moto.events import models

from demo.aws import grants
from demo.aws.functions import Functions
from demo.aws.gaps import Gaps, Moto
from demo.aws.journal import Journal
from demo.aws.place import Place
from demo.aws.policies import allowed
from demo.aws.ticking import Ticker

_RATE = re.compile(r"rate\((\d+) (minute|hour|day)s?\)")
_UNITS_S = {"minute": 60, "hour": 3600, "day": 86_400}
_LOOK_S = 0.1


class EventBridge:
    """The default bus: events in AWS's envelope go to every enabled rule that matches, schedules fire."""

    def __init__(self, place: Place, functions: Functions, *, journal: Journal) -> None:
        self._place = place
        self._functions = functions
        self._journal = journal
        self._due: dict[str, float] = {}
        self._ticker = Ticker("schedules", every_s=_LOOK_S, action=self._fire_schedules, journal=journal)

    def install(self, gaps: Gaps) -> None:
        """Fill moto's gaps until ``gaps`` are undone."""
        bridge = self

        def send_to_targets(self: Moto, event: dict[str, Any], transform_input: bool = True) -> None:  # noqa: ARG001, FBT001, FBT002 - moto's signature
            envelope = {key: value for key, value in event.items() if key != "ingestion-time"}
            if not isinstance(envelope["time"], str):
                envelope["time"] = _stamp(float(envelope["time"]))
            bridge._offer(self, envelope)

        gaps.fill(models.Rule, "send_to_targets", send_to_targets, gap="no Lambda; schedules match every event")

        def put_rule(self: Moto, name: str, *args: Any, **kwargs: Any) -> Moto:  # noqa: ANN401
            expression = kwargs.get("scheduled_expression")
            if expression and not _RATE.fullmatch(expression):
                raise JsonRESTError(
                    "ValidationException",
                    f"putting rule {name}: wanted rate(N minutes), hours or days, found {expression}; "
                    "this local AWS knows no other schedule",
                )
            bridge._due.pop(name, None)
            return original(self, name, *args, **kwargs)

        original = gaps.fill(models.EventsBackend, "put_rule", put_rule, gap="schedules never fire")

    def start(self) -> None:
        """Let schedules fire from now on; the first time after one interval, as on AWS."""
        self._ticker.start()

    def stop(self) -> None:
        """Fire no more."""
        self._ticker.stop()

    def emit(self, *, source: str, detail_type: str, detail: dict[str, Any], resources: tuple[str, ...] = ()) -> None:
        """Publish an event of an AWS service."""
        event = self._envelope(source=source, detail_type=detail_type, detail=detail, resources=resources)
        for rule in list(self._rules().values()):
            self._offer(rule, event)

    def _rules(self) -> dict[str, Moto]:
        rules: dict[str, Moto] = self._place.backend("events").event_buses["default"].rules
        return rules

    def _envelope(
        self, *, source: str, detail_type: str, detail: dict[str, Any], resources: tuple[str, ...]
    ) -> dict[str, Any]:
        return {
            "version": "0",
            "id": str(uuid.uuid4()),
            "detail-type": detail_type,
            "source": source,
            "account": self._place.account,
            "time": _stamp(time.time()),
            "region": self._place.region,
            "resources": list(resources),
            "detail": detail,
        }

    def _offer(self, rule: Moto, event: dict[str, Any]) -> None:
        """Deliver if the rule is on and has a pattern that matches; a rule with a schedule alone matches nothing."""
        if rule.state == "ENABLED" and rule.event_pattern.get_pattern() and rule.event_pattern.matches_event(event):
            self._deliver(rule, event)

    def _deliver(self, rule: Moto, event: dict[str, Any]) -> None:
        self._journal.say("eventbridge", f"{rule.name}: {event['detail-type']} {json.dumps(event['detail'])}")
        for target in list(rule.targets):
            try:
                self._send(rule, target, event)
            except Exception:  # noqa: BLE001 - one target's failure is not the other targets'
                self._journal.failed("eventbridge", f"delivering {event['id']} to {target['Arn']}")

    def _send(self, rule: Moto, target: dict[str, Any], event: dict[str, Any]) -> None:
        """Hand over to the target. What its RetryPolicy is about, a target that does not take events, is not here."""
        body = target.get("Input") or json.dumps(event)
        service, name = target["Arn"].split(":")[2], target["Arn"].rsplit(":", 1)[1]
        if service == "sqs":
            self._place.backend("sqs").send_message(name, body)
        elif service == "lambda":
            self._want_permission(rule, target["Arn"])
            self._functions.invoke_later(target["Arn"], body.encode())
        else:
            raise NotImplementedError(f"delivering to {target['Arn']}: wanted a queue or a function")

    def _want_permission(self, rule: Moto, arn: str) -> None:
        function = self._place.backend("lambda").get_function(arn)
        statements = grants.of_function(function, kind="Service", names=frozenset({"events.amazonaws.com"}))
        context = {"aws:sourcearn": rule.arn, "aws:sourceaccount": self._place.account}
        if not allowed(statements, action="lambda:InvokeFunction", resource=function.function_arn, context=context):
            raise PermissionError(f"invoking {arn}: wanted a permission for {rule.arn}, found none")

    def _fire_schedules(self) -> None:
        now = time.monotonic()
        rules = self._rules()
        for name in self._due.keys() - rules.keys():
            del self._due[name]
        for name, rule in list(rules.items()):
            if not rule.scheduled_expression:
                continue
            interval_s = self._place.seconds(rate_s(rule.scheduled_expression))
            due = self._due.setdefault(name, now + interval_s)
            if now >= due:
                self._due[name] = max(due + interval_s, now)
                if rule.state == "ENABLED":
                    self._deliver(rule, self._scheduled(rule))

    def _scheduled(self, rule: Moto) -> dict[str, Any]:
        return self._envelope(source="aws.events", detail_type="Scheduled Event", detail={}, resources=(rule.arn,))


def rate_s(expression: str) -> float:
    """Seconds between two firings of ``rate(…)``. ``ValueError`` for another schedule."""
    match = _RATE.fullmatch(expression)
    if match is None:
        raise ValueError(f"reading a schedule: wanted rate(N minutes), hours or days, found {expression}")
    return float(match[1]) * _UNITS_S[match[2]]


def _stamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
