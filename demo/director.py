"""Enters the sandbox, tells the story, and says with its exit status whether every claim held; it tells none itself."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from pathlib import Path

from core_agent.errors import DrawbridgeError
from demo import configuration, sandbox
from demo.hosts.errors import HostError
from demo.house import ROOT, House
from demo.picture import draw
from demo.record import Record
from demo.screen import Screen
from demo.story import pause, tell
from stacks import bundle

OUTSIDE = ROOT / ".demo"
DOOR_PORT = 2222
PICTURE = Path(".build/demo.svg")


def main() -> int:
    """Parse, enter the sandbox or, inside it, tell the story. An error is one line."""
    parser = argparse.ArgumentParser(prog="make demo", description="The whole house on this machine, in one story.")
    parser.add_argument("--pause", action="store_true", help="stop at the end of the spike, so that fab can be tried")
    parser.add_argument(
        "--door",
        type=_port,
        default=DOOR_PORT,
        metavar="PORT",
        help="with --pause: where 127.0.0.1 leads to the core's sshd (default: %(default)s)",
    )
    parser.add_argument(
        "--picture",
        type=Path,
        default=PICTURE,
        metavar="PATH",
        help="where the run's picture is written as SVG, its record beside it as JSON (default: %(default)s)",
    )
    parser.add_argument("--keep-logs", type=Path, metavar="FOLDER", help="copy the logs there at the end")
    options = parser.parse_args()
    try:
        return _inside(options) if sandbox.inside() else _outside(options)
    except DrawbridgeError as error:
        print(f"\ndemo: {error}", file=sys.stderr)
        return 1


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"wanted a port from 1 to 65535, found {text!r}")
    return int(text)


def _outside(options: argparse.Namespace) -> int:
    sandbox.require()
    # Inside there is no network: what comes from PyPI is fetched before.
    print("building the functions' bundle", flush=True)
    bundle.build(ROOT, configuration.functions())
    shutil.rmtree(OUTSIDE, ignore_errors=True)  # what a killed run left
    try:
        return sandbox.run((sys.executable, "-m", "demo", *sys.argv[1:]), door=options.door if options.pause else None)
    finally:
        shutil.rmtree(OUTSIDE, ignore_errors=True)


def _inside(options: argparse.Namespace) -> int:
    screen = Screen()
    house = House(Path(os.environ["TMPDIR"]) / "house")
    started = time.monotonic()
    try:
        record = tell(house, screen, pause=(lambda: _pause(house, screen, options.door)) if options.pause else None)
    finally:
        house.close()
        if options.keep_logs:
            shutil.copytree(house.logs, options.keep_logs, dirs_exist_ok=True)
    broken = screen.broken
    verdict = f"{len(broken)} claims did not hold: {'; '.join(broken)}" if broken else "every claim held"
    screen.say("")
    screen.say(f"{verdict}, in {time.monotonic() - started:.0f} s")
    _keep(record, options.picture)
    screen.say(f"the picture of this run: {options.picture}")
    return 1 if broken else 0


def _keep(record: Record, picture: Path) -> None:
    """Write the run's picture and, beside it, what it was drawn from; raises ``HostError``."""
    try:
        picture.parent.mkdir(parents=True, exist_ok=True)
        picture.with_suffix(".json").write_text(record.dump() + "\n")
        picture.write_text(draw(record))
    except OSError as error:
        raise HostError(f"writing the picture {picture}: {error.strerror}") from None


def _pause(house: House, screen: Screen, door: int) -> None:
    OUTSIDE.mkdir(mode=0o700)
    for name, text in house.operators_files(door).items():
        path = OUTSIDE / name
        path.touch(mode=0o600)
        path.write_text(text)
    commands = "".join(
        f"  DRAWBRIDGE_CONFIG=.demo/drawbridge.toml .venv/bin/fab {task}\n" for task in ("status", "nodes")
    )
    known = "-o UserKnownHostsFile=.demo/known_hosts"
    ssh = f"  ssh -i .demo/id_ed25519 {known} -p {door} drawbridge@127.0.0.1  # no shell: one door\n"
    pause(screen, commands + ssh, OUTSIDE / "continue")
    shutil.rmtree(OUTSIDE)
