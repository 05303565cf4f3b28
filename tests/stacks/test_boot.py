"""The boot script: values reach it as they are, answers are believed only when well-formed, and no secret leaves it."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from core_agent.errors import SettingsError
from settings import Settings
from settings.tables import Application
from settings.words import ImageReference, Word
from stacks import boot
from tests.stacks.conftest import ROOT
from tests.stacks.node_world import PRIVATE_KEY, SECRET_KEY, SESSION_TOKEN, TUNNEL, Cloud, Machine, serving

URL = "https://abc.lambda-url.eu-north-1.on.aws/"


def with_command(settings: Settings, *words: str) -> Settings:
    """The same settings with an application of these words."""
    application = Application(port=8080, command=tuple(Word(word) for word in words))
    return dataclasses.replace(settings, application=application)


# --- rendering ------------------------------------------------------------------------------------------------------


def test_hostile_words_reach_the_application_unchanged(default_settings: Settings, tmp_path: Path) -> None:
    """Quotes, substitutions, globs and empty-looking words are data: bash hands them on as they stand in the toml."""
    words = ("$(touch /tmp/owned)", "it's", '"; rm -rf /', "`id`", "a\\b", "*", "${HOME}", "æøå", " ", "-n", "#x", "!!")
    script = tmp_path / "user-data"
    script.write_text(boot.render(with_command(default_settings, *words), enroll_url=URL))
    line = 'source "$1"; printf "%s\\0" "${APPLICATION_COMMAND[@]}"'
    output = subprocess.run(
        ("bash", "-c", line, "bash", str(script)), capture_output=True, text=True, check=True
    ).stdout
    assert tuple(output.split("\0")[:-1]) == words


def test_an_image_is_rendered_with_an_empty_command(default_settings: Settings, tmp_path: Path) -> None:
    """Either of the two is set; the script tells them apart by the image."""
    script = tmp_path / "user-data"
    script.write_text(boot.render(default_settings, enroll_url=URL))
    line = (
        'source "$1"; echo "$APPLICATION_IMAGE ${#APPLICATION_COMMAND[@]} $APPLICATION_PORT $JOIN_LIMIT_S $ENROLL_URL"'
    )
    output = subprocess.run(
        ("bash", "-c", line, "bash", str(script)), capture_output=True, text=True, check=True
    ).stdout
    assert output == f"registry.example.com/shop/web:1.0 0 8080 600 {URL}\n"


def test_the_default_script_fits_into_user_data(default_settings: Settings) -> None:
    """EC2 takes 16 KiB; two of them are left for a command."""
    assert len(boot.render(default_settings, enroll_url=URL).encode()) < boot.MAX_BYTES - 2048


def test_a_command_too_long_for_user_data_is_refused(default_settings: Settings) -> None:
    """Better at synth than by EC2 at the first launch."""
    with pytest.raises(
        SettingsError, match=r"application.command: wanted a boot script of at most 16384 bytes, found 1"
    ):
        boot.render(with_command(default_settings, *["x" * 500] * 10), enroll_url=URL)


def test_the_script_is_bash_that_shellcheck_accepts() -> None:
    """Its syntax, and what shellcheck knows of scripts that go wrong."""
    script = str(ROOT / "stacks" / "boot.sh")
    subprocess.run(("bash", "-n", script), check=True)
    subprocess.run(("shellcheck", script), check=True)


# --- a machine in a folder ------------------------------------------------------------------------------------------


@contextmanager
def a_machine(settings: Settings, root: Path, **answers: list[tuple[int, object]]) -> Iterator[tuple[Machine, Cloud]]:
    """A node that has not booted yet, and the cloud around it."""
    cloud = Cloud(answers={f"/{path}": said for path, said in answers.items()})
    with serving(cloud, root):
        limited = dataclasses.replace(settings, edge=dataclasses.replace(settings.edge, launch_timeout_s=30))
        script = boot.render(limited, enroll_url=f"https://127.0.0.1:{cloud.url_port}/")
        yield Machine(root, script, cloud), cloud


def test_a_node_joins(default_settings: Settings, tmp_path: Path) -> None:
    """The whole way: key, signed enroll, tunnel, application, ready until 200, watchdog; each request truly signed."""
    settings = with_command(default_settings, "sleep", "1")
    waiting: tuple[int, object] = (202, {"phase": "enrolled", "waiting_for": "health check"})
    with a_machine(settings, tmp_path, enroll=[(200, TUNNEL)], ready=[waiting, (200, {"phase": "active"})]) as (
        node,
        cloud,
    ):
        result = node.boot()
    assert result.returncode == 0, result.stderr
    assert [request.path for request in cloud.requests] == ["/enroll", "/ready", "/ready"]
    assert all(request.signed for request in cloud.requests)
    assert cloud.requests[0].body == '{"public_key": "HIgo9xNzJMWLKASShiTqIybxZ0U3wGLiUeJ1PKf8ykw="}'
    assert cloud.requests[1].body == "{}"
    assert "POST /ready: 202: health check" in result.stderr
    tunnel = tmp_path / "etc/wireguard/wg0.conf"
    assert tunnel.read_text().splitlines() == [
        "[Interface]",
        f"PrivateKey = {PRIVATE_KEY}",
        "Address = 10.100.0.7/32",
        "MTU = 1360",
        "[Peer]",
        "PublicKey = xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=",
        "Endpoint = 192.0.2.1:51820",
        "AllowedIPs = 10.100.0.1/32",
        "PersistentKeepalive = 25",
    ]
    assert tunnel.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "etc/wireguard/private.key").stat().st_mode & 0o777 == 0o600
    started = [call for call in node.calls() if call.startswith(("wg-quick", "setsid"))]
    program = f"{tmp_path}/usr/local/lib/drawbridge/node"
    assert started == [
        "wg-quick up wg0",
        f"setsid --fork {program} keep application",
        f"setsid --fork {program} keep watch",
    ]


def test_no_secret_is_printed_or_passed_as_an_argument(default_settings: Settings, tmp_path: Path) -> None:
    """Neither the private key nor the instance's credentials show in the log or in any program's argument list."""
    settings = with_command(default_settings, "true")
    with a_machine(settings, tmp_path, enroll=[(503, {"error": "busy"}), (200, TUNNEL)], ready=[(200, {})]) as (
        node,
        _,
    ):
        # strace is not everywhere: curl and jq are wrapped in a program that records how it was called.
        for name in ("curl", "jq"):
            real = shutil.which(name)
            wrapper = tmp_path / "programs" / name
            wrapper.write_text(
                f'#!/bin/bash\necho "{name} $*" >>"$WORLD/calls"\nenv >>"$WORLD/calls"\nexec {real} "$@"\n'
            )
            wrapper.chmod(0o755)
        result = node.boot()
    assert result.returncode == 0, result.stderr
    seen = result.stdout + result.stderr + "\n".join(node.calls())
    assert "curl " in seen
    for secret in (PRIVATE_KEY, SECRET_KEY, SESSION_TOKEN, "imds-token"):
        assert secret not in seen


def test_a_second_boot_keeps_the_key(default_settings: Settings, tmp_path: Path) -> None:
    """Running the script again asks for the same tunnel with the same key; nothing is made twice."""
    with a_machine(with_command(default_settings, "true"), tmp_path, enroll=[(200, TUNNEL)], ready=[(200, {})]) as (
        node,
        _,
    ):
        assert node.boot().returncode == 0
        assert node.boot().returncode == 0
    assert node.calls().count("wg genkey") == 1


@pytest.mark.parametrize("status", [400, 404, 409, 413])
def test_a_final_refusal_ends_the_join_but_not_the_node(
    default_settings: Settings, tmp_path: Path, status: int
) -> None:
    """What asking again cannot change now is asked once and logged; the boot has failed, and the watch goes on."""
    refusal = {"error": "admitting i-0abc: in no group", "retryable": False}
    with a_machine(default_settings, tmp_path, enroll=[(status, refusal)]) as (node, cloud):
        (tmp_path / "programs" / "podman").symlink_to("/bin/true")
        result = node.boot()
    assert result.returncode == 3
    assert len(cloud.requests) == 1
    assert f"POST /enroll: {status}: admitting i-0abc: in no group" in result.stderr
    assert "enrolling: refused\n" in result.stderr
    started = [call for call in node.calls() if call.startswith(("wg-quick", "setsid"))]
    assert started == [f"setsid --fork {tmp_path}/usr/local/lib/drawbridge/node keep watch"]


@pytest.mark.parametrize("refusal", ["unknown_node", "not_enrolled"])
def test_a_node_that_the_core_forgot_enrolls_again(default_settings: Settings, tmp_path: Path, refusal: str) -> None:
    """A core rebuilt between /enroll and /ready: the node enrolls again, takes the new tunnel and asks once more."""
    forgotten: tuple[int, object] = (409, {"error": "no such node", "retryable": True, "kind": refusal})
    moved = {**TUNNEL, "address": "10.100.0.9/32"}
    with (
        a_machine(
            with_command(default_settings, "true"),
            tmp_path,
            enroll=[(200, TUNNEL), (200, moved)],
            ready=[forgotten, (200, {})],
        ) as (node, cloud),
        subprocess.Popen(("sleep", "60")) as application,
    ):
        (tmp_path / "run/drawbridge-application.pid").write_text(str(application.pid))
        result = node.boot()
        assert application.wait(timeout=5) == -15
    assert result.returncode == 0, result.stderr
    assert [request.path for request in cloud.requests] == ["/enroll", "/ready", "/enroll", "/ready"]
    assert "Address = 10.100.0.9/32" in (tmp_path / "etc/wireguard/wg0.conf").read_text()
    assert [call for call in node.calls() if call.startswith("wg-quick")] == ["wg-quick up wg0"] * 2


def eventually(holds: Callable[[], bool]) -> bool:
    """Wait until ``holds``, for as long as a machine under load may take."""
    deadline = time.monotonic() + 60
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.05)
    return holds()


def test_the_watch_makes_good_a_join_that_failed(default_settings: Settings, tmp_path: Path) -> None:
    """Refused at its boot and once more, without a tunnel or even a key, the node joins as soon as it is let in."""
    held: tuple[int, object] = (409, {"error": "held by an operator", "retryable": False, "kind": "held"})
    settings = with_command(default_settings, "true")
    with a_machine(settings, tmp_path, enroll=[held, held, (200, TUNNEL)], ready=[(200, {})]) as (node, cloud):
        node.script.write_text(node.script.read_text().replace("WATCH_S=30", "WATCH_S=1"))
        assert node.boot().returncode == 3
        (tmp_path / "etc/wireguard/private.key").unlink()
        with node.running("bash", str(node.script), "watch"):
            assert eventually(lambda: "ready: open to traffic" in node.log()), node.log()
    assert [request.path for request in cloud.requests] == ["/enroll"] * 3 + ["/ready"]
    assert "joining again: failed; looking again in 2 s" in node.log()


def test_a_refused_node_asks_ever_less_often(default_settings: Settings, tmp_path: Path) -> None:
    """The pauses double up to their limit; what merely could not be done is looked at again at the usual pace."""
    settings = with_command(default_settings, "true")
    with a_machine(settings, tmp_path) as (node, _):
        line = (
            'sleep() { echo "$1"; if ((++naps > 9)); then exit; fi; }; silent() { ((naps != 9)); }; '
            "join() { if ((naps == 7)); then return 1; else return 3; fi; }; naps=0; watch"
        )
        result = node.call("eval", line)
    assert result.stdout.split() == ["30", "60", "120", "240", "480", "600", "600", "30", "60", "30"]


@pytest.mark.parametrize(
    ("status", "answer", "code"),
    [
        (200, {}, 0),
        (409, {"error": "x", "retryable": True, "kind": "unknown_node"}, 4),
        (409, {"error": "x", "retryable": True, "kind": "not_enrolled"}, 4),
        (409, {"error": "x", "retryable": False, "kind": "held"}, 3),
        (202, {"waiting_for": "handshake"}, 2),
        (429, {"Message": "Rate exceeded"}, 1),
        (500, "no json", 1),
        (502, "", 1),
        (503, {"error": "x", "retryable": True}, 1),
        (409, {"error": "not seated", "retryable": True}, 1),
        (409, {"error": "leaving", "retryable": False}, 3),
        (301, "", 3),
    ],
)
def test_each_answer_is_judged_by_whether_asking_again_can_help(
    default_settings: Settings, tmp_path: Path, status: int, answer: object, code: int
) -> None:
    """0 done, 1 ask later, 2 soon, 3 not now, 4 enroll first: by status, and by what the function says of a refusal."""
    with a_machine(default_settings, tmp_path, ready=[(status, answer)]) as (node, _):
        assert node.call("ask", "ready", "{}").returncode == code


def test_a_fresh_role_may_be_refused_a_few_times(default_settings: Settings, tmp_path: Path) -> None:
    """IAM needs seconds to know a new role; the sixth 403 is final."""
    line = "for i in 1 2 3 4 5 6; do ask ready {}; echo $?; done"
    with a_machine(default_settings, tmp_path, ready=[(403, {"Message": "Forbidden"})]) as (node, _):
        result = node.call("eval", line)
    assert result.stdout.split() == ["1", "1", "1", "1", "1", "3"]


def test_a_hostile_reason_is_cut_and_printable(default_settings: Settings, tmp_path: Path) -> None:
    """An answer cannot forge lines of the boot log, nor fill it."""
    with a_machine(
        default_settings, tmp_path, ready=[(400, {"error": "x\n2026 drawbridge: ready\x1b[2J" + "y" * 900})]
    ) as (node, _):
        result = node.call("ask", "ready", "{}")
    (line,) = result.stderr.splitlines()
    assert line.isprintable()
    assert len(line) < 400


# --- what is believed of an answer ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("instance", "i-0someoneelse"),
        ("address", "10.100.0.7"),
        ("address", "10.100.0.7/24"),
        ("address", "10.100.0.256/32"),
        ("address", "10.100.0.7/32\nPostUp = touch /tmp/owned"),
        ("address", ["10.100.0.7/32"]),
        ("core_address", "10.100.0.1/32"),
        ("core_address", "0.0.0.0/0, 10.100.0.1"),
        ("core_address", "010.100.0.1"),
        ("core_public_key", "short="),
        ("core_public_key", "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Df="),
        ("core_public_key", None),
        ("endpoint", "192.0.2.1"),
        ("endpoint", "192.0.2.1:65536"),
        ("endpoint", "-x:51820"),
        ("endpoint", "$(id):51820"),
        ("endpoint", "core.example.com:51820\n"),
        ("mtu", 9000),
        ("mtu", "1360; reboot"),
        ("mtu", 1360.5),
        ("keepalive_s", 0),
        ("keepalive_s", -25),
        ("keepalive_s", True),
    ],
)
def test_a_malformed_value_writes_nothing(default_settings: Settings, tmp_path: Path, name: str, value: object) -> None:
    """wg-quick obeys its file as root, PostUp included: one bad word and the old file stays as it was."""
    with a_machine(default_settings, tmp_path, enroll=[(200, {**TUNNEL, name: value})]) as (node, _):
        (tmp_path / "etc/wireguard/private.key").write_text(PRIVATE_KEY)
        result = node.call("enroll")
    assert result.returncode == 3
    assert "reading the answer to /enroll: " in result.stderr
    assert not (tmp_path / "etc/wireguard/wg0.conf").exists()


@pytest.mark.parametrize("answer", ["", "[]", "null", '"text"', "{", "<html>", "{}{}"])
def test_an_answer_of_another_shape_writes_nothing(default_settings: Settings, tmp_path: Path, answer: str) -> None:
    """A proxy's page or half a document is no tunnel."""
    with a_machine(default_settings, tmp_path, enroll=[(200, answer)]) as (node, _):
        (tmp_path / "etc/wireguard/private.key").write_text(PRIVATE_KEY)
        result = node.call("enroll")
    assert result.returncode == 3
    assert not (tmp_path / "etc/wireguard/wg0.conf").exists()


