"""The client against a real sshd: what it accepts, what it refuses, and how each failure is told."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from core_agent.client import CoreClient, connection, load_private_key
from core_agent.contract.codec import MAX_REQUEST_BYTES, decode_request
from core_agent.contract.messages import (
    ActivateNode,
    BurstReport,
    Command,
    EnrollNode,
    FactsReport,
    FleetReport,
    Hold,
    HoldNode,
    NodeReport,
    ReadFacts,
    Report,
    Seats,
    SetBurst,
    SyncFleet,
    TunnelReport,
)
from core_agent.contract.names import GroupName, InstanceId, PublicKey, Reason
from core_agent.errors import (
    AgentFailed,
    AuthenticationFailed,
    ContractError,
    CoreUnreachable,
    HostKeyMismatch,
    RefusalKind,
    Refused,
    SettingsError,
)
from tests.client.loopback_core import LoopbackCore, make_key

PATIENCE_S = 60  # unless the timeout itself is what a test is about
NODE = InstanceId("i-0abc")
GROUP = GroupName("eu-north-1/drawbridge-edge")
KEY = PublicKey("Cs0Q4XE7Wk9WJ3eE0S+8o5m4cP6p0mX5mI5J2aY0XFE=")


def dial(core: LoopbackCore, **changed: object) -> CoreClient:
    """Return a client for ``core``, with whatever is to be different."""
    arguments: dict[str, object] = {
        "host": "127.0.0.1",
        "port": core.port,
        "user": core.user,
        "host_key": core.host_key,
        "private_key": core.identity,
        "connect_timeout_s": PATIENCE_S,
        "reply_timeout_s": PATIENCE_S,
    }
    return CoreClient(**(arguments | changed))  # type: ignore[arg-type]  # whatever argument the test names


@pytest.fixture
def client(core: LoopbackCore) -> Iterator[CoreClient]:
    """A client that was told the truth about the core."""
    with dial(core) as client:
        yield client


def fingerprint(public: Path) -> str:
    """Return what ``ssh-keygen -l`` calls the key."""
    listed = subprocess.run(("ssh-keygen", "-lf", str(public)), check=True, capture_output=True, text=True)
    return listed.stdout.split()[1]


# --- the pinned key -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "report"),
    [
        (SyncFleet(group=GROUP, generation=1, seats=Seats(joining=(NODE,))), FleetReport),
        (EnrollNode(instance=NODE, public_key=KEY), TunnelReport),
        (ActivateNode(instance=NODE), NodeReport),
        (HoldNode(instance=NODE, hold=Hold.DRAIN, reason=Reason("disk")), NodeReport),
        (SetBurst(level_percent=50, reason=Reason("Black Friday")), BurstReport),
        (ReadFacts(), FactsReport),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Command) else "",
)
def test_every_command_is_carried_whole_and_answered(
    core: LoopbackCore, client: CoreClient, command: Command, report: type[Report]
) -> None:
    """Each command reaches the far side unchanged and comes back as its own report."""
    assert isinstance(client.request(command), report)
    assert [decode_request(document)[1] for document in core.requests] == [command]


def test_another_host_key_is_refused_before_anything_is_sent(core: LoopbackCore, tmp_path: Path) -> None:
    """A core with another key gets neither our login nor our request, and the error shows both fingerprints."""
    make_key(tmp_path / "pinned")
    pinned = (tmp_path / "pinned.pub").read_text()
    with pytest.raises(HostKeyMismatch) as caught, dial(core, host_key=pinned) as client:
        client.request(ReadFacts())
    assert fingerprint(tmp_path / "pinned.pub") in str(caught.value)
    assert fingerprint(core.folder / "host_key.pub") in str(caught.value)
    assert f"127.0.0.1:{core.port}" in str(caught.value)
    assert "core.ssh_host_key" in str(caught.value)
    assert not caught.value.retryable
    assert (core.connections, core.logins, core.requests) == (1, 0, [])


def test_a_pinned_key_of_a_type_the_core_does_not_have_is_a_mismatch(core: LoopbackCore, tmp_path: Path) -> None:
    """Another type of key is another key: there is no falling back to what the core happens to have."""
    make_key(tmp_path / "pinned", "-t", "ecdsa")
    with pytest.raises(HostKeyMismatch), dial(core, host_key=(tmp_path / "pinned.pub").read_text()) as client:
        client.request(ReadFacts())
    assert core.logins == 0


@pytest.mark.parametrize(
    "kind", [("-t", "ecdsa"), ("-t", "ecdsa", "-b", "521"), ("-t", "rsa", "-b", "2048")], ids=" ".join
)
def test_the_pinned_type_is_asked_for_among_several(core: LoopbackCore, kind: tuple[str, ...]) -> None:
    """A core with several keys shows the one that is pinned, though another would be its first choice."""
    core.stop()
    make_key(core.folder / "other", *kind)
    core.host_keys.append(core.folder / "other")
    core.start()
    with dial(core, host_key=(core.folder / "other.pub").read_text()) as client:
        assert client.request(ReadFacts()).core == "oslo-1"


def test_a_core_that_changes_its_key_is_refused_when_dialled_again(
    core: LoopbackCore, client: CoreClient, tmp_path: Path
) -> None:
    """The pin holds for reconnecting too, not for the first connection alone."""
    client.request(ReadFacts())
    core.stop()
    make_key(tmp_path / "other")
    core.host_keys = [tmp_path / "other"]
    core.start()
    with pytest.raises(HostKeyMismatch):
        client.request(ReadFacts())
    assert (core.logins, len(core.requests)) == (1, 1)


def test_the_users_own_ssh_files_are_not_read(
    core: LoopbackCore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No ~/.ssh/config, known_hosts, Fabric configuration or agent has a say in how the core is reached."""
    make_key(tmp_path / "other")
    dot_ssh = tmp_path / "home" / ".ssh"
    dot_ssh.mkdir(parents=True)
    (dot_ssh / "config").write_text("Host *\n  Port 1\n  User nobody\n  HostName 198.51.100.1\n  ProxyCommand false\n")
    (dot_ssh / "known_hosts").write_text(f"[127.0.0.1]:{core.port} {(tmp_path / 'other.pub').read_text()}")
    (dot_ssh.parent / ".fabric.yaml").write_text("port: 1\nuser: nobody\ngateway: 198.51.100.1\n")
    monkeypatch.setenv("HOME", str(dot_ssh.parent))
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "no-agent"))
    with dial(core) as client:
        assert client.request(ReadFacts()).core == "oslo-1"


