"""The residency check on small templates: what could hold data or let somebody in is found, the rest is let through."""

from __future__ import annotations

from typing import Any

import pytest

from stacks.residency import findings

_VOLUME = {"DeviceName": "/dev/xvda", "Ebs": {"Encrypted": True, "DeleteOnTermination": True}}
_NODE = {"BlockDeviceMappings": [_VOLUME], "SecurityGroupIds": ["sg"]}


def problems(kind: str, **properties: object) -> list[str]:
    """Where the check finds fault with one resource."""
    template = {"Resources": {"It": {"Type": kind, "Properties": properties}}}
    return [f"{finding.location}: {finding.problem}" for finding in findings(template)]


@pytest.mark.parametrize(
    "kind",
    [
        "AWS::RDS::DBInstance",
        "AWS::DynamoDB::Table",
        "AWS::EFS::FileSystem",
        "AWS::S3::Bucket",
        "AWS::EC2::Volume",
        "AWS::ElastiCache::CacheCluster",
        "AWS::Something::NotInventedYet",
    ],
)
def test_a_type_that_may_hold_data_is_refused(kind: str) -> None:
    """Unknown means no: the list names what is harmless, so a new service is not let in by being new."""
    (problem,) = problems(kind)
    assert problem.endswith(f"found {kind}")


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("AWS::EC2::SecurityGroup", {"SecurityGroupIngress": []}, {"SecurityGroupIngress": [{"IpProtocol": "tcp"}]}),
        ("AWS::Logs::LogGroup", {"RetentionInDays": 30}, {}),
        ("AWS::SQS::Queue", {"SqsManagedSseEnabled": True}, {"SqsManagedSseEnabled": False}),
        ("AWS::SQS::Queue", {"KmsMasterKeyId": "key"}, {}),
        ("AWS::Lambda::Url", {"AuthType": "AWS_IAM"}, {"AuthType": "NONE"}),
        ("AWS::EC2::LaunchTemplate", {"LaunchTemplateData": _NODE}, {}),
        (
            "AWS::EC2::LaunchTemplate",
            {"LaunchTemplateData": {**_NODE, "SecurityGroupIds": [], "NetworkInterfaces": [{"Groups": ["sg"]}]}},
            {"LaunchTemplateData": {**_NODE, "SecurityGroupIds": []}},
        ),
        (
            "AWS::EC2::LaunchTemplate",
            {"LaunchTemplateData": _NODE},
            {"LaunchTemplateData": {**_NODE, "BlockDeviceMappings": [{"Ebs": {"DeleteOnTermination": True}}]}},
        ),
        (
            "AWS::EC2::LaunchTemplate",
            {"LaunchTemplateData": _NODE},
            {"LaunchTemplateData": {**_NODE, "BlockDeviceMappings": [{"Ebs": {"Encrypted": True}}]}},
        ),
    ],
)
def test_each_rule_lets_the_good_through_and_finds_the_bad(
    kind: str, good: dict[str, Any], bad: dict[str, Any]
) -> None:
    """One property decides, so a careless edit of exactly that property is caught."""
    assert problems(kind, **good) == []
    assert problems(kind, **bad) != []
