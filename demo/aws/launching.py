"""Knows what instance a group's launch template makes, and where; it must not know why the group wants one."""

from __future__ import annotations

import base64
from collections import Counter

from moto.autoscaling import models

from demo.aws.gaps import Moto
from demo.aws.lifecycle import COUNTED
from demo.aws.machines import Machine, MetadataOptions
from demo.aws.place import Place


def launch(place: Place, group: Moto) -> tuple[Moto, Machine]:
    """Moto's record of a new instance in the zone that has fewest, and the machine that it stands for.

    Raises ``NotImplementedError`` for a mixed instances policy, ``ValueError`` if the instance profile is not there.
    """
    if group.mixed_instances_policy:
        raise NotImplementedError("launching an instance: a mixed instances policy is not supported by this local AWS")
    template = group.ec2_launch_template
    version = template.get_version(group.launch_template_version)
    zone, subnet = _emptiest(group)
    (instance,) = group.ec2_backend.run_instances(
        _image(place, version.image_id),
        1,
        version.user_data,
        [],
        instance_type=version.instance_type,
        tags={
            "instance": {
                **version.instance_tags,
                **group.get_propagated_tags(),
                models.ASG_NAME_TAG: group.name,
                "aws:ec2launchtemplate:id": template.id,
                "aws:ec2launchtemplate:version": str(version.number),
            }
        },
        placement=zone,
        launch_template={"LaunchTemplateId": template.id, "Version": str(version.number)},
        is_instance_type_default=False,
        subnet_id=subnet,
        launch_config=None,
        associate_public_ip=None,
    ).instances
    instance.autoscaling_group = group
    return instance, _machine(place, group, instance, version)


def _emptiest(group: Moto) -> tuple[str, str | None]:
    """The zone and subnet with the fewest of the group's instances, as AWS balances them."""
    if not group.vpc_zone_identifier:
        return group.availability_zones[0], None
    used = Counter(state.instance.subnet_id for state in group.instance_states if state.lifecycle_state in COUNTED)
    subnets = group.ec2_backend.describe_subnets(subnet_ids=group.vpc_zone_identifier.split(","))
    subnet = min(subnets, key=lambda candidate: (used[candidate.id], candidate.availability_zone))
    return subnet.availability_zone, subnet.id


def _image(place: Place, image_id: str) -> str:
    """A launch template may name an SSM parameter instead of an image."""
    if image_id.startswith("resolve:ssm:"):
        name = image_id.removeprefix("resolve:ssm:")
        return str(place.backend("ssm").get_parameter(name).value)
    return image_id


def _machine(place: Place, group: Moto, instance: Moto, version: Moto) -> Machine:
    role = _role(place, version.data.get("IamInstanceProfile"))
    options = version.data.get("MetadataOptions") or {}
    return Machine(
        instance_id=instance.id,
        account=place.account,
        region=place.region,
        availability_zone=instance.placement.zone,
        group_name=group.name,
        image_id=instance.image_id,
        instance_type=instance.instance_type,
        user_data=base64.b64decode(str(version.user_data)) if version.user_data else b"",
        role_name=role.name if role else None,
        role_arn=role.arn if role else None,
        private_ip=instance.private_ip,
        metadata_options=MetadataOptions(
            http_tokens=options.get("HttpTokens", "optional"),
            hop_limit=int(options.get("HttpPutResponseHopLimit", 1)),
        ),
    )


def _role(place: Place, wanted: dict[str, str] | None) -> Moto | None:
    if not wanted:
        return None
    for profile in place.backend("iam").instance_profiles.values():
        if profile.arn == wanted.get("Arn") or profile.name == wanted.get("Name"):
            return profile.roles[0]
    raise ValueError(f"launching an instance: wanted the instance profile {wanted}, found none")
