"""``fab`` as a person types it, against a real sshd and a local AWS: what it prints, sends and refuses.

Most tests run its program in this process, which saves the second that each start takes; the first ones hold that to
the installed command.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from subprocess import CompletedProcess
from unittest import mock
from urllib.request import Request, urlopen

import boto3
import fabric.main
import pytest
from moto.server import ThreadedMotoServer

from core_agent.contract.codec import decode_request
from core_agent.contract.messages import (
    Command,
    Hold,
    HoldNode,
    Lifecycle,
    ReadFacts,
    ReadTelemetry,
    Seats,
    SetBurst,
    SetCapacity,
    SyncFleet,
)
from core_agent.contract.names import InstanceId, Reason, ServerName
from tests.client.loopback_core import ROOT, LoopbackCore, make_key

Fab = Callable[..., CompletedProcess[str]]
REGION = "eu-north-1"
GROUP = "eu-north-1/drawbridge-edge"
# Nobody listens at port 1; without metadata, botocore asks no link-local address for credentials.
AWS_KEYS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
}


@pytest.fixture
def toml(core: LoopbackCore) -> Path:
    """A drawbridge.toml whose core is the one on loopback."""
    path = core.folder / "drawbridge.toml"
    text = (ROOT / "drawbridge.toml").read_text()
    core_lines = f'public_address = "127.0.0.1"\nssh_port = {core.port}\nssh_user = "{core.user}"'
    text = re.sub(r'public_address = "[^"]*"', core_lines, text)
    text = re.sub(r'ssh_host_key = "[^"]*"', f'ssh_host_key = "{core.host_key}"', text)
    path.write_text(re.sub(r'ssh_identity = "[^"]*"', f'ssh_identity = "{core.identity}"', text))
    return path


@pytest.fixture
def environment(core: LoopbackCore, toml: Path) -> dict[str, str]:
    """A person's environment, with a home directory whose SSH files would lead astray."""
    home = core.folder / "home"
    (home / ".ssh").mkdir(parents=True)
    (home / ".ssh" / "config").write_text("Host *\n  Port 1\n  User nobody\n")
    return {**os.environ, **AWS_KEYS, "DRAWBRIDGE_CONFIG": str(toml), "HOME": str(home), "COLUMNS": "200"}


