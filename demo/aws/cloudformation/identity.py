"""Knows the roles, policies and instance profiles that a stack makes."""

from __future__ import annotations

import json

from demo.aws.cloudformation.kind import Kind, Made, Order, Properties, Resource, takes


def _role_name(order: Order) -> str:
    return str(order.properties.get("RoleName", order.name))[:64]


def _role(order: Order) -> Made:
    iam = order.place.client("iam")
    name = _role_name(order)
    role = iam.create_role(
        RoleName=name,
        AssumeRolePolicyDocument=json.dumps(order.properties["AssumeRolePolicyDocument"]),
        **order.pick("Path", "Description", "MaxSessionDuration", "PermissionsBoundary", "Tags"),
    )["Role"]
    _grant(order, name, order.properties)
    return Made(physical_id=name, attributes={"Arn": role["Arn"], "RoleId": role["RoleId"]})


def _grant(order: Order, role: str, properties: Properties) -> None:
    iam = order.place.client("iam")
    for policy in properties.get("Policies", []):
        document = json.dumps(policy["PolicyDocument"])
        iam.put_role_policy(RoleName=role, PolicyName=policy["PolicyName"], PolicyDocument=document)
    for arn in properties.get("ManagedPolicyArns", []):
        iam.attach_role_policy(RoleName=role, PolicyArn=arn)


def _ungrant(order: Order, role: str, properties: Properties) -> None:
    iam = order.place.client("iam")
    for policy in properties.get("Policies", []):
        iam.delete_role_policy(RoleName=role, PolicyName=policy["PolicyName"])
    for arn in properties.get("ManagedPolicyArns", []):
        iam.detach_role_policy(RoleName=role, PolicyArn=arn)


def _change_role(order: Order, old: Resource) -> Made:
    iam = order.place.client("iam")
    role = old.made.physical_id
    trust = json.dumps(order.properties["AssumeRolePolicyDocument"])
    iam.update_assume_role_policy(RoleName=role, PolicyDocument=trust)
    iam.update_role(RoleName=role, **order.pick("Description", "MaxSessionDuration"))
    _ungrant(order, role, old.properties)
    _grant(order, role, order.properties)
    return old.made


def _delete_role(order: Order, resource: Resource) -> None:
    _ungrant(order, resource.made.physical_id, resource.properties)
    order.place.client("iam").delete_role(RoleName=resource.made.physical_id)


def _policy(order: Order) -> Made:
    document = json.dumps(order.properties["PolicyDocument"])
    for role in order.properties["Roles"]:
        order.place.client("iam").put_role_policy(
            RoleName=role, PolicyName=order.properties["PolicyName"], PolicyDocument=document
        )
    return Made(physical_id=order.properties["PolicyName"], attributes={"Id": order.properties["PolicyName"]})


def _change_policy(order: Order, old: Resource) -> Made:
    made = _policy(order)
    for role in set(old.properties["Roles"]) - set(order.properties["Roles"]):
        order.place.client("iam").delete_role_policy(RoleName=role, PolicyName=old.properties["PolicyName"])
    return made


def _delete_policy(order: Order, resource: Resource) -> None:
    for role in resource.properties["Roles"]:
        order.place.client("iam").delete_role_policy(RoleName=role, PolicyName=resource.properties["PolicyName"])


def _managed_policy(order: Order) -> Made:
    iam = order.place.client("iam")
    policy = iam.create_policy(
        PolicyName=order.properties.get("ManagedPolicyName", order.name)[:128],
        PolicyDocument=json.dumps(order.properties["PolicyDocument"]),
        **order.pick("Path", "Description"),
    )["Policy"]
    for role in order.properties.get("Roles", []):
        iam.attach_role_policy(RoleName=role, PolicyArn=policy["Arn"])
    return Made(physical_id=policy["Arn"], attributes={"PolicyArn": policy["Arn"]})


def _delete_managed_policy(order: Order, resource: Resource) -> None:
    iam = order.place.client("iam")
    for role in resource.properties.get("Roles", []):
        iam.detach_role_policy(RoleName=role, PolicyArn=resource.made.physical_id)
    iam.delete_policy(PolicyArn=resource.made.physical_id)


def _instance_profile(order: Order) -> Made:
    iam = order.place.client("iam")
    name = str(order.properties.get("InstanceProfileName", order.name))
    profile = iam.create_instance_profile(InstanceProfileName=name, **order.pick("Path"))["InstanceProfile"]
    for role in order.properties["Roles"]:
        iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=role)
    return Made(physical_id=name, attributes={"Arn": profile["Arn"]})


def _delete_instance_profile(order: Order, resource: Resource) -> None:
    iam = order.place.client("iam")
    for role in resource.properties["Roles"]:
        iam.remove_role_from_instance_profile(InstanceProfileName=resource.made.physical_id, RoleName=role)
    iam.delete_instance_profile(InstanceProfileName=resource.made.physical_id)


KINDS = (
    Kind(
        type="AWS::IAM::Role",
        takes=takes(
            "RoleName AssumeRolePolicyDocument Policies ManagedPolicyArns Path Description MaxSessionDuration "
            "PermissionsBoundary Tags"
        ),
        create=_role,
        update=_change_role,
        replaces=takes("RoleName Path"),
        delete=_delete_role,
    ),
    Kind(
        type="AWS::IAM::Policy",
        takes=takes("PolicyName PolicyDocument Roles"),
        create=_policy,
        update=_change_policy,
        replaces=takes("PolicyName"),
        delete=_delete_policy,
    ),
    Kind(
        type="AWS::IAM::ManagedPolicy",
        takes=takes("ManagedPolicyName PolicyDocument Roles Path Description"),
        create=_managed_policy,
        delete=_delete_managed_policy,
    ),
    Kind(
        type="AWS::IAM::InstanceProfile",
        takes=takes("InstanceProfileName Roles Path"),
        create=_instance_profile,
        delete=_delete_instance_profile,
    ),
)
