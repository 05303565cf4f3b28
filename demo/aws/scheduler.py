"""Knows when EventBridge Scheduler's schedules come and that each sends its input to a queue; not what the input says.

https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-schedule-context-attributes.html
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from moto.scheduler import models
from moto.scheduler.exceptions import ValidationException

from demo.aws import grants
from demo.aws.agenda import Agenda
from demo.aws.cron import Weekly, from_scheduler
from demo.aws.gaps import Gaps, Moto
from demo.aws.journal import Journal
from demo.aws.place import Place
from demo.aws.policies import allowed
from demo.aws.ticking import Ticker

_LOOK_S = 0.5
_TARGET = frozenset({"Arn", "RoleArn", "Input", "RetryPolicy", "SqsParameters"})


class Scheduler:
    """Sends what every enabled schedule says, by the wall clock ``now``, which is aware, and as its role may."""

    def __init__(self, place: Place, *, journal: Journal, now: Callable[[], datetime]) -> None:
        self._place = place
        self._journal = journal
        self._now = now
        self._agenda = Agenda()
        self._ticker = Ticker("scheduler", every_s=_LOOK_S, action=self.look, journal=journal)

    def install(self, gaps: Gaps) -> None:
        """Fill moto's gaps until ``gaps`` are undone."""
        scheduler = self

        def create_schedule(self: Moto, **request: Any) -> Moto:  # noqa: ANN401 - moto's keywords
            scheduler._refuse_unknown(request)
            return original_create(self, **request)

        def update_schedule(self: Moto, **request: Any) -> Moto:  # noqa: ANN401 - moto's keywords
            scheduler._refuse_unknown(request)
            return original_update(self, **{**request, "state": request["state"] or "ENABLED"})

        backend = models.EventBridgeSchedulerBackend
        original_create = gaps.fill(backend, "create_schedule", create_schedule, gap="schedules never fire")
        original_update = gaps.fill(
            backend, "update_schedule", update_schedule, gap="a schedule without a state is off"
        )

    def start(self) -> None:
        """Begin to send."""
        self._ticker.start()

    def stop(self) -> None:
        """Send no more."""
        self._ticker.stop()

    def look(self) -> None:
        """Send what has become due."""
        schedules = {
            str(schedule.arn): schedule
            for group in list(self._place.backend("scheduler").schedule_groups.values())
            for schedule in list(group.schedules.values())
            if schedule.state == "ENABLED"
        }
        for arn, at in self._agenda.due({arn: _weekly(one) for arn, one in schedules.items()}, self._now()):
            try:
                self._send(schedules[arn], at)
            except Exception:  # noqa: BLE001 - one schedule's failure is not the others'
                self._journal.failed("scheduler", f"{arn} of {at}")

    def _send(self, schedule: Moto, at: datetime) -> None:
        target = schedule.target
        queue = str(target["Arn"])
        statements = grants.of_role(self._role(target["RoleArn"]), self._place.backend("iam"))
        if not allowed(statements, action="sqs:SendMessage", resource=queue, context={}):
            raise PermissionError(f"sending to {queue}: wanted a role that may, found {target['RoleArn']}")
        body = filled(target["Input"], arn=schedule.arn, at=at, execution=secrets.token_hex(8))
        self._place.backend("sqs").send_message(queue.rsplit(":", 1)[1], body)
        self._journal.say("scheduler", f"{schedule.name} of {at:%Y-%m-%dT%H:%MZ}: {body}")

    def _role(self, arn: str) -> Moto:
        for role in self._place.backend("iam").roles.values():
            if role.arn == arn:
                return role
        raise ValueError(f"assuming {arn}: found no such role")

    def _refuse_unknown(self, request: Mapping[str, Any]) -> None:
        """Raise ``ValidationException`` for what AWS refuses, and for what this local AWS would not send."""
        target = request["target"]
        refused = (
            (request["flexible_time_window"] != {"Mode": "OFF"}, "FlexibleTimeWindow: wanted Mode OFF"),
            (request["start_date"] or request["end_date"], "StartDate and EndDate: wanted none"),
            (request["kms_key_arn"], "KmsKeyArn: wanted none"),
            (not _TARGET.issuperset(target), f"Target: wanted {', '.join(sorted(_TARGET))}, found {', '.join(target)}"),
            (not str(target["Arn"]).startswith("arn:aws:sqs:"), f"Target: wanted a queue, found {target['Arn']}"),
            (target.get("SqsParameters"), "SqsParameters: wanted none, which is what a standard queue takes"),
            (not target.get("Input"), "Target: wanted an Input"),
        )
        for wrong, words in refused:
            if wrong:
                raise ValidationException(f"making the schedule: {words}; this local AWS knows no other")
        try:
            from_scheduler(request["schedule_expression"], request["schedule_expression_timezone"] or "UTC")
            self._want_trust(self._role(target["RoleArn"]))
        except ValueError as error:
            raise ValidationException(str(error)) from None

    def _want_trust(self, role: Moto) -> None:
        context = {
            "aws:sourceaccount": self._place.account,
            "aws:sourcearn": self._place.arn("scheduler", "schedule-group/default"),
        }
        trust = grants.of_trust(role, service="scheduler.amazonaws.com")
        if not allowed(trust, action="sts:AssumeRole", resource=role.arn, context=context):
            raise ValueError(
                "The execution role you provide must allow AWS EventBridge Scheduler to assume the role: "
                f"found {role.arn}"
            )


def filled(text: str, *, arn: str, at: datetime, execution: str) -> str:
    """A target's input with the context attributes in it; the first attempt always succeeds here."""
    attributes = {
        "schedule-arn": arn,
        "scheduled-time": at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "execution-id": execution,
        "attempt-number": "1",
    }
    for name, value in attributes.items():
        text = text.replace(f"<aws.scheduler.{name}>", value)
    return text


def _weekly(schedule: Moto) -> Weekly:
    return from_scheduler(schedule.schedule_expression, schedule.schedule_expression_timezone)
