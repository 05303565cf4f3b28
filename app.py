"""Names the stacks, nothing else: no AWS call, no look-up; it must not know what is in them.

``cdk synth`` reads ``drawbridge.toml`` here, or ``-c config=PATH``, or ``$DRAWBRIDGE_CONFIG``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import aws_cdk as cdk
from cdk_nag import AwsSolutionsChecks

import settings as settings_file
from core_agent.errors import DrawbridgeError
from settings import Settings
from stacks import bundle
from stacks.control import ControlStack
from stacks.fleet import FleetStack
from stacks.network import NetworkStack
from stacks.residency import Residency

ROOT = Path(__file__).parent


def name_stacks(app: cdk.App, settings: Settings, functions: Path) -> None:
    """Add the three stacks to ``app``, in the order they are deployed; ``functions`` is the functions' bundle."""
    env = cdk.Environment(account=settings.edge.account, region=settings.edge.region.value)
    network = NetworkStack(app, f"{settings.name}-network", env=env, settings=settings)
    control = ControlStack(app, f"{settings.name}-control", env=env, settings=settings, bundle=functions)
    FleetStack(
        app,
        f"{settings.name}-fleet",
        env=env,
        settings=settings,
        vpc=network.vpc,
        node_security_group=network.node_security_group,
        node_role=control.node_role,
        enroll_url=control.enroll_url,
    )
    cdk.Validations.of(app).add_plugins(AwsSolutionsChecks(app), Residency())


def main() -> None:
    """Synthesise, or say in one line what is wrong and exit 1."""
    app = cdk.App()
    try:
        settings = settings_file.load(app.node.try_get_context("config"))
        name_stacks(app, settings, bundle.build(ROOT, settings.functions))
    except DrawbridgeError as error:
        sys.exit(f"drawbridge: {error}")
    app.synth()


if __name__ == "__main__":
    main()
