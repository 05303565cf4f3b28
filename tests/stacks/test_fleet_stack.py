"""The nodes' template and group: nothing rests on a node, nobody reads its credentials over a hop, hooks hold it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from settings import Settings
from settings.words import DeviceName
from stacks import boot
from tests.stacks.conftest import House, Synthesise


def node(house: House) -> dict[str, Any]:
    """The launch template's data."""
    data: dict[str, Any] = house.only("fleet", "AWS::EC2::LaunchTemplate")["LaunchTemplateData"]
    return data


def test_credentials_are_one_hop_away_and_need_a_token(house: House) -> None:
    """IMDSv2 alone, hop limit 1: a container with its own network cannot ask for them."""
    options = node(house)["MetadataOptions"]
    assert options["HttpTokens"] == "required"
    assert options["HttpPutResponseHopLimit"] == 1


def test_the_root_volume_is_encrypted_and_dies_with_its_node(house: House) -> None:
    """A terminated node leaves nothing behind; the device is the one that the settings call the image's root."""
    (volume,) = node(house)["BlockDeviceMappings"]
    assert volume["DeviceName"] == house.settings.edge.root_device == "/dev/xvda"
    assert volume["Ebs"] == {"Encrypted": True, "DeleteOnTermination": True, "VolumeSize": 8, "VolumeType": "gp3"}


def test_an_image_with_another_root_device(default_settings: Settings, synthesise: Synthesise, tmp_path: Path) -> None:
    """The one volume of the template is the root, whatever the image calls it: never a second one beside it."""
    edge = dataclasses.replace(default_settings.edge, root_device=DeviceName("/dev/sda1"))
    (volume,) = node(synthesise(dataclasses.replace(default_settings, edge=edge), tmp_path))["BlockDeviceMappings"]
    assert (volume["DeviceName"], volume["Ebs"]["Encrypted"]) == ("/dev/sda1", True)


def test_the_image_is_resolved_when_deploying(house: House) -> None:
    """The newest Debian at each deployment, by AWS's own parameter, without a look-up at synth."""
    parameter = house.templates["fleet"]["Parameters"][node(house)["ImageId"]["Ref"]]
    assert parameter["Type"] == "AWS::SSM::Parameter::Value<AWS::EC2::Image::Id>"
    assert parameter["Default"] == house.settings.edge.image_parameter


def test_nodes_run_as_the_node_role(house: House) -> None:
    """The instance profile's only role is the one that enroll admits, taken from the control stack."""
    (role,) = house.only("fleet", "AWS::IAM::InstanceProfile")["Roles"]
    export = role["Fn::ImportValue"].removeprefix("drawbridge-control:")
    output = next(o for name, o in house.templates["control"]["Outputs"].items() if name == export)
    resource = house.templates["control"]["Resources"][output["Value"]["Ref"]]
    assert resource["Properties"]["RoleName"] == house.settings.node_role_name


def test_user_data_is_the_boot_script_for_the_deployed_url(house: House) -> None:
    """The URL is filled in by CloudFormation, inside the quotes that were put around it at synth."""
    _, (before, url, after) = node(house)["UserData"]["Fn::Base64"]["Fn::Join"]
    assert before == "#!/bin/bash\nENROLL_URL='"
    assert "FunctionUrl" in url["Fn::ImportValue"]
    assert before + "https://x/" + after == boot.render(house.settings, enroll_url="https://x/ ").replace("/ '", "/'")


def test_a_deployment_leaves_the_size_of_the_group_alone(house: House) -> None:
    """No desired capacity in the template: whoever deploys in the middle of a burst sends no node home."""
    group = house.only("fleet", "AWS::AutoScaling::AutoScalingGroup")
    assert "DesiredCapacity" not in group
    assert (group["MinSize"], group["MaxSize"]) == ("0", "20")
    assert group["AutoScalingGroupName"] == "drawbridge-edge"
    assert group["CapacityRebalance"] is True


def test_hooks_hold_a_node_at_both_ends(house: House) -> None:
    """A node that never gets ready is abandoned; one that cannot be drained in time is let go all the same."""
    hooks = {
        hook["Properties"]["LifecycleHookName"]: (
            hook["Properties"]["LifecycleTransition"],
            hook["Properties"]["HeartbeatTimeout"],
            hook["Properties"]["DefaultResult"],
        )
        for hook in house.resources("fleet", "AWS::AutoScaling::LifecycleHook")
    }
    assert hooks == {
        "drawbridge-launch": ("autoscaling:EC2_INSTANCE_LAUNCHING", 600, "ABANDON"),
        "drawbridge-terminate": ("autoscaling:EC2_INSTANCE_TERMINATING", 180, "CONTINUE"),
    }
