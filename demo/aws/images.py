"""Knows which machine images and public parameters exist from the start; it must not know who launches them."""

from __future__ import annotations

from moto.ssm.models import Parameter

from demo.aws.place import Place

_ARCHITECTURES = {"arm64": "arm64", "amd64": "x86_64"}


def publish(place: Place) -> dict[str, str]:
    """Register Debian 13 for both processors under Debian's public parameters; returns image ids by parameter name."""
    published: dict[str, str] = {}
    for debian, architecture in _ARCHITECTURES.items():
        image = place.client("ec2").register_image(
            Name=f"debian-13-{debian}",
            Architecture=architecture,
            RootDeviceName="/dev/xvda",
            VirtualizationType="hvm",
        )["ImageId"]
        name = f"/aws/service/debian/release/13/latest/{debian}"
        parameter = Parameter(
            account_id=place.account,
            name=name,
            value=image,
            parameter_type="String",
            description=None,
            allowed_pattern=None,
            keyid=None,
            last_modified_date=0,
            version=1,
            data_type="aws:ec2:image",
            tier="Standard",
        )
        place.backend("ssm")._parameters[name].append(parameter)  # noqa: SLF001 - PutParameter refuses AWS's own names
        published[name] = image
    return published
