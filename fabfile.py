"""Every manual command: thin tasks over the client and the look that the functions use; it must not decide anything.

The core is the one in drawbridge.toml (or ``$DRAWBRIDGE_CONFIG``). ``-H [USER@]HOST[:PORT]`` asks at another address,
which has to show the same pinned host key; ``-i FILE`` uses another private key. Whatever goes wrong is one line on
stderr and exit status 1.
"""

from __future__ import annotations

import json as text_form
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import fabric.main
from fabric import Connection, task
from invoke import Collection, Context, Exit

import settings as configuration
from core_agent.client import CoreClient, load_private_key
from core_agent.contract.codec import to_plain
from core_agent.contract.messages import Hold, HoldNode, ReadFacts, ReadTelemetry, SetBurst, SetCapacity
from core_agent.contract.names import GroupName, Name, Reason, shown
from core_agent.contract.shapes import build
from core_agent.errors import AuthenticationFailed, DrawbridgeError, SettingsError
from operator_view import changes
from operator_view.load import load as lately
from operator_view.nodes import nodes as table
from operator_view.status import burst as level_line
from operator_view.status import server as server_line
from operator_view.status import status as glance
from operator_view.synced import emptied, synced
from settings import Settings
from settings.words import Host, UserName

N = TypeVar("N", bound=Name)

if TYPE_CHECKING:
    from lambdas.cloud import Cloud

_PARAMETER_BYTES = 4096  # of a standard SSM parameter
_JSON = {"json": "print JSON instead of a table"}
_DRY_RUN = {"dry-run": "show what would be changed, and change nothing"}
_REASON = {"reason": "why, for the log: one line of at most 200 characters"}
_INSTANCE = {"instance": "the node's instance id, i-…"}


# --- which core -----------------------------------------------------------------------------------------------------


@task
def _hosts(_c: Context) -> None:
    """Refuse a mistyped -H before Fabric takes it apart: its own complaint would be a traceback."""
    typed = fabric.main.program.args.hosts.value
    for host in typed.split(",") if typed else ():
        if not _is_host(host):
            raise Exit(f"-H: wanted [USER@]HOST[:PORT], found {shown(host)}", code=1)


def _is_host(typed: str) -> bool:
    user, at, address = typed.rpartition("@")
    name, colon, port = address.partition(":")
    try:
        Host(name)
        if at:
            UserName(user)
        return not colon or (port.isascii() and 1 <= int(port) <= 65535)
    except ValueError:
        return False


@contextmanager
def _plainly() -> Iterator[None]:
    """Whatever fails inside is one line for a person."""
    try:
        yield
    except DrawbridgeError as error:
        raise Exit(str(error), code=1) from None


def _client(c: Context, settings: Settings) -> CoreClient:
    """Return a client for the core in ``settings``, at the address in -H and with the key in -i if they are given."""
    core = settings.core
    host, port, user = core.public_address, core.ssh_port, core.ssh_user
    if isinstance(c, Connection):
        # fabric.yaml makes the two empty unless they were typed.
        host, port, user = c.original_host, c.port or port, c.user or user
    identities = c.config.connect_kwargs.get("key_filename") or [core.ssh_identity]
    if len(identities) > 1:
        raise SettingsError(f"-i: wanted one private key, found {len(identities)}")
    return CoreClient(host, port, user, core.ssh_host_key, Path(identities[0]))


def _dry(c: Context, *, asked: bool) -> bool:
    """Fab's own ``--dry`` says the same as ``--dry-run``."""
    return asked or bool(c.config.run.dry)


def _print_json(document: object) -> None:
    print(text_form.dumps(document, indent=2, ensure_ascii=False))


# --- reading --------------------------------------------------------------------------------------------------------