@pytest.mark.parametrize("host_key", ["", "ssh-ed25519", "ssh-ed25519 !!!!", "ssh-ed25519 AAAA", "ssh-dss AAAAB3Nz"])
def test_a_pinned_key_that_is_none_is_a_settings_error(core: LoopbackCore, host_key: str) -> None:
    """What cannot be a host key is told before anything is dialled."""
    with pytest.raises(SettingsError, match=r"core\.ssh_host_key: wanted a host key"):
        dial(core, host_key=host_key)
    assert core.connections == 0


# --- our own key ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind",
    [
        ("-t", "ed25519"),
        ("-t", "ecdsa"),
        ("-t", "ecdsa", "-b", "384"),
        ("-t", "rsa", "-b", "2048"),
        ("-t", "rsa", "-b", "2048", "-m", "PEM"),
    ],
    ids=" ".join,
)
def test_every_kind_of_private_key_logs_in(core: LoopbackCore, kind: tuple[str, ...]) -> None:
    """Ed25519, ECDSA and RSA keys work, from a file as well as from the text that a parameter store keeps."""
    identity = core.folder / "mine"
    make_key(identity, *kind)
    core.authorise(identity)
    for private_key in (identity, identity.read_text().strip(), identity.read_text().replace("\n", "\r\n")):
        with dial(core, private_key=private_key) as client:
            assert client.request(ReadFacts()).core == "oslo-1"


