"""The file itself: its text for a plain and for a full configuration, and HAProxy's judgement of a great variety."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

import settings
from core_agent.contract.names import Reason
from core_agent.desired import CoreSlots, Mode, Server
from core_agent.haproxy import config
from core_agent.roll import Burst
from settings import Settings

_GOLDEN = Path(__file__).parent / "golden"
_FULL = """\
tls_bind = ":443"
certificate = "/etc/haproxy/site.pem"
trusted_proxies = ["192.0.2.0/24", "198.51.100.7/32"]
accept_proxy = true
send_proxy = true
sticky_cookie = "WHERE"
queue_s = 8
queue_factor = 10
retry_after_s = 3
"""


def loaded(frontend: str = "", *, core: int = 1) -> Settings:
    """Return the repository's settings with more lines for ``[frontend]`` and this many core servers."""
    text = Path("drawbridge.toml").read_text().replace('bind = ":80"\n', f'bind = ":80"\n{frontend}')
    more = "".join(
        f'[[core.servers]]\nname = "no-{number}"\naddress = "127.0.0.1"\nport = {8080 + number}\nmaxconn = 25\n'
        for number in range(2, core + 1)
    )
    return settings.parse(text.replace("[tunnel]\n", f"{more}[tunnel]\n"), source="test")


def text_of(of: Settings, *, level: int = 25, share: int = 100, told: str | None = None) -> str:
    """Return the file with two nodes, one of them closed; ``told`` is why an operator set the first server's slots."""
    core = {str(one.name): CoreSlots(slots=one.maxconn, reserve=0) for one in of.core.servers}
    if told is not None:
        core["no-primary"] = CoreSlots(slots=60, reserve=60 - 60 * share // 100, reason=told)
    servers = [
        Server(name=name, id=number, address=address, mode=mode, weight=7, maxconn=7)
        for name, number, address, mode in (
            ("i-2", 1003, "10.100.0.3", Mode.MAINT),
            ("i-1", 1002, "10.100.0.2", Mode.READY),
        )
    ]
    return config.render(of, Burst(level_percent=level, core_percent=share, reason=Reason("a test")), core, servers)


def judged(text: str) -> str:
    """Return what HAProxy says of ``text``, as the agent has it judged: nothing but that it is valid, when it is."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "haproxy.cfg"
        # Only root on a core has the group.
        path.write_text(text.replace(" group drawbridge-agent", ""))
        return subprocess.run(
            ("haproxy", "-c", "-f", str(path)),
            env={"PATH": "/usr/sbin:/usr/bin", "DRAWBRIDGE_IN_SANDBOX": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        ).stdout


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("plain.cfg", text_of(loaded())),
        ("full.cfg", text_of(loaded(_FULL, core=3), level=0, share=80, told="measured on Monday")),
    ],
)
def test_the_text_is_what_was_agreed(name: str, text: str) -> None:
    """Read the difference, and when it is meant, write the new text over the file in `golden`."""
    assert text == (_GOLDEN / name).read_text()
    assert judged(text) == "Configuration file is valid\n"


_NETWORKS: st.SearchStrategy[list[str]] = st.lists(
    st.sampled_from(["192.0.2.0/24", "198.51.100.7/32", "10.0.0.0/8", "203.0.113.0/24"]), max_size=4, unique=True
)


@st.composite
def frontends(draw: st.DrawFn) -> str:
    """Any combination of the frontend's keys that its checks admit."""
    lines = [
        f"queue_s = {draw(st.integers(1, 300))}",
        f"queue_factor = {draw(st.integers(1, 1000))}",
        f"retry_after_s = {draw(st.integers(1, 3600))}",
        f"send_proxy = {str(draw(st.booleans())).lower()}",
    ]
    networks = draw(_NETWORKS)
    lines.append(f"trusted_proxies = {networks}".replace("'", '"'))
    if draw(st.booleans()) and networks:
        lines.append("accept_proxy = true")
    if draw(st.booleans()):
        lines.append(f'sticky_cookie = "{draw(st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True))}"')
    if draw(st.booleans()):
        port = draw(st.sampled_from([":443", "192.0.2.1:8443"]))
        lines += [f'tls_bind = "{port}"', 'certificate = "/etc/haproxy/certs"']
        lines.append(f"redirect_to_tls = {str(draw(st.booleans())).lower()}")
    return "\n".join(lines) + "\n"


@hypothesis_settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(frontend=frontends(), core=st.integers(1, 5), level=st.integers(0, 100), share=st.integers(1, 100))
def test_haproxy_takes_every_file_without_a_warning(frontend: str, core: int, level: int, share: int) -> None:
    """Whatever the settings say, as long as they are admitted."""
    assert judged(text_of(loaded(frontend, core=core), level=level, share=share)) == "Configuration file is valid\n"


def test_connections_follow_the_slots_and_the_queue() -> None:
    """Twice what can be worked on and wait; and never more than a service has descriptors for."""
    # 50 slots at home, 20 nodes of 28, and the queue's places for each slot at home.
    for factor, connections in ((1, 1320), (20, 3220), (100, 11_220), (1000, 101_220)):
        assert f"\n    maxconn {connections}\n" in text_of(loaded(f"queue_factor = {factor}\n"))
    assert "\n    maxconn 200000\n" in text_of(loaded("queue_factor = 1000\n", core=5))