@pytest.fixture
def fab(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Fab:
    """Run Fabric's program in this process as ``fab`` would, each time with nothing remembered of the last."""
    monkeypatch.chdir(ROOT)

    def run(*argv: str, **changed: str) -> CompletedProcess[str]:
        monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
        monkeypatch.setattr(fabric.main, "program", fabric.main.make_program())
        status: str | int | None = 0
        with (
            mock.patch.dict(os.environ, environment | changed, clear=True),
            redirect_stdout(StringIO()) as stdout,
            redirect_stderr(StringIO()) as stderr,
        ):
            try:
                fabric.main.program.run(["fab", *argv])
            except SystemExit as end:
                status = end.code
        assert isinstance(status, int)
        return CompletedProcess(argv, status, stdout.getvalue(), stderr.getvalue())

    return run


@pytest.fixture
def installed_fab(environment: dict[str, str]) -> Fab:
    """Run the installed ``fab`` command."""

    def run(*argv: str, **changed: str) -> CompletedProcess[str]:
        program = Path(sys.executable).with_name("fab")
        return subprocess.run(
            (str(program), *argv),
            cwd=ROOT,
            env=environment | changed,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    return run


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a local AWS, empty."""
    for name, value in AWS_KEYS.items():
        monkeypatch.setenv(name, value)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    # Moto keeps its state for as long as the process lives.
    urlopen(Request(f"{address}/moto-api/reset", method="POST")).close()
    yield address
    server.stop()


def sent(core: LoopbackCore) -> list[Command]:
    """Return every command that reached the core."""
    return [decode_request(document)[1] for document in core.requests]


def refused(done: CompletedProcess[str], message: str) -> None:
    """Insist on exit status 1 and one line on stderr that says why."""
    assert (done.returncode, done.stdout) == (1, "")
    assert re.search(message, done.stderr), done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr


# --- the installed command ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "argv",
    [
        ("--list",),
        ("--help", "burst"),
        ("status",),
        ("nodes", "--json"),
        ("burst", "50", "Black Friday"),
        ("drain", "i-0abc", "slow disk", "--dry-run"),
        ("burst", "101", "x"),
        ("stauts",),
        ("-H", "127.0.0.1:ssh", "status"),
        ("publish-key", "--dry-run"),
    ],
    ids=" ".join,
)
def test_the_installed_command_is_what_the_tests_below_run(fab: Fab, installed_fab: Fab, argv: tuple[str, ...]) -> None:
    """Printed, refused or explained: both ways to run it give the same output, errors and exit status."""
    real, here = installed_fab(*argv), fab(*argv)
    assert (real.returncode, real.stdout, real.stderr) == (here.returncode, here.stdout, here.stderr)
    assert real.stdout + real.stderr


# --- reading --------------------------------------------------------------------------------------------------------


def test_status_tells_the_core_at_a_glance(core: LoopbackCore, fab: Fab) -> None:
    """Core, network, level, load, phases, groups and pending steps, a heading each."""
    done = fab("status")
    assert (done.stderr, done.returncode) == ("", 0)
    assert re.sub(r"for \d+d;", "for …;", done.stdout).splitlines() == [
        f"core     oslo-1 at 127.0.0.1:{core.port}, agent 0.1.0",
        "network  10.100.0.0/22, 1019 addresses free",
        "burst    25 % of the edge: calm",
        "load     no-primary up, 12 of 50 slots busy, 3 queued",
        "         1 queued in the backend, 123456 requests since HAProxy's start",
        "nodes    2: 1 seated, 1 active",
        f"groups   {GROUP}, last seen 2023-11-14 22:13:20 UTC: NOT SYNCED for …; does the fleet function run?",
        "pending  2 steps to apply",
    ]


def test_nodes_line_up(fab: Fab) -> None:
    """Every column begins, or for numbers ends, below its heading."""
    assert fab("nodes").stdout.splitlines() == [
        "INSTANCE             PHASE   WAITED  LIFECYCLE  HOLD  ADDRESS     HANDSHAKE  SERVER  CHECK  WEIGHT  CONNS",
        "i-0abc               active     62m  serving    -     10.100.0.2        17s  ready   L7OK       28      3",
        "i-0def1234567890abc  seated      4s  joining    -     -                   -  absent  -           0      0",
    ]


def test_what_is_read_can_be_had_as_json(fab: Fab) -> None:
    """``--json`` prints the reports as they came, and nothing besides."""
    facts = json.loads(fab("status", "--json").stdout)
    assert (facts["core"], facts["burst"], facts["pending_steps"]) == (
        "oslo-1",
        {"level_percent": 25, "core_percent": 100, "by_hand": False, "reason": "calm"},
        2,
    )
    assert json.loads(fab("nodes", "--json").stdout) == facts["nodes"]


def test_every_task_and_flag_is_explained(fab: Fab) -> None:
    """``fab --list`` names every command, and no flag goes without help."""
    listed = fab("--list").stdout
    names = re.findall(r"^  (\S+)  ", listed, re.MULTILINE)
    assert names == ["burst", "capacity", "drain", "load", "nodes", "publish-key", "remove", "status", "sync"]
    for name in names:
        flags = re.findall(r"^  (-.*)$", fab("--help", name).stdout, re.MULTILINE)
        assert flags
        assert all(re.search(r"\S {2,}\S", flag) for flag in flags), flags


# --- changing -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("argv", [("50", "Black Friday"), ("--level", "50%", "--reason", "Black Friday")])
def test_burst_sets_the_level(core: LoopbackCore, fab: Fab, argv: tuple[str, ...]) -> None:
    """Positional or named, one command is sent and the core's answer printed."""
    assert fab("burst", *argv).stdout == "50 % of the edge, by hand: Black Friday\n"
    assert sent(core) == [SetBurst(level_percent=50, reason=Reason("Black Friday"), by_hand=True)]


def test_burst_lowers_the_cores_share(core: LoopbackCore, fab: Fab) -> None:
    """Ahead of a peak the edge is warmed up; the answer says from where on it is used."""
    done = fab("burst", "100", "Black Friday", "--core", "60")
    assert done.stdout == "100 % of the edge, from 60 % of the core's slots on, by hand: Black Friday\n"
    assert sent(core) == [SetBurst(level_percent=100, reason=Reason("Black Friday"), core_percent=60, by_hand=True)]


@pytest.mark.parametrize(
    ("typed", "slots", "told"), [("60", 60, "60 slots busy (drawbridge"), ("configured", None, "50")]
)
def test_capacity_sets_the_slots(core: LoopbackCore, fab: Fab, typed: str, slots: int | None, told: str) -> None:
    """A number, or what drawbridge.toml says."""
    assert f"no-primary up, 12 of {told}" in fab("capacity", "no-primary", typed, "larger machine").stdout
    assert sent(core) == [SetCapacity(server=ServerName("no-primary"), slots=slots, reason=Reason("larger machine"))]


def test_load_draws_the_last_minute(core: LoopbackCore, fab: Fab) -> None:
    """Saturation and queue as they rose, who answered, and what the core's slots should be."""
    assert fab("load", "--seconds", "30").stdout.splitlines() == [
        "window      30 s, 3 looks",
        "core        ▄██  mean 86 %, most 110 %",
        "in all      ▃▅▆  mean 53 %, most 70 %",
        "queue       ▁▁█  mean 7 ms, most 20 ms",
        "at home     900 answers, 30/s, 75.0%; 1 of them 5xx",
        "edge        300 answers, 10/s, 25.0%; 0 of them 5xx",
        "refused     2 answered 5xx by HAProxy itself",
        "burst       25 % of the edge: calm",
        (
            "no-primary  up, 12 of 50 slots busy, 3 queued; better 25 slots: at 50 busy it is slow; "
            "fab capacity no-primary 25 WHY"
        ),
    ]
    assert sent(core) == [ReadTelemetry(window_s=30)]


@pytest.mark.parametrize(
    ("argv", "hold"),
    [
        (("drain", "i-0abc", "slow disk"), Hold.DRAIN),
        (("drain", "--instance", "i-0abc", "--reason", "slow disk"), Hold.DRAIN),
        (("drain", "i-0abc", "slow disk", "--undo"), Hold.NONE),
        (("remove", "i-0abc", "slow disk"), Hold.REMOVE),
        (("remove", "i-0abc", "slow disk", "--undo"), Hold.NONE),
    ],
)
def test_a_node_is_held(core: LoopbackCore, fab: Fab, argv: tuple[str, ...], hold: Hold) -> None:
    """Draining, undoing it and removing each send the operator's word and show the node."""
    done = fab(*argv)
    assert (done.stderr, done.returncode) == ("", 0)
    assert done.stdout.splitlines()[1].startswith("i-0abc ")
    assert sent(core) == [HoldNode(instance=InstanceId("i-0abc"), hold=hold, reason=Reason("slow disk"))]


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (("burst", "50", "more", "--dry-run"), "burst level: 25 % (calm) → 50 % (more)"),
        (("--dry", "burst", "50", "more"), "burst level: 25 % (calm) → 50 % (more)"),
        (("burst", "25", "calm", "--dry-run"), "burst level: 25 % already, for that reason: nothing would change"),
        (
            ("burst", "100", "more", "--core", "60", "--dry-run"),
            "burst level: 25 % (calm) → 100 % from 60 % of the core on (more)",
        ),
        (("capacity", "no-primary", "60", "larger", "--dry-run"), "no-primary: 50 → 60 slots (larger)"),
        (
            ("capacity", "no-primary", "configured", "back", "--dry-run"),
            "no-primary: 50 slots already: nothing would change but the reason",
        ),
        (("drain", "i-0abc", "disk", "--dry-run"), "i-0abc (active, 3 connections): hold none → drain (disk)"),
        (("remove", "i-0abc", "disk", "--dry-run"), "i-0abc (active, 3 connections): hold none → remove (disk)"),
        (
            ("drain", "i-0abc", "disk", "--undo", "--dry-run"),
            "i-0abc (active, 3 connections): hold none already: nothing would change",
        ),
    ],
)
def test_a_dry_run_only_reads(core: LoopbackCore, fab: Fab, argv: tuple[str, ...], told: str) -> None:
    """A dry run says what would change, and sends nothing that could."""
    assert fab(*argv).stdout == told + "\n"
    assert sent(core) == [ReadFacts()]


