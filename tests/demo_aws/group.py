"""One Auto Scaling group of a test, and how it is watched."""

import base64
import json

from demo.aws.server import LocalAws
from tests.demo_aws.probe import Json, eventually


class Group:
    """One Auto Scaling group of a test."""

    def __init__(self, aws: LocalAws, name: str) -> None:
        self.name = name
        self.client = aws.place.client("autoscaling")
        ec2, iam = aws.place.client("ec2"), aws.place.client("iam")
        trust = json.dumps({"Version": "2012-10-17", "Statement": []})
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust)
        iam.create_instance_profile(InstanceProfileName=name)
        iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)
        vpc = ec2.create_vpc(CidrBlock="10.60.0.0/16")["Vpc"]["VpcId"]
        subnets = [
            ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.60.{n}.0/24", AvailabilityZone=f"eu-north-1{'ab'[n]}")
            for n in range(2)
        ]
        template = ec2.create_launch_template(
            LaunchTemplateName=name,
            LaunchTemplateData={
                "ImageId": "resolve:ssm:/aws/service/debian/release/13/latest/arm64",
                "InstanceType": "t4g.small",
                "UserData": base64.b64encode(b"#!/bin/sh\necho \xc3\xa5\n").decode(),
                "IamInstanceProfile": {"Name": name},
                "MetadataOptions": {"HttpTokens": "required", "HttpPutResponseHopLimit": 1},
            },
        )["LaunchTemplate"]
        self.client.create_auto_scaling_group(
            AutoScalingGroupName=name,
            MinSize=0,
            MaxSize=3,
            LaunchTemplate={"LaunchTemplateId": template["LaunchTemplateId"], "Version": "1"},
            VPCZoneIdentifier=",".join(subnet["Subnet"]["SubnetId"] for subnet in subnets),
        )

    def hook(self, transition: str, **more: Json) -> None:
        """Make, or change, the hook of a transition; it is named after it."""
        self.client.put_lifecycle_hook(
            LifecycleHookName=transition.lower(),
            AutoScalingGroupName=self.name,
            LifecycleTransition=f"autoscaling:EC2_INSTANCE_{transition}",
            **{"HeartbeatTimeout": 60, **more},
        )

    def resize(self, desired: int) -> None:
        """Set the desired capacity."""
        self.client.set_desired_capacity(AutoScalingGroupName=self.name, DesiredCapacity=desired)

    def states(self) -> dict[str, str]:
        """Lifecycle states by instance id."""
        (group,) = self.client.describe_auto_scaling_groups(AutoScalingGroupNames=[self.name])["AutoScalingGroups"]
        return {instance["InstanceId"]: instance["LifecycleState"] for instance in group["Instances"]}

    def desired(self) -> int:
        """The desired capacity."""
        (group,) = self.client.describe_auto_scaling_groups(AutoScalingGroupNames=[self.name])["AutoScalingGroups"]
        return int(group["DesiredCapacity"])

    def complete(self, hook: str, result: str = "CONTINUE", **which: str) -> None:
        """Complete a lifecycle action."""
        self.client.complete_lifecycle_action(
            AutoScalingGroupName=self.name, LifecycleHookName=hook, LifecycleActionResult=result, **which
        )

    def becomes(self, *states: str) -> list[str]:
        """Wait until the instances are in just these states; their ids."""
        eventually(lambda: sorted(self.states().values()) == sorted(states))
        return list(self.states())

    def empties(self) -> None:
        """Wait until no instance is left."""
        eventually(lambda: not self.states())
