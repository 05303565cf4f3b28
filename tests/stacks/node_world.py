"""What surrounds the boot script in a test: metadata service, function URL behind TLS, and a machine made of a folder.

The script itself, curl and jq are the real ones, and the signature is recomputed by botocore; ``wg``, ``wg-quick`` and
``ip`` are stand-ins that record how they were called. It must not know what the script ought to do.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
import os
import signal
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

INSTANCE = "i-0abc1234def567890"
SECRET_KEY = "se/cret+Key"
SESSION_TOKEN = "IQoJ/to+ken=="
CREDENTIALS = Credentials("ASIAEXAMPLE", SECRET_KEY, SESSION_TOKEN)
PRIVATE_KEY = "aPrivateKeyThatNobodyMaySee0000000000000000="
TUNNEL = {
    "instance": INSTANCE,
    "address": "10.100.0.7/32",
    "core_address": "10.100.0.1",
    "core_public_key": "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=",
    "endpoint": "192.0.2.1:51820",
    "mtu": 1360,
    "keepalive_s": 25,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request that reached the function URL; ``signed`` says whether IAM would have let it in."""

    path: str
    body: str
    signed: bool


@dataclass(slots=True, kw_only=True)
class Cloud:
    """The two services; ``answers`` maps a path to the answers still to be given, the last of which is repeated."""

    answers: dict[str, list[tuple[int, object]]]
    requests: list[Request] = field(default_factory=list)
    metadata_port: int = 0
    url_port: int = 0

    def answer(self, path: str) -> tuple[int, object]:
        """The next answer for ``path``."""
        waiting = self.answers[path]
        return waiting.pop(0) if len(waiting) > 1 else waiting[0]