# --- what a person mistypes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("burst", "101", "x"), r"burst\.level_percent: wanted 0 to 100, found 101"),
        (("burst", "-5", "x"), r"burst\.level_percent: wanted 0 to 100, found -5"),
        (("burst", "lots", "x"), r"burst\.level_percent: wanted a whole number, found 'lots'"),
        (("burst", "9" * 5000, "x"), r"burst\.level_percent: wanted a whole number, found '999"),
        (("burst", "50", "x", "--core", "0"), r"burst\.core_percent: wanted 1 to 100, found 0"),
        (("burst", "50", "x", "--core", "half"), r"burst\.core_percent: wanted a whole number, found 'half'"),
        (("capacity", "i-1", "5", "x"), r"capacity\.server: wanted a core server's name"),
        (("capacity", "no-primary", "0", "x"), r"capacity\.slots: wanted 1 to 100000, found 0"),
        (("capacity", "no-primary", "many", "x"), r"capacity\.slots: wanted a whole number, found 'many'"),
        (("capacity", "no-secondary", "5", "x"), "there is no server no-secondary"),
        (("capacity", "no-secondary", "5", "x", "--dry-run"), r"wanted a server of oslo-1 \(no-primary\)"),
        (("load", "--seconds", "0"), r"load\.window_s: wanted 1 to 300, found 0"),
        (("load", "--seconds", "long"), r"load\.window_s: wanted a whole number, found 'long'"),
        (("burst", "50", ""), r"burst\.reason: wanted a reason"),
        (("burst", "50", "a\nb"), r"burst\.reason: wanted a reason: .* on one line, found 'a\\nb'"),
        (("burst", "50", "x" * 201), r"burst\.reason: wanted a reason: 1 to 200"),
        (("burst", "50"), "did not receive required positional arguments: 'reason'"),
        (("drain", "I_0ABC", "x"), r"node\.instance: wanted an instance id"),
        (("drain", "i-none", "x"), "there is no node i-none"),
        (("remove", "i-none", "x", "--dry-run"), "i-none: oslo-1 knows no such node"),
        (("sync", "--override", "a\nb"), "--override: wanted a reason"),
        (("stauts",), "No idea what 'stauts' is"),
        (("status", "--jsno"), "No idea what '--jsno' is"),
        (("-H", "127.0.0.1:ssh", "status"), r"-H: wanted \[USER@\]HOST\[:PORT\], found '127.0.0.1:ssh'"),
        (("-H", "127.0.0.1:99999", "status"), "-H: wanted"),
        (("-H", "300.1.1.1", "status"), "-H: wanted"),
        (("-H", "a,,b", "status"), "-H: wanted .*, found ''"),
        (("-H", "127.0.0.1:1", "status"), "connecting to 127.0.0.1:1: connection refused"),
        (("-H", "nobody@127.0.0.1", "status"), r"logging in at 127\.0\.0\.1:\d+ as nobody: key SHA256:\S+ was refused"),
        (("-i", "/no/such/key", "status"), "using the private key in /no/such/key: No such file"),
        (("-i", "a", "-i", "b", "status"), "-i: wanted one private key, found 2"),
    ],
)
def test_what_cannot_be_is_one_line(core: LoopbackCore, fab: Fab, argv: tuple[str, ...], message: str) -> None:
    """No mistake of a person ends in a traceback, or changes anything."""
    refused(fab(*argv), message)
    assert all(isinstance(command, ReadFacts | HoldNode | SetCapacity) for command in sent(core))


