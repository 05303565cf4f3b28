"""Tells a queue when each known peak begins and ends; it must not know what the peak asks for."""

from __future__ import annotations

import json

import aws_cdk as cdk
from aws_cdk import aws_scheduler as scheduler
from aws_cdk import aws_scheduler_targets as targets
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from lambdas.events import peak as peak_event
from lambdas.events.peak import Change
from settings import Settings
from settings.tables import Peak
from stacks import week
from stacks.week import Moment


class PeakSchedules(Construct):
    """Two schedules for each peak, of one role that may send to ``queue`` and do nothing else.

    A message only makes the function look at the clock: one that comes late, twice or never moves the moment, not the
    level.
    """

    def __init__(self, scope: Construct, construct_id: str, *, settings: Settings, queue: sqs.IQueue) -> None:
        super().__init__(scope, construct_id)
        week.check_time_zones(settings.peaks)
        self._settings = settings
        self._queue = queue
        for peak in settings.peaks:
            self._schedule(peak, Change.BEGINS, week.begins(peak))
            self._schedule(peak, Change.ENDS, week.ends(peak))

    def _schedule(self, peak: Peak, change: Change, moment: Moment) -> None:
        edge = self._settings.edge
        message = peak_event.scheduled(account=edge.account, region=edge.region, peak=peak.name, change=change)
        scheduler.Schedule(
            self,
            f"{peak.name}-{change}",
            description=f"{self._settings.name}: the peak {peak.name} {change}",
            schedule=scheduler.ScheduleExpression.cron(
                minute=str(moment.minute),
                hour=str(moment.hour),
                week_day=moment.day_names,
                time_zone=cdk.TimeZone.of(peak.timezone),
            ),
            target=targets.SqsSendMessage(
                self._queue, input=scheduler.ScheduleTargetInput.from_object(json.loads(message))
            ),
        )