class _Metadata(BaseHTTPRequestHandler):
    """IMDSv2: nothing without a token."""

    def do_PUT(self) -> None:  # http.server's name
        self._say(200, "imds-token" if self.headers["X-aws-ec2-metadata-token-ttl-seconds"] else "")

    def do_GET(self) -> None:  # http.server's name
        if self.headers["X-aws-ec2-metadata-token"] != "imds-token":
            self._say(401, "")
            return
        known = {
            "/latest/meta-data/instance-id": INSTANCE,
            "/latest/meta-data/placement/region": "eu-north-1",
            "/latest/meta-data/iam/security-credentials/": "drawbridge-node-eu-north-1",
            "/latest/meta-data/iam/security-credentials/drawbridge-node-eu-north-1": json.dumps(
                {
                    "AccessKeyId": CREDENTIALS.access_key,
                    "SecretAccessKey": SECRET_KEY,
                    "Token": SESSION_TOKEN,
                }
            ),
        }
        self._say(200 if self.path in known else 404, known.get(self.path, ""))

    def _say(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        """Stay quiet."""


def _url_handler(cloud: Cloud) -> type[BaseHTTPRequestHandler]:
    class Url(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # http.server's name
            body = self.rfile.read(int(self.headers["Content-Length"]))
            cloud.requests.append(Request(path=self.path, body=body.decode(), signed=self._signed(body)))
            status, answer = cloud.answer(self.path)
            data = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def _signed(self, body: bytes) -> bool:
            """Sign the same request again with the credentials that the metadata service gave out."""
            authorization = self.headers["Authorization"]
            names = authorization.split("SignedHeaders=")[1].split(",")[0].split(";")
            request = AWSRequest(
                method="POST",
                url=f"https://{self.headers['Host']}{self.path}",
                data=body,
                headers={name: self.headers[name] for name in names},
            )
            request.context["timestamp"] = self.headers["X-Amz-Date"]
            signer = SigV4Auth(CREDENTIALS, "lambda", "eu-north-1")
            signature = signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)
            return authorization.endswith(f"Signature={signature}") and "x-amz-security-token" in names

        def log_message(self, *_: object) -> None:
            """Stay quiet."""

    return Url


@contextmanager
def serving(cloud: Cloud, folder: Path) -> Iterator[None]:
    """Run both services on loopback; the authority that signed the certificate is in ``folder/ca.pem``."""
    metadata = ThreadingHTTPServer(("127.0.0.1", 0), _Metadata)
    url = ThreadingHTTPServer(("127.0.0.1", 0), _url_handler(cloud))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(_certificate(folder))
    url.socket = context.wrap_socket(url.socket, server_side=True)
    cloud.metadata_port, cloud.url_port = metadata.server_port, url.server_port
    threads = [threading.Thread(target=server.serve_forever, args=(0.05,)) for server in (metadata, url)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for server in (metadata, url):
            server.shutdown()
            server.server_close()
        for thread in threads:
            thread.join()


def _certificate(folder: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "loopback")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    (folder / "ca.pem").write_bytes(pem)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "server.pem").write_bytes(private + pem)
    return folder / "server.pem"


_STAND_INS = {
    "wg": f"""
case "$1" in
  genkey) echo {PRIVATE_KEY} ;;
  pubkey) cat >/dev/null; echo HIgo9xNzJMWLKASShiTqIybxZ0U3wGLiUeJ1PKf8ykw= ;;
  show) printf 'peer\\t%s\\n' "$(cat "$WORLD/handshake")" ;;
esac""",
    "wg-quick": "",
    "ip": "exit 1",
    "setsid": "",
}


class Machine:
    """A folder that stands for a node's root: the rendered script with its absolute paths moved into it."""

    def __init__(self, root: Path, script: str, cloud: Cloud) -> None:
        self.root = root
        for path in ("/etc/", "/usr/local/", "/var/", "/run/"):
            script = script.replace(f" {path}", f" {root}{path}").replace(f"={path}", f"={root}{path}")
            script = script.replace(f'"{path}', f'"{root}{path}').replace(f"<{path}", f"<{root}{path}")
        script = script.replace("http://169.254.169.254/", f"http://127.0.0.1:{cloud.metadata_port}/")
        self.script = root / "user-data"
        self.script.write_text(script)
        programs = root / "programs"
        programs.mkdir()
        for name, body in _STAND_INS.items():
            program = programs / name
            program.write_text(f'#!/bin/bash\necho "{name} $*" >>"$WORLD/calls"\n{body}\n')
            program.chmod(0o755)
        for directory in ("etc/wireguard", "run", "var/log"):
            (root / directory).mkdir(parents=True)
        (root / "calls").write_text("")
        (root / "handshake").write_text("0")

    def run(self, *argv: str, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
        """Run ``argv`` as the script would be run on the node, output captured."""
        return subprocess.run(
            argv, env=self._environment(), capture_output=True, text=True, check=False, timeout=timeout_s
        )

    def boot(self) -> subprocess.CompletedProcess[str]:
        """Run the user data as cloud-init does."""
        return self.run("bash", str(self.script))

    def call(self, function: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Call one function of the script, sourced; globals that ``join`` would have set are set."""
        joining = f"instance={INSTANCE} region=eu-north-1 forbidden=0 answer={self.root}/answer"
        line = f'source "$1"; shift; set +e; {joining}; "$@"'
        return self.run("bash", "-c", line, "bash", str(self.script), function, *arguments)

    @contextmanager
    def running(self, *argv: str) -> Iterator[None]:
        """Run ``argv`` in the background, its log in ``log``; it and all that it started end with the block."""
        with (
            (self.root / "log").open("ab") as log,
            subprocess.Popen(argv, env=self._environment(), stderr=log, start_new_session=True) as process,
        ):
            try:
                yield
            finally:
                os.killpg(process.pid, signal.SIGKILL)

    def log(self) -> str:
        """What was logged in the background."""
        return (self.root / "log").read_text()

    def calls(self) -> list[str]:
        """Every call of a stand-in, in order."""
        return (self.root / "calls").read_text().splitlines()

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": f"{self.root}/programs:{os.environ['PATH']}",
            "WORLD": str(self.root),
            "CURL_CA_BUNDLE": str(self.root / "ca.pem"),
        }
