"""Knows the gaps in moto that the cdk command itself falls into; nothing of the resources that it deploys."""

from __future__ import annotations

from moto.cloudtrail.responses import CloudTrailResponse
from moto.iam.access_control import PermissionResult
from moto.s3.models import FakeBucket

from demo.aws.gaps import Gaps, Moto


def install(gaps: Gaps) -> None:
    """Fill moto's gaps until ``gaps`` are undone."""

    def lookup_events(_self: Moto) -> str:
        return '{"Events": []}'

    def get_permission(_self: Moto, _action: str, _resource: str) -> Moto:
        return PermissionResult.NEUTRAL

    gaps.add(CloudTrailResponse, "lookup_events", lookup_events, gap="cdk asks it why a deployment failed")
    gaps.fill(
        FakeBucket,
        "get_permission",
        get_permission,
        gap="denies without looking at conditions: a bucket that wants TLS refuses everybody",
    )