def test_what_was_typed_is_judged_before_the_key(fab: Fab, toml: Path, tmp_path: Path) -> None:
    """Who has no key yet learns of his slip of the pen first, and then where the key is looked for."""
    toml.write_text(re.sub("ssh_identity = .*", f'ssh_identity = "{tmp_path}/none"', toml.read_text()))
    refused(fab("burst", "101", "x"), r"burst\.level_percent: wanted 0 to 100, found 101")
    refused(fab("drain", "I_0ABC", "x"), r"node\.instance: wanted an instance id")
    refused(
        fab("burst", "50", "x"), r"/none: No such file or directory; core\.ssh_identity in drawbridge\.toml names it"
    )


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        ("refused", "i-0abc has no seat"),
        ("failed for now", "the disk is full"),
        ("garbage", "wanted one JSON document"),
        ("closed door", "the relay exited 75: .*is the agent running"),
    ],
)
def test_what_the_core_cannot_do_is_one_line(core: LoopbackCore, fab: Fab, mode: str, message: str) -> None:
    """The core's own trouble reaches the person as it was told."""
    core.behave(mode)
    refused(fab("status"), message)


def test_a_broken_file_is_one_line(fab: Fab, toml: Path) -> None:
    """Settings that cannot be are told by their key; a missing file by its name."""
    toml.write_text(toml.read_text().replace("max_capacity = 20", "max_capacity = 20\nmax_capcity = 5"))
    refused(fab("status"), r"drawbridge\.toml\.edge\.max_capcity: unknown")
    refused(fab("status", DRAWBRIDGE_CONFIG="/no/such.toml"), "reading /no/such.toml: no such file")


