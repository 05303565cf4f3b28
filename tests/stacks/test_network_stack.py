"""The network: no way in, only the needed ways out, nothing that costs by the hour."""

from __future__ import annotations

import dataclasses
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from core_agent.errors import SettingsError
from settings import Settings
from settings.words import Host, Zone
from stacks.network import subnet_prefix_length
from tests.stacks.conftest import House, Synthesise


def with_edge(settings: Settings, **changes: object) -> Settings:
    """The same settings with another edge."""
    return dataclasses.replace(settings, edge=dataclasses.replace(settings.edge, **changes))  # type: ignore[arg-type]  # the test chooses


def test_there_is_no_nat_gateway_and_no_rented_address(house: House) -> None:
    """Both cost by the hour, burst or not."""
    kinds = {resource["Type"] for resource in house.all_resources()}
    assert kinds.isdisjoint({"AWS::EC2::NatGateway", "AWS::EC2::EIP"})


def test_nodes_accept_nothing(house: House) -> None:
    """No security group lets anything in, neither in itself nor by a rule beside it."""
    assert all(
        not resource["Properties"].get("SecurityGroupIngress")
        for resource in house.all_resources()
        if resource["Type"] == "AWS::EC2::SecurityGroup"
    )
    assert all(resource["Type"] != "AWS::EC2::SecurityGroupIngress" for resource in house.all_resources())


def test_nodes_reach_the_core_by_wireguard_and_the_rest_by_http_only(house: House) -> None:
    """Exactly three ways out; the tunnel's leads to the core's one address."""
    ways_out = {
        (rule["IpProtocol"], rule["FromPort"], rule["ToPort"], rule["CidrIp"])
        for rule in house.only("network", "AWS::EC2::SecurityGroup")["SecurityGroupEgress"]
    }
    assert ways_out == {
        ("udp", 51820, 51820, "203.0.113.10/32"),
        ("tcp", 443, 443, "0.0.0.0/0"),
        ("tcp", 80, 80, "0.0.0.0/0"),
    }


def test_subnets_stand_in_the_named_zones(house: House) -> None:
    """The zones are those of drawbridge.toml, not whatever an account has."""
    zones = [subnet["Properties"]["AvailabilityZone"] for subnet in house.resources("network", "AWS::EC2::Subnet")]
    assert zones == ["eu-north-1a", "eu-north-1b"]


def test_flows_are_logged_for_a_limited_time(house: House) -> None:
    """All traffic, accepted and refused, into a log that forgets."""
    assert house.only("network", "AWS::EC2::FlowLog")["TrafficType"] == "ALL"
    assert house.only("network", "AWS::Logs::LogGroup")["RetentionInDays"] == 14


def test_a_further_zone_moves_no_subnet(default_settings: Settings) -> None:
    """The cut does not depend on how many zones are in use: a changed subnet would have to be replaced."""
    one = with_edge(default_settings, availability_zones=(Zone("eu-north-1a"),))
    assert subnet_prefix_length(one) == subnet_prefix_length(default_settings) == 22


def test_a_network_too_small_for_the_nodes_is_refused(default_settings: Settings) -> None:
    """Better at synth than as a failed launch in the middle of a burst; the message counts."""
    small = with_edge(default_settings, vpc_network=IPv4Network("10.200.0.0/24"), max_capacity=200)
    with pytest.raises(SettingsError, match=r"edge.vpc_network: wanted room for 200 nodes, found 118 addresses"):
        subnet_prefix_length(small)


def test_more_zones_than_subnets_are_refused(default_settings: Settings) -> None:
    """The network is cut in four."""
    many = with_edge(default_settings, availability_zones=tuple(Zone(f"eu-north-1{letter}") for letter in "abcde"))
    with pytest.raises(SettingsError, match=r"edge.availability_zones: wanted at most 4, found 5"):
        subnet_prefix_length(many)


def test_a_core_known_by_name_may_change_its_address(
    synthesise: Synthesise, default_settings: Settings, tmp_path: Path
) -> None:
    """The tunnel's way out is then bounded by its port alone."""
    core = dataclasses.replace(default_settings.core, public_address=Host("core.example.com"))
    named = synthesise(dataclasses.replace(default_settings, core=core), tmp_path)
    rules = named.only("network", "AWS::EC2::SecurityGroup")["SecurityGroupEgress"]
    assert [rule["CidrIp"] for rule in rules if rule["IpProtocol"] == "udp"] == ["0.0.0.0/0"]
