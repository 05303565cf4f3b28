"""A function behind a queue: events wait, fail one by one and end in a dead-letter queue that someone hears of.

It must not know what the events mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_lambda_event_sources as event_sources
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from lambdas.events.rules import RulePattern
from settings import Settings
from stacks import notify
from stacks.core_function import TIMEOUT, CoreFunction
from stacks.permissions import Permission

MAX_RECEIVES = 10


class QueuedFunction(Construct):
    """EventBridge rules → queue → function, in batches whose messages fail one by one.

    The function may also send to its own queue ("look again") and to its dead-letter queue (with a reason).
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: Settings,
        name: str,
        code: lambda_.Code,
        environment: Mapping[str, str],
        may: Sequence[Permission],
        rules: Sequence[RulePattern],
    ) -> None:
        super().__init__(scope, construct_id)
        self.dead_letters = sqs.Queue(
            self,
            "DeadLetters",
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            retention_period=cdk.Duration.days(14),
        )
        self.queue = sqs.Queue(
            self,
            "Queue",
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            # AWS's advice: six times the function's timeout, so that no message is handed out twice at once.
            visibility_timeout=cdk.Duration.seconds(6 * TIMEOUT.to_seconds()),
            dead_letter_queue=sqs.DeadLetterQueue(queue=self.dead_letters, max_receive_count=MAX_RECEIVES),
        )
        core_function = CoreFunction(
            self,
            "Core",
            settings=settings,
            name=name,
            code=code,
            environment={
                **environment,
                "DRAWBRIDGE_QUEUE_URL": self.queue.queue_url,
                "DRAWBRIDGE_DEAD_LETTER_URL": self.dead_letters.queue_url,
            },
            may=may,
        )
        self.function = core_function.function
        self.function.add_event_source(
            event_sources.SqsEventSource(
                self.queue,
                batch_size=10,
                report_batch_item_failures=True,
                max_concurrency=2,  # the least that AWS allows; each is one SSH connection to the core
            )
        )
        self.queue.grant_send_messages(core_function.role)
        self.dead_letters.grant_send_messages(core_function.role)
        for pattern in rules:
            events.Rule(
                self,
                f"Rule-{pattern.name}",
                rule_name=f"{settings.name}-{pattern.name}",
                event_pattern=events.EventPattern(
                    source=[pattern.source],
                    detail_type=list(pattern.detail_types),
                    detail=dict(pattern.detail) or None,
                ),
                targets=[self.target()],
            )
        waiting = cloudwatch.Alarm(
            self,
            "DeadLettersWaiting",
            alarm_name=f"{settings.name}-{name}-dead-letters",
            alarm_description=f"Messages that {name} could not handle are waiting, each with its reason.",
            metric=self.dead_letters.metric_approximate_number_of_messages_visible(
                period=cdk.Duration.minutes(1), statistic="Maximum"
            ),
            threshold=1,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
            evaluation_periods=1,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        )
        notify.tell(waiting, settings)

    def target(self) -> events.IRuleTarget:
        """The queue, as a rule's target; what EventBridge cannot deliver ends with the dead letters."""
        return targets.SqsQueue(self.queue, dead_letter_queue=self.dead_letters)
