"""Where nodes live: public subnets that nothing can enter; it must not know what runs in them."""

from __future__ import annotations

from ipaddress import IPv4Address

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_logs as logs
from constructs import Construct

from core_agent.errors import SettingsError
from settings import Settings

MAX_ZONES = 4  # the network is always cut in so many, so that adding a zone moves no subnet
_RESERVED = 5  # addresses of each subnet that AWS keeps


class NetworkStack(cdk.Stack):
    """A VPC without NAT gateway, and the nodes' security group.

    Nodes have public addresses because they dial out, to the core and for packages; they accept nothing: their
    requests come through the tunnel, which they opened themselves.
    """

    def __init__(self, scope: Construct, construct_id: str, *, env: cdk.Environment, settings: Settings) -> None:
        super().__init__(
            scope,
            construct_id,
            env=env,
            description="Drawbridge: the edge's network; public subnets, no NAT gateway, no way in",
        )
        self._zones = [str(zone) for zone in settings.edge.availability_zones]
        self.vpc = ec2.Vpc(
            self,
            "Vpc",
            ip_addresses=ec2.IpAddresses.cidr(str(settings.edge.vpc_network)),
            availability_zones=self._zones,
            nat_gateways=0,
            # Closing the default group takes a custom resource with its own function and rights over security groups.
            # Nothing here uses that group: each network interface names its own (stacks/residency.py insists).
            restrict_default_security_group=False,
            subnet_configuration=[
                ec2.SubnetConfiguration(
                    name="nodes", subnet_type=ec2.SubnetType.PUBLIC, cidr_mask=subnet_prefix_length(settings)
                )
            ],
        )
        cdk.Validations.of(self.vpc).acknowledge(
            cdk.Acknowledgment(
                id="CloudFormation-Validate::W3010",
                reason="The zones are named in drawbridge.toml, so that a synth needs no AWS account to ask.",
            )
        )
        # Users' addresses end at the core: in here only the core, registries and AWS itself talk to the nodes, so these
        # records hold no personal data, and they show where a node that was broken into has been.
        self.vpc.add_flow_log(
            "Flows",
            destination=ec2.FlowLogDestination.to_cloud_watch_logs(
                logs.LogGroup(
                    self,
                    "FlowLog",
                    retention=logs.RetentionDays.TWO_WEEKS,
                    removal_policy=cdk.RemovalPolicy.DESTROY,
                )
            ),
        )
        self.node_security_group = _node_security_group(self, self.vpc, settings)

    @property
    def availability_zones(self) -> list[str]:
        """The zones of the settings. Without this CDK would look up the account's zones to check them against."""
        return self._zones


def subnet_prefix_length(settings: Settings) -> int:
    """Return the prefix length of every subnet, or raise ``SettingsError`` when the nodes don't fit."""
    edge = settings.edge
    zones = len(edge.availability_zones)
    if zones > MAX_ZONES:
        raise SettingsError(f"edge.availability_zones: wanted at most {MAX_ZONES}, found {zones}")
    length = edge.vpc_network.prefixlen + 2
    room = zones * (2 ** (32 - length) - _RESERVED)
    if room < edge.max_capacity:
        raise SettingsError(
            f"edge.vpc_network: wanted room for {edge.max_capacity} nodes, found {room} addresses in {zones} of the "
            f"{MAX_ZONES} subnets of {edge.vpc_network}"
        )
    return length


def _node_security_group(scope: Construct, vpc: ec2.Vpc, settings: Settings) -> ec2.SecurityGroup:
    """Nothing in; out only what a node's life needs. Names and time are AWS's own and pass no security group."""
    group = ec2.SecurityGroup(
        scope, "Nodes", vpc=vpc, description="Drawbridge nodes: nothing in", allow_all_outbound=False
    )
    group.add_egress_rule(_core(settings), ec2.Port.udp(settings.tunnel.port), "WireGuard to the core")
    group.add_egress_rule(ec2.Peer.any_ipv4(), ec2.Port.tcp(443), "The enroll function, image registries, packages")
    group.add_egress_rule(ec2.Peer.any_ipv4(), ec2.Port.tcp(80), "Debian packages")
    return group


def _core(settings: Settings) -> ec2.IPeer:
    """The core's address where it is known; a name may change its address without a deployment."""
    try:
        return ec2.Peer.ipv4(f"{IPv4Address(settings.core.public_address)}/32")
    except ValueError:
        return ec2.Peer.any_ipv4()
