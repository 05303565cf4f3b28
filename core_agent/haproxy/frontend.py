"""HAProxy's side towards the users: where it listens, who a user is, and which requests are sent to TLS; pure.

It knows nothing of servers: what happens to a request that is let in stands in ``core_first``.
"""

from __future__ import annotations

from collections.abc import Iterator

from settings.tables import Frontend

# Mozilla's intermediate configuration, 5.7, without the suites that need a file of Diffie-Hellman parameters.
_CIPHERS = ":".join(
    f"ECDHE-{signature}-{cipher}"
    for cipher in ("AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305")
    for signature in ("ECDSA", "RSA")
)
_SUITES = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"

# HAProxy has the names in lower case. Letters, digits and hyphens are what every application keeps apart.
_MISSPELT = "^x([^-a-z0-9](forwarded|real[^a-z0-9]ip)|-(forwarded.*|real)[^-a-z0-9])"

# Set in the environment, it makes HAProxy judge the file without what cannot be had in the agent's sandbox: the
# certificate's key, which is not for the agent, and regular expressions, which HAProxy compiles to machine code.
IN_SANDBOX = "DRAWBRIDGE_IN_SANDBOX"


def tls_defaults(frontend: Frontend) -> Iterator[str]:
    """Yield the lines of ``global`` that TLS needs, an operator's own ``bind`` included; none without TLS."""
    if frontend.tls_bind is not None:
        yield "# Mozilla's intermediate configuration: every browser since 2014."
        yield f"ssl-default-bind-ciphers {_CIPHERS}"
        yield f"ssl-default-bind-ciphersuites {_SUITES}"
        yield "ssl-default-bind-options prefer-client-ciphers ssl-min-ver TLSv1.2 no-tls-tickets"


def lines(frontend: Frontend) -> Iterator[str]:
    """Yield the frontend's lines but its name and its backend; one that begins with a dot is no part of a section."""
    yield f"bind {frontend.bind}"
    yield from _tls_bind(frontend)
    yield from _sender(frontend)
    yield from _redirect(frontend)


def _tls_bind(frontend: Frontend) -> Iterator[str]:
    if frontend.tls_bind is None:
        return
    yield "# The agent, which may not read the certificate's key, lets this file be checked without this line."
    yield f".if !defined({IN_SANDBOX})"
    yield f"bind {frontend.tls_bind} ssl crt {frontend.certificate} alpn h2,http/1.1"
    yield ".endif"


def _sender(frontend: Frontend) -> Iterator[str]:
    """Who the user is: the connection's address, or what a proxy that is trusted says."""
    for network in frontend.trusted_proxies:
        yield f"acl trusted_proxy src {network}"
    if frontend.accept_proxy:
        yield "# Their connections begin with PROXY protocol, which says who the user is; nobody else's may."
        yield "tcp-request connection expect-proxy layer4 if trusted_proxy"
    strangers = " unless trusted_proxy" if frontend.trusted_proxies else ""
    yield "# Anybody can write these headers, so what a stranger says in them is not passed on."
    yield f"http-request del-header Forwarded{strangers}"
    yield f"http-request del-header X-Real-IP{strangers}"
    yield f"http-request del-header X-Forwarded -m beg{strangers}"
    yield "# CGI's names make X_Forwarded_For, or X.Real.IP, the same variable. No proxy writes them so: nobody may."
    yield f".if !defined({IN_SANDBOX})"
    yield f"http-request del-header {_MISSPELT} -m reg"
    yield ".endif"
    told = " !{ req.hdr(X-Forwarded-Proto) -m found }"
    yield f"http-request set-header X-Forwarded-Proto https if {{ ssl_fc }}{told}"
    yield f"http-request set-header X-Forwarded-Proto http if{told}"
    yield "option forwardfor"


def _redirect(frontend: Frontend) -> Iterator[str]:
    if frontend.tls_bind is None or not frontend.redirect_to_tls:
        return
    _, _, port = frontend.tls_bind.partition(":")
    where = "" if port == "443" else f":{port}"
    host = "%[req.hdr(Host),host_only]"
    plain = f"!{{ req.hdr(X-Forwarded-Proto) -i https }} !{{ path {frontend.health_path} }}"
    yield "# 308 keeps the method. Monitors that know no TLS still get the health path."
    yield f'http-request redirect location "https://{host}{where}%[pathq]" code 308 if {plain}'