# --- afterwards -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("age_s", "silent"), [(10, False), (170, False), (200, True), (None, True)])
def test_a_tunnel_is_silent_after_three_minutes(
    default_settings: Settings, tmp_path: Path, age_s: int | None, *, silent: bool
) -> None:
    """A live tunnel shakes hands every two minutes; one that never did counts as silent."""
    with a_machine(default_settings, tmp_path) as (node, _):
        (tmp_path / "handshake").write_text(str(int(time.time()) - age_s) if age_s is not None else "0")
        assert (node.call("silent").returncode == 0) is silent


def test_a_silent_node_joins_again_and_moves_with_its_address(default_settings: Settings, tmp_path: Path) -> None:
    """A rebuilt core may give another address: the tunnel comes up anew and the application is started there."""
    moved = {**TUNNEL, "address": "10.100.0.9/32"}
    with a_machine(
        with_command(default_settings, "true"), tmp_path, enroll=[(200, TUNNEL), (200, moved)], ready=[(200, {})]
    ) as (node, cloud):
        assert node.boot().returncode == 0
        with subprocess.Popen(("sleep", "60")) as application:
            (tmp_path / "run/drawbridge-application.pid").write_text(str(application.pid))
            result = node.call("join")
            assert result.returncode == 0, result.stderr
            assert application.wait(timeout=5) == -15
    assert [request.path for request in cloud.requests] == ["/enroll", "/ready"] * 2
    assert "Address = 10.100.0.9/32" in (tmp_path / "etc/wireguard/wg0.conf").read_text()


