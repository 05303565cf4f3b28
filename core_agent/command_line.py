"""The sub-commands that a person or systemd runs; it parses words and opens things, and decides nothing."""

from __future__ import annotations

import argparse
import gc
import logging
import os
import sys
import time
from ipaddress import IPv4Interface
from pathlib import Path
from typing import NoReturn

import settings
from core_agent import __version__, exposition, paths
from core_agent.agent import Agent
from core_agent.errors import DrawbridgeError
from core_agent.host import Host
from core_agent.install import InstallError, install, operator_file
from core_agent.recovery import open_or_rebuild
from core_agent.server import Server, listen


def run(arguments: list[str]) -> int:
    """Parse and carry out ``arguments``; an error of the tree is one line on standard error and exit status 1."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.action(options) or 0)
    except DrawbridgeError as error:
        print(f"drawbridge: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="agent.pyz",
        description="The Drawbridge agent: keeps this core's WireGuard peers and HAProxy servers as they should be.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("install", help="lay out users, directories, configuration and units on this machine")
    command.add_argument("--config", type=Path, required=True, help="the drawbridge.toml to install")
    command.add_argument("--authorized-key", required=True, help="the public SSH key that may reach the agent")
    command.add_argument("--no-start", action="store_true", help="start, stop and reload nothing")
    command.add_argument("--dry-run", action="store_true", help="say what would be done and change nothing")
    command.set_defaults(action=_install)

    command = commands.add_parser("serve", help=f"answer on {paths.SOCKET} and keep converging (systemd runs this)")
    command.add_argument("--config", type=Path, default=paths.SETTINGS, help="default: %(default)s")
    command.set_defaults(action=_serve)

    command = commands.add_parser("operator-file", help=f"let HAProxy read FILE too, kept as {paths.OPERATOR_CFG}")
    command.add_argument("file", metavar="FILE", help="frontends and backends of your own; - for none")
    command.add_argument("--dry-run", action="store_true", help="let HAProxy judge it and change nothing")
    command.set_defaults(action=_operator_file)

    command = commands.add_parser("admit-operator-file", help="leave that file out if it is broken (systemd runs this)")
    command.set_defaults(action=lambda _: operator_file.admit())

    command = commands.add_parser("relay", help=f"become {paths.RELAY} (sshd runs this by a former install's rules)")
    command.set_defaults(action=_relay)

    command = commands.add_parser("version", help="print the version")
    command.set_defaults(action=lambda _: print(__version__))
    return parser


def _install(options: argparse.Namespace) -> None:
    install(
        config=options.config,
        authorized_key=options.authorized_key,
        zipapp=Path(sys.argv[0]).resolve(),
        start=not options.no_start,
        dry_run=options.dry_run,
    )


def _operator_file(options: argparse.Namespace) -> None:
    operator_file.put(None if options.file == "-" else Path(options.file), dry_run=options.dry_run)


def _serve(options: argparse.Namespace) -> None:
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(levelname)s %(message)s")
    gc.set_threshold(50_000)  # nothing here is made in circles, and every search for some walks over the whole fleet
    loaded = settings.load(options.config)
    agent = Agent(loaded, open_or_rebuild(loaded.tunnel.network, now=time.time()), Host(loaded))
    tunnel = loaded.tunnel
    if tunnel.metrics_port:
        inside = IPv4Interface((tunnel.core_address, tunnel.network.prefixlen))
        exposition.serve(agent.metrics, inside, tunnel.metrics_port)
    Server(agent, listen(paths.SOCKET, group=loaded.core.ssh_user)).run()


def _relay(_: argparse.Namespace) -> NoReturn:
    """Serve the connections that sshd let in before it was told of the script, and go on doing so until they end."""
    try:
        os.execv(paths.RELAY, (str(paths.RELAY),))  # noqa: S606 - the script is ours, and there is no shell
    except OSError as error:
        raise InstallError(f"starting {paths.RELAY}: {error.strerror}; is Drawbridge installed here?") from None
