"""One Lambda function that talks to the core: its log, its role, its environment; it must not know what wakes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from lambdas.events import metric_names
from settings import Settings
from stacks.permissions import Permission, read_ssh_key

TIMEOUT = cdk.Duration.seconds(30)


def function_name(settings: Settings, name: str) -> str:
    """The physical name of the function ``name``; its metrics carry it as their one dimension."""
    return f"{settings.name}-{name}"


class CoreFunction(Construct):
    """The handler ``lambdas.handlers.NAME.handler`` of the bundle; besides what it ``may``, it reads its key and logs.

    No concurrency is reserved: a young account has ten executions in all and AWS refuses to reserve any of them. What
    bounds the connections to the core is the queues' maximum concurrency, and for ``enroll`` the number of launches.
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
        timeout: cdk.Duration = TIMEOUT,
    ) -> None:
        super().__init__(scope, construct_id)
        physical_name = function_name(settings, name)
        log_group = logs.LogGroup(
            self,
            "Log",
            log_group_name=f"/aws/lambda/{physical_name}",
            retention=logs.RetentionDays.ONE_MONTH,
            removal_policy=cdk.RemovalPolicy.DESTROY,
        )
        self.role = iam.Role(self, "Role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
        log_group.grant_write(self.role)
        for permission in (read_ssh_key(self, settings), *may):
            permission.grant(self.role)
        self.function = lambda_.Function(
            self,
            "Function",
            function_name=physical_name,
            description=f"Drawbridge: {name}",
            handler=f"lambdas.handlers.{name}.handler",
            code=code,
            runtime=lambda_.Runtime(settings.functions.runtime.value, lambda_.RuntimeFamily.PYTHON),
            architecture=lambda_.Architecture.custom(settings.functions.architecture.value),
            memory_size=512,
            timeout=timeout,
            role=self.role,
            log_group=log_group,
            environment={
                "DRAWBRIDGE_ACCOUNT": settings.edge.account,
                "DRAWBRIDGE_GROUP": settings.group_name,
                "DRAWBRIDGE_NODE_ROLE": settings.node_role_name,
                "DRAWBRIDGE_LAUNCH_HOOK": f"{settings.name}-launch",
                "DRAWBRIDGE_TERMINATE_HOOK": f"{settings.name}-terminate",
                "DRAWBRIDGE_CORE_HOST": settings.core.public_address,
                "DRAWBRIDGE_CORE_PORT": str(settings.core.ssh_port),
                "DRAWBRIDGE_CORE_USER": settings.core.ssh_user,
                "DRAWBRIDGE_CORE_HOST_KEY": settings.core.ssh_host_key,
                "DRAWBRIDGE_SSH_KEY_PARAMETER": settings.core.ssh_key_parameter,
                "POWERTOOLS_SERVICE_NAME": physical_name,
                "POWERTOOLS_METRICS_NAMESPACE": metric_names.NAMESPACE,
                **environment,
            },
        )
        cdk.Validations.of(self.function).acknowledge(
            cdk.Acknowledgment(
                id="AwsSolutions::AwsSolutions-L1",
                reason="functions.runtime in drawbridge.toml chooses among the supported runtimes: the demo runs this "
                "very bundle with the Python of its own machine, which is not always the newest.",
            )
        )