def test_the_application_is_told_where_to_listen(default_settings: Settings, tmp_path: Path) -> None:
    """A command learns the tunnel's address and its port from its environment."""
    settings = with_command(default_settings, "sh", "-c", 'echo "$DRAWBRIDGE_ADDRESS:$DRAWBRIDGE_PORT"')
    with a_machine(settings, tmp_path) as (node, _):
        (tmp_path / "etc/wireguard/wg0.conf").write_text("[Interface]\nAddress = 10.100.0.7/32\n")
        assert node.call("application").stdout == "10.100.0.7:8080\n"


def test_a_container_is_published_on_the_tunnel_alone(default_settings: Settings, tmp_path: Path) -> None:
    """Not on the public interface, and not in the host's network, from where it could ask for credentials."""
    application = Application(port=8080, image=ImageReference("registry.example.com/app@sha256:00"))
    with a_machine(dataclasses.replace(default_settings, application=application), tmp_path) as (node, _):
        (tmp_path / "programs/podman").write_text('#!/bin/sh\necho "$@"\n')
        (tmp_path / "programs/podman").chmod(0o755)
        (tmp_path / "etc/wireguard/wg0.conf").write_text("[Interface]\nAddress = 10.100.0.7/32\n")
        argv = node.call("application").stdout
    assert "--publish 10.100.0.7:8080:8080 " in argv
    assert argv.endswith("registry.example.com/app@sha256:00\n")
    assert "--network" not in argv


def test_what_dies_is_started_again_and_runs_once(default_settings: Settings, tmp_path: Path) -> None:
    """Without systemd a lock and a loop stand in for it: a second keeper leaves at once."""
    settings = with_command(default_settings, "sh", "-c", "echo started >>$WORLD/starts")
    starts = tmp_path / "starts"
    starts.touch()
    with a_machine(settings, tmp_path) as (node, _):
        node.run("install", "-D", str(node.script), str(tmp_path / "usr/local/lib/drawbridge/node"))
        with node.running("bash", str(node.script), "keep", "application"):
            assert eventually(lambda: len(starts.read_text().splitlines()) >= 2), node.log()
            second = node.run("bash", str(node.script), "keep", "application")
        assert (second.returncode, second.stderr) == (0, "")


def test_an_unknown_part_is_named(default_settings: Settings, tmp_path: Path) -> None:
    """A mistyped call says what would have been understood."""
    with a_machine(default_settings, tmp_path) as (node, _):
        result = node.run("bash", str(node.script), "dance")
    assert result.returncode == 2
    assert "wanted boot, watch, application or keep ROLE, found 'dance'" in result.stderr
