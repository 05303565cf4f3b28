"""HTTPS to users: what is shown, what is refused, who is sent there; and what HAProxy says of a bad certificate."""

from __future__ import annotations

import http.client
import os
import ssl
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from core_agent.contract.names import Reason
from core_agent.desired import CoreSlots
from core_agent.errors import CommandFailed
from core_agent.haproxy import config
from core_agent.host import check_haproxy
from core_agent.install import operator_file
from core_agent.roll import Burst
from settings import Settings
from settings.words import FilePath
from tests.proxy.conftest import MakeSite
from tests.proxy.proxy_under_test import free_port
from tests.proxy.test_file import loaded
from tests.proxy.test_users import told


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate with its key, as one PEM file."""
    folder = tmp_path_factory.mktemp("certificate")
    key, shown = folder / "key.pem", folder / "shown.pem"
    argv = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=shop.example", "-days", "2")
    subprocess.run((*argv, "-keyout", str(key), "-out", str(shown)), check=True, capture_output=True)
    both = folder / "site.pem"
    both.write_text(shown.read_text() + key.read_text())
    return both


def tls(certificate: Path, more: str = "") -> tuple[int, str]:
    """Return a port for HTTPS and the lines for ``[frontend]``."""
    port = free_port()
    return port, f'tls_bind = "127.0.0.1:{port}"\ncertificate = "{certificate}"\n{more}'


def anybody(*versions: ssl.TLSVersion) -> ssl.SSLContext:
    """Return a client's context that believes every certificate, of these versions only, when any are named."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if versions:
        context.set_ciphers("ALL:@SECLEVEL=0")  # or this side would be the one that refuses
        context.minimum_version, context.maximum_version = versions[0], versions[-1]
    return context


def get(port: int, path: str = "/", *, context: ssl.SSLContext | None = None) -> http.client.HTTPResponse:
    """Ask over TLS."""
    connection = http.client.HTTPSConnection("127.0.0.1", port, context=context or anybody(), timeout=10)
    connection.request("GET", path)
    response = connection.getresponse()
    response.read()
    connection.close()
    return response


def test_users_are_served_over_http_2(site: MakeSite, certificate: Path) -> None:
    """With ALPN; the application is told that it was HTTPS."""
    port, frontend = tls(certificate)
    proxy, applications = site(5, frontend=frontend)
    proxy.start()
    argv = (
        "curl",
        "--silent",
        "--insecure",
        "--noproxy",
        "*",
        "--http2",
        "--max-time",
        "10",
        "--write-out",
        " %{http_version}",
    )
    answered = subprocess.run((*argv, f"https://127.0.0.1:{port}/"), capture_output=True, text=True, check=True)
    assert answered.stdout == "c1 2"
    assert told(applications["c1"]) == {"x-forwarded-for": ["127.0.0.1"], "x-forwarded-proto": ["https"]}


def test_old_versions_are_refused(site: MakeSite, certificate: Path) -> None:
    """TLS 1.2 and 1.3 are spoken, 1.1 is not."""
    port, frontend = tls(certificate)
    proxy, _ = site(5, frontend=frontend)
    proxy.start()
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        assert get(port, context=anybody(version)).status == 200
    with pytest.warns(DeprecationWarning, match="TLSv1"), pytest.raises(ssl.SSLError):
        get(port, context=anybody(ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1))


def test_plain_http_is_sent_to_tls(site: MakeSite, certificate: Path) -> None:
    """308, so a POST stays one; to the same host, path and query; the health path is answered as ever."""
    port, frontend = tls(certificate)
    proxy, applications = site(5, frontend=frontend)
    proxy.start()
    answer = proxy.get("/a/b?c=d", method="POST", headers={"Host": "shop.example:80"}, body=b"order")
    assert (answer.status, answer.headers["location"]) == (308, f"https://shop.example:{port}/a/b?c=d")
    assert applications["c1"].seen == []
    assert proxy.get("/health").status == 200


def test_the_port_of_https_is_not_said_when_it_is_the_usual_one() -> None:
    """Users see the address that they know."""
    text = text_of(loaded('tls_bind = ":443"\ncertificate = "/x.pem"\n'))
    assert '"https://%[req.hdr(Host),host_only]%[pathq]" code 308' in text