# --- another address ------------------------------------------------------------------------------------------------


def test_another_address_keeps_the_rest_of_the_settings(core: LoopbackCore, fab: Fab) -> None:
    """-H alone changes the host; port, user and both keys stay those of drawbridge.toml."""
    done = fab("-H", "localhost", "status")
    assert done.stdout.startswith(f"core     oslo-1 at localhost:{core.port}, ")


def test_several_addresses_are_asked_in_turn(core: LoopbackCore, fab: Fab) -> None:
    """Fabric's own way with several hosts, and ports and users where they are typed."""
    done = fab("-H", f"localhost,{core.user}@127.0.0.1:{core.port}", "status")
    asked = [line.split()[3] for line in done.stdout.splitlines() if line.startswith("core ")]
    assert asked == [f"localhost:{core.port},", f"127.0.0.1:{core.port},"]


def test_another_address_has_to_show_the_pinned_key(core: LoopbackCore, fab: Fab, toml: Path, tmp_path: Path) -> None:
    """-H is no way around the pin."""
    make_key(tmp_path / "other")
    pinned = " ".join((tmp_path / "other.pub").read_text().split()[:2])
    toml.write_text(toml.read_text().replace(core.host_key, pinned))
    refused(fab("-H", "localhost", "status"), "connecting to localhost:.*: wanted the pinned host key")
    assert core.logins == 0


def test_another_private_key_can_be_named(core: LoopbackCore, fab: Fab, tmp_path: Path) -> None:
    """-i is used instead of core.ssh_identity."""
    make_key(tmp_path / "mine")
    core.authorise(tmp_path / "mine")
    assert fab("status").returncode == 1
    assert fab("-i", str(tmp_path / "mine"), "status").returncode == 0


