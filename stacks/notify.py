"""Who is told of an alarm that only a person can mend; it must not know what the alarm watches."""

from __future__ import annotations

from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as cloudwatch_actions
from aws_cdk import aws_sns as sns

from settings import Settings


def tell(alarm: cloudwatch.Alarm, settings: Settings) -> None:
    """Have ``alarm`` tell ``edge.notify_topic``; without one it is for whoever looks."""
    if settings.edge.notify_topic is not None:
        topic = sns.Topic.from_topic_arn(alarm, "Notified", settings.edge.notify_topic)
        alarm.add_alarm_action(cloudwatch_actions.SnsAction(topic))