def test_a_key_the_core_does_not_know_is_refused_for_good(
    core: LoopbackCore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Our key and no other is tried, even if a better one lies in ~/.ssh, and a refusal is not worth a retry."""
    dot_ssh = tmp_path / "home" / ".ssh"
    dot_ssh.mkdir(parents=True)
    (dot_ssh / "id_ed25519").write_text(core.identity.read_text())
    monkeypatch.setenv("HOME", str(dot_ssh.parent))
    make_key(tmp_path / "other")
    with pytest.raises(AuthenticationFailed) as caught, dial(core, private_key=tmp_path / "other") as client:
        client.request(ReadFacts())
    assert str(caught.value).startswith(f"logging in at 127.0.0.1:{core.port} as {core.user}: ")
    assert fingerprint(tmp_path / "other.pub") in str(caught.value)
    assert not caught.value.retryable
    assert core.requests == []


def test_a_malformed_private_key_is_never_shown(tmp_path: Path) -> None:
    """A key with one line missing is refused without a word of what is left of it."""
    make_key(tmp_path / "key")
    lines = (tmp_path / "key").read_text().splitlines()
    for broken in ("\n".join(lines[:1] + lines[2:]), "\n".join(lines[:-2]), "hunter2", "", "\x00\xff"):
        with pytest.raises(AuthenticationFailed, match="wanted an OpenSSH private key") as caught:
            load_private_key(broken)
        assert not any(line in str(caught.value) for line in broken.splitlines() if line)


def test_a_public_key_is_told_apart(tmp_path: Path) -> None:
    """The commonest mistake, the .pub file, has words of its own."""
    make_key(tmp_path / "key")
    with pytest.raises(AuthenticationFailed, match="found a public one"):
        load_private_key(tmp_path / "key.pub")


@pytest.mark.parametrize("form", ["RFC4716", "PEM"])
@pytest.mark.parametrize("kind", [("-t", "ed25519"), ("-t", "rsa", "-b", "2048")], ids=" ".join)
def test_a_key_with_a_passphrase_is_told_apart(tmp_path: Path, kind: tuple[str, ...], form: str) -> None:
    """Nobody is there to type a passphrase, and the error says so."""
    argv = ("ssh-keygen", "-q", *kind, "-m", form, "-N", "a passphrase", "-f", str(tmp_path / "key"))
    subprocess.run(argv, check=True)
    with pytest.raises(AuthenticationFailed, match="without a passphrase"):
        load_private_key(tmp_path / "key")


def test_a_missing_key_file_is_named(tmp_path: Path) -> None:
    """A file that is not there, or is a folder, is named."""
    with pytest.raises(AuthenticationFailed, match=rf"{tmp_path}/none: No such file"):
        load_private_key(tmp_path / "none")
    with pytest.raises(AuthenticationFailed, match="Is a directory"):
        load_private_key(tmp_path)


# --- the connection -------------------------------------------------------------------------------------------------


def test_a_request_does_not_wait_for_an_acknowledgement(core: LoopbackCore, client: CoreClient) -> None:
    """Nagle's algorithm is off: it would add a delayed acknowledgement, 40 ms, to each warm request."""
    client.request(ReadFacts())
    transport = client._connection._transport()
    assert transport is not None
    assert isinstance(transport.sock, socket.socket)
    assert transport.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_one_channel_carries_many_requests(core: LoopbackCore, client: CoreClient) -> None:
    """One TCP connection, and one start of what the key opens."""
    for _ in range(5):
        client.request(ReadFacts())
    assert (core.connections, core.sessions, len(core.requests)) == (1, 1, 5)


def test_a_channel_that_ended_is_opened_anew(core: LoopbackCore, client: CoreClient) -> None:
    """An agent that restarts between two requests costs neither an error nor the connection, and nothing goes twice."""
    core.behave("answer, then end")
    for _ in range(3):
        client.request(ReadFacts())
    assert (core.connections, core.sessions, len(core.requests)) == (1, 3, 3)


def test_a_channel_that_ends_under_a_request_is_opened_anew_once(core: LoopbackCore, client: CoreClient) -> None:
    """The request goes again over another channel; a second end is an error that may be retried."""
    client.request(ReadFacts())
    core.behave("silence")
    with pytest.raises(CoreUnreachable, match="wanted a reply, found nothing") as caught:
        client.request(ReadFacts())
    assert caught.value.retryable
    assert (core.connections, core.sessions, len(core.requests)) == (1, 2, 3)


def test_a_quiet_connection_that_lives_is_kept(
    core: LoopbackCore, client: CoreClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked for a sign of life, which starts nothing on the core."""
    monkeypatch.setattr(connection, "_QUIET_S", 0)
    for _ in range(3):
        client.request(ReadFacts())
    assert (core.connections, core.sessions) == (1, 1)


def test_a_refusal_does_not_cost_the_connection(core: LoopbackCore, client: CoreClient) -> None:
    """What the agent refuses, or what its relay cannot do, leaves the connection warm."""
    for mode, error in [("refused", Refused), ("closed door", CoreUnreachable), ("garbage", CoreUnreachable)]:
        core.behave(mode)
        with pytest.raises(error):
            client.request(ReadFacts())
    core.behave("answer")
    client.request(ReadFacts())
    assert core.connections == 1


def test_a_connection_that_died_is_dialled_again_once(core: LoopbackCore, client: CoreClient) -> None:
    """A restarted core costs the next request one new connection and no error, and the request arrives once."""
    client.request(ReadFacts())
    core.stop()
    core.start()
    client.request(ReadFacts())
    assert (core.connections, len(core.requests)) == (2, 2)


def test_a_connection_gone_silent_is_dialled_again(
    core: LoopbackCore, client: CoreClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A peer that no longer answers, without having hung up, is given up after the connect timeout."""
    dial_again = client._connection._dial

    def patiently() -> None:
        client._connection._timeout_s = PATIENCE_S
        dial_again()

    client.request(ReadFacts())
    core.freeze()
    monkeypatch.setattr(connection, "_QUIET_S", 0)  # as if the last request had been long ago
    client._connection._timeout_s = 1
    monkeypatch.setattr(client._connection, "_dial", patiently)
    assert client.request(ReadFacts()).core == "oslo-1"
    assert (core.connections, len(core.requests)) == (2, 2)


def test_a_core_that_stays_away_is_unreachable(core: LoopbackCore, client: CoreClient) -> None:
    """One reconnect is all: a core that is gone is an error that may be retried later."""
    client.request(ReadFacts())
    core.stop()
    with pytest.raises(CoreUnreachable, match=rf"connecting to 127\.0\.0\.1:{core.port}: .*refused") as caught:
        client.request(ReadFacts())
    assert caught.value.retryable


def test_a_closed_client_dials_again(core: LoopbackCore, client: CoreClient) -> None:
    """Closing hangs up, twice is no error, and the client can be used again."""
    client.request(ReadFacts())
    client.close()
    client.close()
    client.request(ReadFacts())
    assert core.connections == 2


def test_the_largest_request_travels(core: LoopbackCore, client: CoreClient) -> None:
    """A document of almost the limit arrives whole: it is sent as one stream and not byte by byte."""
    seats = Seats(serving=tuple(InstanceId(f"i-{n:017x}") for n in range(47_000)))
    command = SyncFleet(group=GROUP, generation=1, seats=seats)
    client.request(command)
    (document,) = core.requests
    assert 0.95 * MAX_REQUEST_BYTES < len(document) <= MAX_REQUEST_BYTES
    assert decode_request(document)[1] == command


def test_a_request_over_the_limit_is_not_sent(core: LoopbackCore, client: CoreClient) -> None:
    """What the agent would refuse for its size does not leave the house."""
    seats = Seats(serving=tuple(InstanceId(f"i-{n:017x}") for n in range(50_000)))
    with pytest.raises(ContractError, match=f"request: wanted at most {MAX_REQUEST_BYTES} bytes"):
        client.request(SyncFleet(group=GROUP, generation=1, seats=seats))
    assert core.connections == 0


# --- many at once ---------------------------------------------------------------------------------------------------


def test_many_commands_are_answered_in_their_order(core: LoopbackCore, client: CoreClient) -> None:
    """Over one channel; what the agent refuses stands in its place, and the rest is carried out."""
    commands: list[Command] = [SetBurst(level_percent=level, reason=Reason("test")) for level in range(100)]
    commands[50] = ActivateNode(instance=InstanceId("i-1"))
    outcomes = client.request_all(commands)
    assert [outcome.level_percent for outcome in outcomes if isinstance(outcome, BurstReport)] == [
        level for level in range(100) if level != 50
    ]
    assert isinstance(outcomes[50], Refused)
    assert outcomes[50].kind is RefusalKind.UNKNOWN_NODE
    assert (core.sessions, len(core.requests)) == (1, 100)


def test_no_command_is_no_request(core: LoopbackCore, client: CoreClient) -> None:
    """Nothing is dialled for an empty list."""
    assert client.request_all([]) == []
    assert core.connections == 0


def test_after_a_channels_end_only_what_is_unanswered_goes_again(core: LoopbackCore, client: CoreClient) -> None:
    """An agent that restarts in the middle of many costs no error; each answer is that of its own command."""
    client.request(ReadFacts())
    core.behave("answer, then end")
    first, second = (SetBurst(level_percent=level, reason=Reason("test")) for level in (1, 2))
    assert [report.level_percent for report in client.request_all([first, second])] == [1, 2]  # type: ignore[union-attr]  # a report or the test fails
    assert [decode_request(document)[1] for document in core.requests] == [ReadFacts(), first, second]
    assert (core.connections, core.sessions) == (1, 2)


def test_one_deadline_is_for_all(core: LoopbackCore) -> None:
    """However many there are, the list ends by the deadline of one."""
    core.behave("slow")
    began = time.monotonic()
    with (
        dial(core, reply_timeout_s=2) as client,
        pytest.raises(CoreUnreachable, match=r"wanted an answer within 2 s"),
    ):
        client.request_all([ReadFacts()] * 20)
    assert time.monotonic() - began < PATIENCE_S / 2


# --- answers that are none ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "error", "message"),
    [
        ("cut", CoreUnreachable, "cut short"),
        ("cut at a brace", CoreUnreachable, "cut short"),
        ("silence", CoreUnreachable, "wanted a reply, found nothing"),
        ("garbage", CoreUnreachable, "wanted one JSON document, found b'Welcome to Debian"),
        ("half, then an error", CoreUnreachable, "the relay exited 1: agent hung up"),
        ("closed door", CoreUnreachable, "the relay exited 75: .*Connection refused / is the agent running?"),
        ("other version", ContractError, r"reply\.version: wanted 3, found 2"),
        ("other id", ContractError, r"reply\.id: wanted .*, found another"),
        ("no id", ContractError, r"reply\.id: wanted .*, found unknown: your document is broken"),
        ("other report", ContractError, r"reply\.report: wanted FactsReport, found NodeReport"),
        ("oversize", ContractError, "reply: wanted at most 8388608 bytes"),
    ],
)
def test_an_answer_that_is_none_is_told(
    core: LoopbackCore, client: CoreClient, mode: str, error: type[CoreUnreachable | ContractError], message: str
) -> None:
    """Whatever comes back instead of a report is told as what it is, and was asked for exactly once."""
    core.behave(mode)
    with pytest.raises(error, match=message) as caught:
        client.request(ReadFacts())
    assert caught.value.retryable is (error is CoreUnreachable)
    assert core.connections == 1
    assert len(core.requests) <= 1


def test_a_refusal_carries_its_kind(core: LoopbackCore, client: CoreClient) -> None:
    """The agent's refusal arrives with the kind that a handler branches on."""
    core.behave("refused")
    with pytest.raises(Refused, match="i-0abc has no seat") as caught:
        client.request(ActivateNode(instance=NODE))
    assert (caught.value.kind, caught.value.retryable) == (RefusalKind.NOT_SEATED, False)


@pytest.mark.parametrize(("mode", "retryable"), [("failed for now", True), ("failed for good", False)])
def test_a_failure_says_itself_whether_a_retry_can_help(
    core: LoopbackCore, client: CoreClient, mode: str, *, retryable: bool
) -> None:
    """The agent's own word on retrying reaches the consumer of the queue."""
    core.behave(mode)
    with pytest.raises(AgentFailed) as caught:
        client.request(ReadFacts())
    assert caught.value.retryable is retryable


@pytest.mark.parametrize("mode", ["slow", "drip"])
def test_the_deadline_ends_a_request(core: LoopbackCore, mode: str) -> None:
    """Neither silence nor a byte now and then keeps a request beyond its deadline, and it is not sent again."""
    core.behave(mode)
    with (
        dial(core, reply_timeout_s=1.5) as client,
        pytest.raises(CoreUnreachable, match=r"wanted an answer within 1\.5 s"),
    ):
        client.request(ReadFacts())
    assert core.connections == 1
    assert core.sessions <= 1


def test_the_deadline_also_ends_a_warm_request_once(core: LoopbackCore) -> None:
    """A slow agent behind a warm connection is not mistaken for a dead connection and asked twice."""
    with dial(core) as client:
        client.request(ReadFacts())
        core.behave("slow")
        client._reply_timeout_s = 1.5
        with pytest.raises(CoreUnreachable, match=r"wanted an answer within 1\.5 s"):
            client.request(ReadFacts())
        assert core.connections == 1
        assert core.sessions <= 2
        core.behave("answer")
        client._reply_timeout_s = PATIENCE_S
        client.request(ReadFacts())
    assert core.connections == 2
    assert core.sessions <= 3


def test_much_talk_on_stderr_does_not_stop_the_answer(core: LoopbackCore, client: CoreClient) -> None:
    """A relay that says a megabyte on stderr is still heard on stdout."""
    core.behave("chatty")
    assert client.request(ReadFacts()).core == "oslo-1"


# --- nobody there ---------------------------------------------------------------------------------------------------


def test_a_name_that_does_not_resolve_is_told(core: LoopbackCore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host name without an address is unreachable, and named."""

    def unknown(*_: object, **__: object) -> object:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(CoreUnreachable, match=r"core\.example:22: the name does not resolve"):
        dial(core, host="core.example", port=22).request(ReadFacts())


def test_a_name_that_cannot_be_one_is_told(core: LoopbackCore) -> None:
    """A host name that cannot even be asked for is an error of the tree and no UnicodeError."""
    with pytest.raises(CoreUnreachable, match="connecting to"):
        dial(core, host=f"{'a' * 64}.example").request(ReadFacts())


def test_a_port_that_never_speaks_times_out(core: LoopbackCore) -> None:
    """A listener that takes the connection and says nothing is given up after the connect timeout."""
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        port = mute.getsockname()[1]
        with pytest.raises(CoreUnreachable, match=rf"127\.0\.0\.1:{port}: no SSH session came about") as caught:
            dial(core, port=port, connect_timeout_s=0.5).request(ReadFacts())
    assert caught.value.retryable


def test_failures_leave_no_thread_behind(core: LoopbackCore, tmp_path: Path) -> None:
    """A client that could not get in has closed what it had opened."""
    make_key(tmp_path / "other")
    before = set(threading.enumerate())
    for changed in ({"private_key": tmp_path / "other"}, {"host_key": (tmp_path / "other.pub").read_text()}):
        with pytest.raises((AuthenticationFailed, HostKeyMismatch)):
            dial(core, **changed).request(ReadFacts())
    deadline = time.monotonic() + PATIENCE_S
    while left := set(threading.enumerate()) - before:
        assert time.monotonic() < deadline, left
        time.sleep(0.02)