# --- with AWS -------------------------------------------------------------------------------------------------------


@pytest.fixture
def group(aws: str) -> list[str]:
    """A group of two instances in service; returns their ids, sorted."""
    scaling = boto3.client("autoscaling", region_name=REGION, endpoint_url=aws)
    scaling.create_launch_configuration(LaunchConfigurationName="any", ImageId="ami-12c6146b", InstanceType="t4g.small")
    scaling.create_auto_scaling_group(
        AutoScalingGroupName="drawbridge-edge",
        LaunchConfigurationName="any",
        MinSize=0,
        MaxSize=5,
        DesiredCapacity=2,
        AvailabilityZones=["eu-north-1a"],
    )
    (described,) = scaling.describe_auto_scaling_groups()["AutoScalingGroups"]
    return sorted(one["InstanceId"] for one in described["Instances"])


def test_sync_sends_the_group_as_the_function_does(
    core: LoopbackCore, installed_fab: Fab, aws: str, group: list[str]
) -> None:
    """The seats that AWS names reach the core in one command, the override with them."""
    done = installed_fab("sync", "--override", "moved by hand", AWS_ENDPOINT_URL=aws)
    assert done.stdout.startswith("2 seats at generation ")
    (command,) = sent(core)
    assert isinstance(command, SyncFleet)
    assert (command.group, command.override) == (GROUP, "moved by hand")
    assert sorted(command.seats) == [(i, Lifecycle.SERVING) for i in group]


def test_a_dry_sync_compares_the_group_with_the_core(core: LoopbackCore, fab: Fab, aws: str, group: list[str]) -> None:
    """Newcomers and those without a seat are named, and no generation is spent."""
    done = fab("sync", "--dry-run", AWS_ENDPOINT_URL=aws)
    assert sorted(done.stdout.splitlines()) == sorted(
        [
            *(f"{instance}: new → serving" for instance in group),
            "i-0abc: active, not in the group → stays, unless AWS, asked about it by its id, disowns it",
            "i-0def1234567890abc: seated, not in the group → stays, unless AWS, asked about it by its id, disowns it",
        ]
    )
    assert sent(core) == [ReadFacts()]


def test_a_group_that_does_not_exist_changes_nothing(core: LoopbackCore, fab: Fab, aws: str) -> None:
    """No group is an error, and never an empty set of seats."""
    refused(fab("sync", AWS_ENDPOINT_URL=aws), "describing group drawbridge-edge: wanted one group")
    assert sent(core) == []


LOST = ("sync", "--group", GROUP)


def test_a_lost_group_is_emptied_by_a_person(core: LoopbackCore, fab: Fab, aws: str) -> None:
    """A dry run tells who would leave; then one command without seats reaches the core, with the reason."""
    argv = (*LOST, "--override", "the group was renamed")
    assert fab(*argv, "--dry-run", AWS_ENDPOINT_URL=aws).stdout.splitlines() == [
        "i-0abc: active, not in the group → leaves",
        "i-0def1234567890abc: seated, not in the group → leaves",
    ]
    assert sent(core) == [ReadFacts()]
    done = fab(*argv, AWS_ENDPOINT_URL=aws)
    assert (done.stderr, done.returncode) == ("", 0)
    assert done.stdout.startswith(f"{GROUP}: AWS has no such group; emptied at generation ")
    command = sent(core)[-1]
    assert isinstance(command, SyncFleet)
    assert (command.group, command.seats, command.override) == (GROUP, Seats(), "the group was renamed")