@task(pre=[_hosts], help=_JSON)
def status(c: Context, json: bool = False) -> None:
    """Show the core at a glance: load, burst level, nodes by phase, groups not synced, steps not yet applied."""
    with _plainly(), _client(c, settings := configuration.load()) as core:
        facts = core.request(ReadFacts())
        if json:
            _print_json(to_plain(facts))
        else:
            own = GroupName(f"{settings.edge.region}/{settings.group_name}")
            print(glance(facts, where=core.where, own=own, now_ms=time.time_ns() // 1_000_000))


@task(pre=[_hosts], help=_JSON)
def nodes(c: Context, json: bool = False) -> None:
    """List every node: phase, address, handshake, HAProxy's view of it, and how long it has waited."""
    with _plainly(), _client(c, configuration.load()) as core:
        facts = core.request(ReadFacts())
        if json:
            _print_json([to_plain(node) for node in facts.nodes])
        else:
            print(table(facts.nodes))


@task(pre=[_hosts], help={"seconds": "how far back, 1 to 300; 60 unless given", **_JSON})
def load(c: Context, seconds: str = "60", json: bool = False) -> None:
    """Show the last minute: saturation, queue, who answered how much, and what the core's slots should be."""
    with _plainly():
        command = build(ReadTelemetry, {"window_s": _number(seconds)}, "load")  # before a core or a key is asked for
        with _client(c, configuration.load()) as core:
            report = core.request(command)
        if json:
            _print_json(to_plain(report))
        else:
            print(lately(report))


def _number(typed: str) -> int | str:
    """Return the number that was typed; anything else as it is, for the contract to refuse by its field."""
    return int(typed.removesuffix("%")) if re.fullmatch(r"-?[0-9]{1,9}%?", typed, re.ASCII) else typed


# --- changing -------------------------------------------------------------------------------------------------------


@task(
    pre=[_hosts],
    help={
        "level": "percent of every burst server's weight and slots, 0 to 100; 0 keeps requests at a core that is up",
        "core": "percent of the core's slots that are taken before the edge's, 1 to 100; less ahead of a peak",
        **_REASON,
        **_DRY_RUN,
    },
)
def burst(c: Context, level: str, reason: str, core: str = "100", dry_run: bool = False) -> None:
    """Use this much of the edge, until an alarm, a peak or a person says otherwise: fab burst 50 'Black Friday'."""
    with _plainly():
        typed = {"level_percent": _number(level), "reason": reason, "core_percent": _number(core), "by_hand": True}
        command = build(SetBurst, typed, "burst")
        with _client(c, configuration.load()) as client:
            if _dry(c, asked=dry_run):
                print(changes.of_burst(command, client.request(ReadFacts())))
            else:
                print(level_line(client.request(command)))


@task(
    pre=[_hosts],
    help={
        "server": "one of [[core.servers]] in drawbridge.toml",
        "slots": "requests that it works on at a time, 1 to 100000; or `configured`: what drawbridge.toml says",
        **_REASON,
        **_DRY_RUN,
    },
)
def capacity(c: Context, server: str, slots: str, reason: str, dry_run: bool = False) -> None:
    """Set a core server's slots, at once and for good: fab capacity no-primary 60 'a larger machine'."""
    with _plainly():
        typed = {"server": server, "slots": None if slots == "configured" else _number(slots), "reason": reason}
        command = build(SetCapacity, typed, "capacity")
        with _client(c, configuration.load()) as core:
            if _dry(c, asked=dry_run):
                print(changes.of_capacity(command, core.request(ReadFacts())))
            else:
                print(f"{server} {server_line(core.request(command))}")


@task(pre=[_hosts], help={**_INSTANCE, **_REASON, "undo": "lift the hold that is on the node", **_DRY_RUN})
def drain(c: Context, instance: str, reason: str, undo: bool = False, dry_run: bool = False) -> None:
    """Take one node out of traffic and keep its tunnel: fab drain i-0abc 'slow disk'."""
    _hold(c, instance, Hold.NONE if undo else Hold.DRAIN, reason, dry_run=dry_run)


@task(pre=[_hosts], help={**_INSTANCE, **_REASON, "undo": "let it enroll again", **_DRY_RUN})
def remove(c: Context, instance: str, reason: str, undo: bool = False, dry_run: bool = False) -> None:
    """Drain one node and bar it from the core until --undo; its instance goes on running until AWS ends it."""
    _hold(c, instance, Hold.NONE if undo else Hold.REMOVE, reason, dry_run=dry_run)


def _hold(c: Context, instance: str, hold: Hold, reason: str, *, dry_run: bool) -> None:
    with _plainly():
        command = build(HoldNode, {"instance": instance, "hold": hold, "reason": reason}, "node")
        with _client(c, configuration.load()) as core:
            if _dry(c, asked=dry_run):
                print(changes.of_hold(command, core.request(ReadFacts())))
            else:
                print(table([core.request(command)]))


@task(
    pre=[_hosts],
    help={
        "override": "let nodes go that AWS neither lists nor disowns, and say why",
        "group": "empty this group, REGION/NAME, which AWS no longer has; needs --override",
        **_DRY_RUN,
    },
)
def sync(c: Context, override: str = "", group: str = "", dry_run: bool = False) -> None:
    """Look at the group as the fleet function does: tell the core who belongs, complete lifecycle actions."""
    with _plainly(), _client(c, settings := configuration.load()) as core:
        reason = _word(Reason, override, "--override") if override else None
        if not group:
            _look(core, settings, reason, dry=_dry(c, asked=dry_run))
            return
        if reason is None:
            raise SettingsError("--group: wanted --override with a reason beside it, found none")
        _empty(core, settings, _word(GroupName, group, "--group"), reason, dry=_dry(c, asked=dry_run))


def _look(core: CoreClient, settings: Settings, reason: Reason | None, *, dry: bool) -> None:
    # boto3 takes a third of a second to import: the commands that only ask the core do not pay it.
    from lambdas.clock import now_ms  # noqa: PLC0415
    from lambdas.cloud import Disowned  # noqa: PLC0415
    from lambdas.group import Group  # noqa: PLC0415
    from lambdas.look import look, seated, telling  # noqa: PLC0415

    cloud = _cloud(settings, "looking at the group")
    group = Group(
        region=settings.edge.region,
        name=settings.group_name,
        launch_hook=f"{settings.name}-launch",
        terminate_hook=f"{settings.name}-terminate",
    )
    failed: tuple[DrawbridgeError, ...]
    if dry:
        generation, instances = now_ms(), cloud.instances(group.name)
        command = telling(group, instances, Disowned(), generation=generation, override=reason)
        print(changes.of_sync(command, core.request(ReadFacts())))
        failed = seated(instances)[1]
    else:
        seen = look(group, cloud=cloud, core=core, now_ms=now_ms, override=reason)
        print(synced(seen))
        failed = seen.failed
    if failed:
        raise Exit("\n".join(str(error) for error in failed), code=1)


def _cloud(settings: Settings, doing: str) -> Cloud:
    """Return AWS in the settings' region, made sure to be the settings' account: a profile is easily the wrong one."""
    from lambdas.cloud import Cloud  # noqa: PLC0415  as in _look
    from lambdas.errors import WrongAccount  # noqa: PLC0415

    cloud = Cloud(region=settings.edge.region)
    found, wanted = cloud.account(), settings.edge.account
    if found != wanted:
        raise WrongAccount(f"{doing}: wanted credentials for account {wanted}, found some for {found}; see AWS_PROFILE")
    return cloud


def _empty(core: CoreClient, settings: Settings, group: GroupName, reason: Reason, *, dry: bool) -> None:
    from lambdas.clock import now_ms  # noqa: PLC0415  as in _look
    from lambdas.cloud import Cloud  # noqa: PLC0415
    from lambdas.lost_group import emptying  # noqa: PLC0415

    facts, cloud = core.request(ReadFacts()), Cloud(region=group.partition("/")[0])
    account, generation = settings.edge.account, now_ms()
    command = emptying(group, account=account, cloud=cloud, facts=facts, generation=generation, reason=reason)
    print(changes.of_sync(command, facts) if dry else emptied(core.request(command)))


def _word(kind: type[N], typed: str, flag: str) -> N:
    try:
        return kind(typed)
    except ValueError as error:
        raise SettingsError(f"{flag}: {error}") from None


@task(help={"file": "the private key, core.ssh_identity in drawbridge.toml unless given", **_DRY_RUN})
def publish_key(c: Context, file: str = "", dry_run: bool = False) -> None:
    """Put the private key where the functions read it: an encrypted SSM parameter, core.ssh_key_parameter."""
    with _plainly():
        settings = configuration.load()
        source = Path(file or settings.core.ssh_identity).expanduser()
        key = load_private_key(source)
        text = source.read_text("ascii")
        if len(text) > _PARAMETER_BYTES:
            raise AuthenticationFailed(
                f"publishing {source}: wanted at most {_PARAMETER_BYTES} characters, which a parameter holds, found "
                f"{len(text)}; an Ed25519 key is short"
            )
        what = f"{key.get_name()} {key.fingerprint} as {settings.core.ssh_key_parameter} in {settings.edge.region}"
        if _dry(c, asked=dry_run):
            print(f"would publish {what}")
            return
        version = _put_parameter(settings, text)
        print(f"published {what}, version {version}")
        print(f"its public half, for the core: {key.get_name()} {key.get_base64()}")


def _put_parameter(settings: Settings, text: str) -> int:
    import boto3  # noqa: PLC0415  as in _look

    from lambdas.aws_errors import calling  # noqa: PLC0415

    _cloud(settings, "publishing the key")
    name = settings.core.ssh_key_parameter
    with calling(f"writing parameter {name}"):
        ssm = boto3.client("ssm", region_name=settings.edge.region)
        answer = ssm.put_parameter(Name=name, Value=text, Type="SecureString", Overwrite=True)
    return answer["Version"]


namespace = Collection(status, nodes, load, burst, capacity, drain, remove, sync, publish_key)
