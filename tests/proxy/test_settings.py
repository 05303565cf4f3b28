"""What the frontend's keys refuse, and in which words."""

from __future__ import annotations

import pytest

from core_agent.errors import SettingsError
from tests.proxy.test_file import loaded


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ("queue_s = 0", r"frontend\.queue_s: wanted 1 to 300, found 0"),
        ("queue_factor = 1001", r"frontend\.queue_factor: wanted 1 to 1000, found 1001"),
        ('retry_after_s = "2"', r"frontend\.retry_after_s: wanted a whole number, found '2'"),
        ("tls_bind = 443", r"frontend\.tls_bind: wanted ADDRESS:PORT or :PORT, found 443|tls_bind: wanted a string"),
        ('tls_bind = ":443"', r"frontend\.certificate: wanted the PEM file that frontend\.tls_bind shows, found none"),
        ('certificate = "/x.pem"', r"frontend\.tls_bind: wanted where frontend\.certificate is shown, such as :443"),
        (
            'tls_bind = ":443"\ncertificate = "x.pem"',
            r"frontend\.certificate: wanted an absolute path .*found 'x\.pem'",
        ),
        ('tls_bind = ":443"\ncertificate = "/a/../b"', r"frontend\.certificate: wanted an absolute path"),
        ('tls_bind = ":443"\ncertificate = "/a b"', r"frontend\.certificate: wanted an absolute path"),
        (
            'tls_bind = "192.0.2.1:80"\ncertificate = "/x.pem"',
            r"frontend\.tls_bind: wanted a place apart from frontend\.bind \(:80\), found 192\.0\.2\.1:80",
        ),
        ('tls_bind = ":9469"\ncertificate = "/x.pem"', r"metrics_port: .*9469, which is taken by frontend\.tls_bind"),
        ('redirect_to_tls = "yes"', r"frontend\.redirect_to_tls: wanted true or false, found 'yes'"),
        ('trusted_proxies = "192.0.2.1"', r"frontend\.trusted_proxies: wanted a list, found '192\.0\.2\.1'"),
        ('trusted_proxies = ["192.0.2.1/24"]', r"frontend\.trusted_proxies\[0\]: wanted an IPv4 network"),
        ('trusted_proxies = ["0.0.0.0/0"]', r"wanted the proxies' networks, found 0\.0\.0\.0/0, which is everybody"),
        (
            'trusted_proxies = ["192.0.2.0/24", "192.0.2.0/24"]',
            r"wanted each network once, found 192\.0\.2\.0/24 twice",
        ),
        ("accept_proxy = true", r"frontend\.trusted_proxies: wanted the proxies that frontend\.accept_proxy is about"),
        ("send_proxy = 1", r"frontend\.send_proxy: wanted true or false, found 1"),
        ('sticky_cookie = "a b"', r"frontend\.sticky_cookie: wanted a cookie's name: .*found 'a b'"),
        ('sticky_cookie = ""', r"frontend\.sticky_cookie: wanted a cookie's name"),
    ],
)
def test_what_cannot_be_is_refused_by_its_key(lines: str, says: str) -> None:
    """One sentence: the key, what was wanted, what was found."""
    with pytest.raises(SettingsError, match=says):
        loaded(f"{lines}\n")


def test_https_may_have_the_port_of_http_on_another_address() -> None:
    """Only what would collide is refused."""
    frontend = loaded('tls_bind = "192.0.2.1:443"\ncertificate = "/etc/haproxy/certs"\n').frontend
    assert (frontend.bind, frontend.tls_bind, frontend.certificate) == (":80", "192.0.2.1:443", "/etc/haproxy/certs")