@pytest.mark.usefixtures("group")
def test_a_group_that_aws_has_is_not_emptied(core: LoopbackCore, fab: Fab, aws: str) -> None:
    """Neither by mistake nor on purpose."""
    done = fab(*LOST, "--override", "moved", AWS_ENDPOINT_URL=aws)
    refused(done, "wanted a group that AWS no longer has, found it there with 2 instances")
    assert sent(core) == [ReadFacts()]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (LOST, "--group: wanted --override with a reason beside it, found none"),
        (("sync", "--override", "x", "--group", "drawbridge-edge"), "--group: wanted a group as REGION/NAME"),
        (("sync", "--override", "x", "--group", "eu-north-1/other"), f"wanted one of {GROUP}, which"),
    ],
)
def test_what_cannot_be_a_lost_group_changes_nothing(
    core: LoopbackCore, fab: Fab, argv: tuple[str, ...], message: str
) -> None:
    """No reason, no group, or none that the core knows: AWS is not even asked."""
    refused(fab(*argv), message)
    assert all(command == ReadFacts() for command in sent(core))


def test_the_private_key_is_published_encrypted(core: LoopbackCore, fab: Fab, aws: str) -> None:
    """The parameter is a SecureString that holds exactly the file; the public half alone is printed."""
    ssm = boto3.client("ssm", region_name=REGION, endpoint_url=aws)
    assert fab("publish-key", "--dry-run", AWS_ENDPOINT_URL=aws).stdout.startswith("would publish ssh-ed25519 SHA256:")
    assert ssm.describe_parameters()["Parameters"] == []
    for version in (1, 2):
        done = fab("publish-key", AWS_ENDPOINT_URL=aws)
        assert f"as /drawbridge/ssh-key in eu-north-1, version {version}\n" in done.stdout
        assert " ".join(core.identity.with_suffix(".pub").read_text().split()[:2]) in done.stdout
        assert "PRIVATE KEY" not in done.stdout
    parameter = ssm.get_parameter(Name="/drawbridge/ssh-key", WithDecryption=True)["Parameter"]
    assert (parameter["Type"], parameter["Value"]) == ("SecureString", core.identity.read_text())


def test_what_is_no_usable_private_key_is_not_published(core: LoopbackCore, fab: Fab, aws: str) -> None:
    """A public key, one with a passphrase, a missing file and one too long for a parameter stay at home."""
    locked, long = core.folder / "locked", core.folder / "long"
    subprocess.run(("ssh-keygen", "-q", "-t", "ed25519", "-N", "a passphrase", "-f", str(locked)), check=True)
    long.write_text(core.identity.read_text() + "\n" * 4096)
    for file, message in [
        (f"{core.identity}.pub", "found a public one"),
        (str(locked), "without a passphrase"),
        ("/no/such/key", "using the private key in /no/such/key: No such file"),
        (str(long), "wanted at most 4096 characters"),
    ]:
        refused(fab("publish-key", "--file", file, AWS_ENDPOINT_URL=aws), message)
    assert boto3.client("ssm", region_name=REGION, endpoint_url=aws).describe_parameters()["Parameters"] == []


def test_another_accounts_credentials_are_refused(core: LoopbackCore, fab: Fab, aws: str) -> None:
    """The wrong profile: the key goes to nobody else's account, and no group is looked for there."""
    settings = (core.folder / "drawbridge.toml").read_text()
    (core.folder / "drawbridge.toml").write_text(
        settings.replace('account = "123456789012"', 'account = "210987654321"')
    )
    message = "wanted credentials for account 210987654321, found some for 123456789012; see AWS_PROFILE"
    refused(fab("publish-key", AWS_ENDPOINT_URL=aws), message)
    refused(fab("sync", AWS_ENDPOINT_URL=aws), message)
    assert boto3.client("ssm", region_name=REGION, endpoint_url=aws).describe_parameters()["Parameters"] == []
    assert sent(core) == []


def test_aws_that_cannot_be_reached_is_one_line(fab: Fab) -> None:
    """An endpoint where nobody listens, and credentials that are missing, are told without a traceback."""
    refused(fab("publish-key"), "asking whose credentials these are: Could not connect")
    refused(fab("sync", AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY=""), "whose credentials .*: Unable to locate cred")
