"""The demo's EC2 instances: booted by user data, told who they are by a metadata service, ended at once."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from demo.aws.credentials import CredentialStore
from demo.aws.machines import Machine, MetadataOptions
from demo.hosts.errors import HostError
from demo.hosts.instance import Instances
from demo.hosts.switch import Switch

URL_NAME = "abcdefghijklmnopqrstuvwxyz012345.lambda-url.eu-north-1.on.aws"
IMDS = "http://169.254.169.254/latest"
BOOT = f"""#!/bin/bash
set -eu
token=$(curl -sf -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' {IMDS}/api/token)
curl -sf -H "X-aws-ec2-metadata-token: $token" {IMDS}/meta-data/instance-id >/root/instance-id
curl -sf -H "X-aws-ec2-metadata-token: $token" {IMDS}/meta-data/iam/security-credentials/node >/root/credentials
curl -s -o /dev/null -w '%{{http_code}}' {IMDS}/meta-data/instance-id >/root/without-token
echo "home is ${{HOME-unset}}, user $(id -un)"
echo run >>/root/runs
setsid sleep 65432 >/dev/null 2>&1 </dev/null &
echo booted
""".encode()


def machine(instance_id: str, user_data: bytes = BOOT) -> Machine:
    """An instance as its launch template describes it."""
    return Machine(
        instance_id=instance_id,
        account="123456789012",
        region="eu-north-1",
        availability_zone="eu-north-1a",
        group_name="drawbridge-edge",
        image_id="ami-0123456789abcdef0",
        instance_type="t4g.small",
        user_data=user_data,
        role_name="node",
        role_arn="arn:aws:iam::123456789012:role/node",
        private_ip="10.200.0.7",
        metadata_options=MetadataOptions(http_tokens="required", hop_limit=1),
    )


@pytest.fixture
def instances(switch: Switch, tmp_path: Path) -> Iterator[Instances]:
    """No instance yet."""
    authority = tmp_path / "ca.pem"
    authority.write_text("-----BEGIN CERTIFICATE-----\nthe demo's\n-----END CERTIFICATE-----\n")
    made = Instances(
        switch=switch,
        log_folder=tmp_path / "logs",
        authority=authority,
        names=lambda: {URL_NAME: IPv4Address("198.51.100.1")},
        mint=CredentialStore().mint,
        image={"/opt/app": b"the application"},
    )
    yield made
    made.stop()


def _await_boot(instances: Instances, instance_id: str) -> str:
    boot = instances.running[instance_id].boot
    assert boot.wait(60) == 0, boot.tail()
    return boot.tail()


def test_user_data_runs_once_as_cloud_init_would(instances: Instances) -> None:
    """The launch template's script runs once, as root without HOME, its output kept where cloud-init keeps it."""
    instances.launch(machine("i-0aa"))
    said = _await_boot(instances, "i-0aa")
    host = instances.running["i-0aa"].host
    assert "home is unset, user root" in said
    assert said.endswith("booted")
    assert host.read("/var/log/cloud-init-output.log").decode().strip().endswith("booted")
    assert host.read("/root/runs") == b"run\n"


def test_instance_learns_who_it_is_from_inside(instances: Instances) -> None:
    """Metadata answers the instance's own id and its role's credentials, and nothing at all without a token."""
    instances.launch(machine("i-0aa"))
    instances.launch(machine("i-0bb"))
    for instance_id in ("i-0aa", "i-0bb"):
        _await_boot(instances, instance_id)
    first, second = (instances.running[name].host for name in ("i-0aa", "i-0bb"))
    assert (first.read("/root/instance-id"), second.read("/root/instance-id")) == (b"i-0aa", b"i-0bb")
    keys = {json.loads(host.read("/root/credentials"))["AccessKeyId"] for host in (first, second)}
    assert len(keys) == 2
    assert first.read("/root/without-token") == b"401"


def test_instance_trusts_and_finds_the_function_url(instances: Instances) -> None:
    """The demo's authority stands after Debian's own, the URL's name leads to the API, the image's files are there."""
    instances.launch(machine("i-0aa"))
    host = instances.running["i-0aa"].host
    trusted = host.read("/etc/ssl/certs/ca-certificates.crt")
    assert trusted.startswith(Path("/etc/ssl/certs/ca-certificates.crt").read_bytes())
    assert trusted.endswith(b"the demo's\n-----END CERTIFICATE-----\n")
    assert host.run(("getent", "hosts", URL_NAME)).stdout.split()[0] == b"198.51.100.1"
    assert host.read("/opt/app") == b"the application"


def test_terminate_ends_everything_at_once(instances: Instances) -> None:
    """Terminate asks nobody to end: what would linger is gone too, without a farewell; and it may be said twice."""
    instances.launch(machine("i-0aa"))
    _await_boot(instances, "i-0aa")
    linger = "trap 'echo asked' TERM INT HUP PWR; echo ready; while :; do sleep 0.1; done"
    lingering = instances.running["i-0aa"].host.spawn(("sh", "-c", linger), name="linger")
    while "ready" not in lingering.tail():
        time.sleep(0.02)
    assert b"65432" in b"".join(_cmdlines())
    instances.terminate("i-0aa")
    assert lingering.tail() == "ready"
    assert not lingering.running
    assert b"65432" not in b"".join(_cmdlines())
    assert not instances.running
    instances.terminate("i-0aa")
    instances.terminate("i-0never")


def test_addresses_are_not_used_again_soon(instances: Instances) -> None:
    """A new instance gets an address that no running one has and the last one had not."""
    addresses = []
    for name in ("i-0aa", "i-0bb", "i-0cc"):
        instances.launch(machine(name))
        addresses.append(instances.running[name].host.address)
        if name == "i-0bb":
            instances.terminate(name)
    assert [str(address) for address in addresses] == ["198.51.100.10", "198.51.100.11", "198.51.100.12"]


def test_user_data_of_another_kind_is_refused(instances: Instances) -> None:
    """User data that is no script is refused before anything starts."""
    with pytest.raises(HostError, match="wanted user data that begins with #!"):
        instances.launch(machine("i-0aa", b"#cloud-config\n"))
    assert not instances.running


def test_failed_launch_leaves_nothing(instances: Instances, tmp_path: Path) -> None:
    """An instance that cannot be made whole is not left running, and its id may be launched again."""
    (tmp_path / "ca.pem").rename(tmp_path / "moved")
    with pytest.raises(OSError, match=r"ca\.pem"):
        instances.launch(machine("i-0aa"))
    assert not instances.running
    (tmp_path / "moved").rename(tmp_path / "ca.pem")
    instances.launch(machine("i-0aa"))


def _cmdlines() -> Iterator[bytes]:
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            yield (folder / "cmdline").read_bytes()
        except OSError:
            continue
