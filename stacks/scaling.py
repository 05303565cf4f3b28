"""What makes the group larger and smaller: by the load's alarms and by the clock; it must not know who measures."""

from __future__ import annotations

import itertools
from collections import Counter

import aws_cdk as cdk
from aws_cdk import aws_autoscaling as autoscaling
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as cloudwatch_actions
from constructs import Construct

from settings import Settings
from stacks import steps, week
from stacks.alarms import LoadAlarms

_LEAVING_PERCENT = -25  # at a time; the settings keep the thresholds so far apart that what is left does not alarm


class Scaling(Construct):
    """Three step-scaling policies with their alarms, and a scheduled action for each change of the least size.

    The alarms stand here, with the group, because an alarm names its policy by an ARN that AWS makes up; whoever only
    asks for an alarm, as the burst function does, needs no more than its name. So control never waits for the fleet.
    """

    def __init__(
        self, scope: Construct, construct_id: str, *, settings: Settings, group: autoscaling.IAutoScalingGroup
    ) -> None:
        super().__init__(scope, construct_id)
        self._group = group
        self._warmup = cdk.Duration.seconds(settings.burst.warmup_s)
        alarms = LoadAlarms(self, "Load", settings=settings)
        _drive(alarms.slots_short, self._grow("SlotsShort", steps.scale_out(settings)))
        # A queue means that slots are short wherever the requests are, also when the totals look well.
        _drive(alarms.queue_long, self._grow("QueueLong", (steps.Step(lower=0, nodes=1),)))
        _drive(alarms.slots_spare, self._shrink())
        week.check_time_zones(settings.peaks)
        at_this_time = Counter[str]()
        for floor in week.floors(settings.peaks, least=settings.edge.min_capacity):
            clock = f"{floor.moment.hour:02}{floor.moment.minute:02}"
            at_this_time[clock] += 1
            autoscaling.ScheduledAction(
                self,
                # By its time, so that an edited peak changes an action in its place: Auto Scaling refuses a second
                # action of the same time, and CloudFormation makes what is new before it deletes what is old.
                f"Floor{clock}-{at_this_time[clock]}",
                auto_scaling_group=group,
                schedule=autoscaling.Schedule.cron(
                    minute=str(floor.moment.minute), hour=str(floor.moment.hour), week_day=floor.moment.day_numbers
                ),
                time_zone=settings.peaks[0].timezone,  # the settings have one for all
                min_capacity=floor.nodes,
            )

    def _grow(self, construct_id: str, orders: tuple[steps.Step, ...]) -> autoscaling.StepScalingAction:
        action = autoscaling.StepScalingAction(
            self,
            construct_id,
            auto_scaling_group=self._group,
            adjustment_type=autoscaling.AdjustmentType.CHANGE_IN_CAPACITY,
            metric_aggregation_type=autoscaling.MetricAggregationType.AVERAGE,
            estimated_instance_warmup=self._warmup,
        )
        for step, after in itertools.zip_longest(orders, orders[1:]):
            action.add_adjustment(
                adjustment=step.nodes, lower_bound=step.lower, upper_bound=None if after is None else after.lower
            )
        return action

    def _shrink(self) -> autoscaling.StepScalingAction:
        action = autoscaling.StepScalingAction(
            self,
            "SlotsSpare",
            auto_scaling_group=self._group,
            adjustment_type=autoscaling.AdjustmentType.PERCENT_CHANGE_IN_CAPACITY,
            metric_aggregation_type=autoscaling.MetricAggregationType.AVERAGE,
            min_adjustment_magnitude=1,
        )
        action.add_adjustment(adjustment=_LEAVING_PERCENT, upper_bound=0)
        return action


def _drive(alarm: cloudwatch.Alarm, action: autoscaling.StepScalingAction) -> None:
    alarm.add_alarm_action(cloudwatch_actions.AutoScalingAction(action))