def test_plain_http_may_stay(site: MakeSite, certificate: Path) -> None:
    """With `redirect_to_tls = false` both are served."""
    port, frontend = tls(certificate, "redirect_to_tls = false\n")
    proxy, _ = site(5, frontend=frontend)
    proxy.start()
    assert (proxy.get().status, get(port).status) == (200, 200)


def test_what_a_trusted_proxy_took_over_tls_is_not_sent_there_again(site: MakeSite, certificate: Path) -> None:
    """Its word is `X-Forwarded-Proto`; a stranger's is worth nothing."""
    _, frontend = tls(certificate, 'trusted_proxies = ["127.0.0.1/32"]\n')
    proxy, _ = site(5, frontend=frontend)
    proxy.start()
    assert proxy.get(headers={"X-Forwarded-Proto": "https"}).status == 200
    assert proxy.get().status == 308


def test_a_secure_cookie_where_all_is_tls(site: MakeSite, certificate: Path) -> None:
    """The browser then never says it in the open."""
    port, frontend = tls(certificate, 'sticky_cookie = "WHERE"\n')
    proxy, _ = site(5, frontend=frontend)
    proxy.start()
    assert get(port).headers["Set-Cookie"] == "WHERE=c1; Path=/; HttpOnly; SameSite=Lax; Secure"


def text_of(of: Settings) -> str:
    """Return the agent's file without nodes, for this machine's users."""
    core = {str(one.name): CoreSlots(slots=one.maxconn, reserve=0) for one in of.core.servers}
    text = config.render(of, Burst(level_percent=0, reason=Reason("test")), core, ())
    return text.replace(" group drawbridge-agent", "")


def showing(folder: Path, certificate: Path) -> Path:
    """Return the agent's file, that shows ``certificate``, in ``folder``."""
    of = loaded('tls_bind = ":443"\ncertificate = "/x.pem"\n')
    path = folder / "haproxy.cfg"
    path.write_text(text_of(replace(of, frontend=replace(of.frontend, certificate=FilePath(str(certificate))))))
    return path


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "unable to stat SSL certificate from file '.*site.pem' : No such file or directory"),
        ("", "unable to load certificate from file '.*site.pem'"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "unable to load certificate"),
        ("no key", "No Private Key found in '.*site.pem"),
        ("folder", "no SSL certificate specified for bind ':443'"),
    ],
)
def test_the_installation_tells_what_is_wrong_with_a_certificate(
    tmp_path: Path, certificate: Path, content: str | None, says: str
) -> None:
    """Missing, empty, broken, without its key, or a folder with none: HAProxy's own words, with the file's name."""
    shown = tmp_path / "site.pem"
    if content == "folder":
        shown.mkdir()
    elif content == "no key":
        shown.write_text(certificate.read_text().partition("-----BEGIN PRIVATE")[0])
    elif content is not None:
        shown.write_text(content)
    with pytest.raises(CommandFailed, match=says):
        operator_file.judge(showing(tmp_path, shown))


def test_the_agent_needs_no_certificate_to_judge_its_file(tmp_path: Path) -> None:
    """It may not read the key; what else is wrong with the file it still sees."""
    path = showing(tmp_path, tmp_path / "for-root-alone.pem")
    check_haproxy(path)
    path.write_text(path.read_text().replace("option forwardfor", "option nonsense"))
    with pytest.raises(CommandFailed, match="unknown option 'nonsense'"):
        check_haproxy(path)


def test_a_certificate_that_may_not_be_read_says_so(tmp_path: Path, certificate: Path) -> None:
    """As whoever has HAProxy judge it: root can read all, so this is asked as nobody."""
    shown = tmp_path / "site.pem"
    shown.write_text(certificate.read_text())
    shown.chmod(0o600)
    path = showing(tmp_path, shown)
    path.chmod(0o644)
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(folder.stat().st_mode | 0o011)
    as_nobody = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "haproxy", "-c", "-f", str(path))
    judged = subprocess.run(as_nobody, capture_output=True, text=True, check=False, env={"PATH": os.environ["PATH"]})
    assert f"cannot open the file '{shown}'" in judged.stderr
