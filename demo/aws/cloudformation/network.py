"""Knows the networks that a stack makes: VPC, subnets, gateway, routes, security groups, flow logs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from demo.aws.cloudformation.kind import Kind, Made, Order, Properties, Resource, takes

_RULE_TARGETS = {
    "CidrIp": ("IpRanges", "CidrIp"),
    "CidrIpv6": ("Ipv6Ranges", "CidrIpv6"),
    "SourceSecurityGroupId": ("UserIdGroupPairs", "GroupId"),
    "DestinationSecurityGroupId": ("UserIdGroupPairs", "GroupId"),
    "SourcePrefixListId": ("PrefixListIds", "PrefixListId"),
    "DestinationPrefixListId": ("PrefixListIds", "PrefixListId"),
}
_EVERYTHING_OUT = {"IpProtocol": "-1", "CidrIp": "0.0.0.0/0"}


def _tagged(order: Order, resource_type: str) -> Properties:
    tags = order.properties.get("Tags")
    return {"TagSpecifications": [{"ResourceType": resource_type, "Tags": tags}]} if tags else {}


def _retag(order: Order, old: Resource) -> Made:
    """Only tags may have changed: everything else of these types is in ``replaces``."""
    ec2 = order.place.client("ec2")
    if old.properties.get("Tags"):
        keys = [{"Key": tag["Key"]} for tag in old.properties["Tags"]]
        ec2.delete_tags(Resources=[old.made.physical_id], Tags=keys)
    if order.properties.get("Tags"):
        ec2.create_tags(Resources=[old.made.physical_id], Tags=order.properties["Tags"])
    return old.made


def _delete_by(method: str, argument: str) -> Callable[[Order, Resource], None]:
    def delete(order: Order, resource: Resource) -> None:
        getattr(order.place.client("ec2"), method)(**{argument: resource.made.physical_id})

    return delete


def _vpc(order: Order) -> Made:
    ec2 = order.place.client("ec2")
    vpc = ec2.create_vpc(**order.pick("CidrBlock", "InstanceTenancy"), **_tagged(order, "vpc"))["Vpc"]["VpcId"]
    for attribute in ("EnableDnsSupport", "EnableDnsHostnames"):
        if attribute in order.properties:
            ec2.modify_vpc_attribute(VpcId=vpc, **{attribute: {"Value": order.properties[attribute]}})
    of_this = [{"Name": "vpc-id", "Values": [vpc]}]
    groups = ec2.describe_security_groups(Filters=of_this)["SecurityGroups"]
    lists = ec2.describe_network_acls(Filters=of_this)["NetworkAcls"]
    attributes = {
        "VpcId": vpc,
        "CidrBlock": order.properties["CidrBlock"],
        "DefaultSecurityGroup": groups[0]["GroupId"],
        "DefaultNetworkAcl": lists[0]["NetworkAclId"],
    }
    return Made(physical_id=vpc, attributes=attributes)


def _subnet(order: Order) -> Made:
    ec2 = order.place.client("ec2")
    request = order.pick("VpcId", "CidrBlock", "AvailabilityZone")
    subnet = ec2.create_subnet(**request, **_tagged(order, "subnet"))["Subnet"]
    if order.properties.get("MapPublicIpOnLaunch"):
        ec2.modify_subnet_attribute(SubnetId=subnet["SubnetId"], MapPublicIpOnLaunch={"Value": True})
    attributes = {
        "SubnetId": subnet["SubnetId"],
        "AvailabilityZone": subnet["AvailabilityZone"],
        "VpcId": subnet["VpcId"],
        "CidrBlock": subnet["CidrBlock"],
    }
    return Made(physical_id=subnet["SubnetId"], attributes=attributes)


def _internet_gateway(order: Order) -> Made:
    made = order.place.client("ec2").create_internet_gateway(**_tagged(order, "internet-gateway"))
    gateway = made["InternetGateway"]["InternetGatewayId"]
    return Made(physical_id=gateway, attributes={"InternetGatewayId": gateway})


def _attachment(order: Order) -> Made:
    order.place.client("ec2").attach_internet_gateway(**order.pick("InternetGatewayId", "VpcId"))
    return Made(physical_id=f"IGW|{order.properties['VpcId']}", attributes={"AttachmentType": "IGW"})


def _detach(order: Order, resource: Resource) -> None:
    order.place.client("ec2").detach_internet_gateway(
        InternetGatewayId=resource.properties["InternetGatewayId"], VpcId=resource.properties["VpcId"]
    )


def _route_table(order: Order) -> Made:
    made = order.place.client("ec2").create_route_table(**order.pick("VpcId"), **_tagged(order, "route-table"))
    table = made["RouteTable"]["RouteTableId"]
    return Made(physical_id=table, attributes={"RouteTableId": table})


def _route(order: Order) -> Made:
    order.place.client("ec2").create_route(**order.properties)
    destination = order.properties.get("DestinationCidrBlock") or order.properties["DestinationIpv6CidrBlock"]
    return Made(physical_id=f"{order.properties['RouteTableId']}|{destination}")


def _unroute(order: Order, resource: Resource) -> None:
    names = ("RouteTableId", "DestinationCidrBlock", "DestinationIpv6CidrBlock")
    order.place.client("ec2").delete_route(
        **{name: resource.properties[name] for name in names if name in resource.properties}
    )


def _association(order: Order) -> Made:
    made = order.place.client("ec2").associate_route_table(**order.pick("RouteTableId", "SubnetId"))
    return Made(physical_id=made["AssociationId"], attributes={"Id": made["AssociationId"]})


def _permission(rule: Properties) -> dict[str, Any]:
    permission: dict[str, Any] = {"IpProtocol": str(rule["IpProtocol"])}
    permission |= {port: int(rule[port]) for port in ("FromPort", "ToPort") if port in rule}
    for name, (holder, key) in _RULE_TARGETS.items():
        if name in rule:
            described = {"Description": rule["Description"]} if "Description" in rule else {}
            permission[holder] = [{key: rule[name], **described}]
    return permission


def _permissions(rules: list[Properties]) -> list[dict[str, Any]]:
    return [_permission(rule) for rule in rules]


def _security_group(order: Order) -> Made:
    ec2 = order.place.client("ec2")
    group = ec2.create_security_group(
        GroupName=order.properties.get("GroupName", order.name),
        Description=order.properties["GroupDescription"],
        VpcId=order.properties["VpcId"],
        **_tagged(order, "security-group"),
    )["GroupId"]
    if "SecurityGroupEgress" in order.properties:
        ec2.revoke_security_group_egress(GroupId=group, IpPermissions=[_permission(_EVERYTHING_OUT)])
    _authorize(order, group, order.properties)
    return Made(physical_id=group, attributes={"GroupId": group, "VpcId": order.properties["VpcId"]})


def _authorize(order: Order, group: str, properties: Properties) -> None:
    ec2 = order.place.client("ec2")
    if properties.get("SecurityGroupIngress"):
        permissions = _permissions(properties["SecurityGroupIngress"])
        ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=permissions)
    if properties.get("SecurityGroupEgress"):
        permissions = _permissions(properties["SecurityGroupEgress"])
        ec2.authorize_security_group_egress(GroupId=group, IpPermissions=permissions)


def _change_security_group(order: Order, old: Resource) -> Made:
    ec2 = order.place.client("ec2")
    group = old.made.physical_id
    if old.properties.get("SecurityGroupIngress"):
        permissions = _permissions(old.properties["SecurityGroupIngress"])
        ec2.revoke_security_group_ingress(GroupId=group, IpPermissions=permissions)
    permissions = _permissions(old.properties.get("SecurityGroupEgress", [_EVERYTHING_OUT]))
    ec2.revoke_security_group_egress(GroupId=group, IpPermissions=permissions)
    _authorize(order, group, {"SecurityGroupEgress": [_EVERYTHING_OUT], **order.properties})
    return _retag(order, old)


def _rule(direction: str) -> Kind:
    def create(order: Order) -> Made:
        authorize = getattr(order.place.client("ec2"), f"authorize_security_group_{direction}")
        authorize(GroupId=order.properties["GroupId"], IpPermissions=[_permission(order.properties)])
        return Made(physical_id=order.name)

    def delete(order: Order, resource: Resource) -> None:
        revoke = getattr(order.place.client("ec2"), f"revoke_security_group_{direction}")
        revoke(GroupId=resource.properties["GroupId"], IpPermissions=[_permission(resource.properties)])

    return Kind(
        type=f"AWS::EC2::SecurityGroup{direction.capitalize()}",
        takes=frozenset(_RULE_TARGETS) | takes("GroupId IpProtocol FromPort ToPort Description"),
        create=create,
        delete=delete,
    )


def _flow_log(order: Order) -> Made:
    request = order.pick(
        "ResourceType", "TrafficType", "LogDestinationType", "LogDestination", "LogGroupName",
        "DeliverLogsPermissionArn", "MaxAggregationInterval",
    )  # fmt: skip
    tagged = _tagged(order, "vpc-flow-log")
    made = order.place.client("ec2").create_flow_logs(ResourceIds=[order.properties["ResourceId"]], **request, **tagged)
    if made.get("Unsuccessful"):
        raise RuntimeError(f"creating a flow log: {made['Unsuccessful'][0]['Error']['Message']}")
    return Made(physical_id=made["FlowLogIds"][0], attributes={"Id": made["FlowLogIds"][0]})


def _delete_flow_log(order: Order, resource: Resource) -> None:
    order.place.client("ec2").delete_flow_logs(FlowLogIds=[resource.made.physical_id])


KINDS = (
    Kind(
        type="AWS::EC2::VPC",
        takes=takes("CidrBlock InstanceTenancy EnableDnsSupport EnableDnsHostnames Tags"),
        create=_vpc,
        update=_retag,
        replaces=takes("CidrBlock InstanceTenancy EnableDnsSupport EnableDnsHostnames"),
        delete=_delete_by("delete_vpc", "VpcId"),
    ),
    Kind(
        type="AWS::EC2::Subnet",
        takes=takes("VpcId CidrBlock AvailabilityZone MapPublicIpOnLaunch Tags"),
        create=_subnet,
        update=_retag,
        replaces=takes("VpcId CidrBlock AvailabilityZone MapPublicIpOnLaunch"),
        delete=_delete_by("delete_subnet", "SubnetId"),
    ),
    Kind(
        type="AWS::EC2::InternetGateway",
        takes=takes("Tags"),
        create=_internet_gateway,
        update=_retag,
        delete=_delete_by("delete_internet_gateway", "InternetGatewayId"),
    ),
    Kind(
        type="AWS::EC2::VPCGatewayAttachment",
        takes=takes("InternetGatewayId VpcId"),
        create=_attachment,
        delete=_detach,
    ),
    Kind(
        type="AWS::EC2::RouteTable",
        takes=takes("VpcId Tags"),
        create=_route_table,
        update=_retag,
        replaces=takes("VpcId"),
        delete=_delete_by("delete_route_table", "RouteTableId"),
    ),
    Kind(
        type="AWS::EC2::Route",
        takes=takes("RouteTableId DestinationCidrBlock DestinationIpv6CidrBlock GatewayId"),
        create=_route,
        delete=_unroute,
    ),
    Kind(
        type="AWS::EC2::SubnetRouteTableAssociation",
        takes=takes("RouteTableId SubnetId"),
        create=_association,
        delete=_delete_by("disassociate_route_table", "AssociationId"),
    ),
    Kind(
        type="AWS::EC2::SecurityGroup",
        takes=takes("GroupName GroupDescription VpcId SecurityGroupIngress SecurityGroupEgress Tags"),
        create=_security_group,
        update=_change_security_group,
        replaces=takes("GroupName GroupDescription VpcId"),
        delete=_delete_by("delete_security_group", "GroupId"),
    ),
    _rule("ingress"),
    _rule("egress"),
    Kind(
        type="AWS::EC2::FlowLog",
        takes=takes(
            "ResourceId ResourceType TrafficType LogDestinationType LogDestination LogGroupName "
            "DeliverLogsPermissionArn MaxAggregationInterval Tags"
        ),
        create=_flow_log,
        delete=_delete_flow_log,
    ),
)
