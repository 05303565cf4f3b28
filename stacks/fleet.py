"""The nodes: a launch template, the group, its scaling, and the hooks that hold a node at either end of its life.

It must not know which functions answer the hooks.
"""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_autoscaling as autoscaling
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from constructs import Construct

from settings import Settings
from stacks import boot
from stacks.scaling import Scaling


class FleetStack(cdk.Stack):
    """The Auto Scaling group. A changed launch template reaches new nodes only: a burst's nodes are short-lived."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        env: cdk.Environment,
        settings: Settings,
        vpc: ec2.IVpc,
        node_security_group: ec2.ISecurityGroup,
        node_role: iam.IRole,
        enroll_url: str,
    ) -> None:
        super().__init__(
            scope, construct_id, env=env, description="Drawbridge: the nodes; stateless, rented by the minute"
        )
        edge = settings.edge
        template = ec2.LaunchTemplate(
            self,
            "Node",
            launch_template_name=f"{settings.name}-node",
            machine_image=ec2.MachineImage.from_ssm_parameter(edge.image_parameter, os=ec2.OperatingSystemType.LINUX),
            instance_type=ec2.InstanceType(edge.instance_type),
            instance_profile=iam.InstanceProfile(self, "Profile", role=node_role),
            security_group=node_security_group,
            associate_public_ip_address=True,
            user_data=ec2.UserData.custom(boot.render(settings, enroll_url=enroll_url)),
            require_imdsv2=True,
            # A container with a network of its own is one hop further: it cannot ask for the node's credentials.
            http_put_response_hop_limit=1,
            block_devices=[
                ec2.BlockDevice(
                    device_name=edge.root_device,
                    volume=ec2.BlockDeviceVolume.ebs(
                        edge.volume_gib,
                        volume_type=ec2.EbsDeviceVolumeType.GP3,
                        encrypted=True,
                        delete_on_termination=True,
                    ),
                )
            ],
        )
        group = autoscaling.AutoScalingGroup(
            self,
            "Group",
            auto_scaling_group_name=settings.group_name,
            vpc=vpc,
            vpc_subnets=ec2.SubnetSelection(subnet_type=ec2.SubnetType.PUBLIC),
            launch_template=template,
            # No desired capacity: a deployment in the middle of a burst must not send its nodes home.
            min_capacity=edge.min_capacity,
            max_capacity=edge.max_capacity,
            capacity_rebalance=True,
        )
        cdk.Validations.of(group).acknowledge(
            cdk.Acknowledgment(
                id="AwsSolutions::AwsSolutions-AS3",
                reason="Each launch and termination is an EventBridge event of the hooks below, and the sweep looks at "
                "the group every minute; notifications by SNS would tell the same to nobody.",
            )
        )
        # What a group with a min_capacity launches before its hooks exist is in service at once: seated by the next
        # sweep and enrolled like any other node, only not waited for.
        group.add_lifecycle_hook(
            "Launch",
            lifecycle_hook_name=f"{settings.name}-launch",
            lifecycle_transition=autoscaling.LifecycleTransition.INSTANCE_LAUNCHING,
            heartbeat_timeout=cdk.Duration.seconds(edge.launch_timeout_s),
            default_result=autoscaling.DefaultResult.ABANDON,
        )
        group.add_lifecycle_hook(
            "Terminate",
            lifecycle_hook_name=f"{settings.name}-terminate",
            lifecycle_transition=autoscaling.LifecycleTransition.INSTANCE_TERMINATING,
            heartbeat_timeout=cdk.Duration.seconds(edge.terminate_timeout_s),
            default_result=autoscaling.DefaultResult.CONTINUE,
        )
        Scaling(self, "Scaling", settings=settings, group=group)
