"""Knows the HTTPS front of the function URLs: who may call, how a request becomes an invocation; not what for."""

from __future__ import annotations

import json
import ssl
import tempfile
import threading
import uuid
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from demo.aws import certificates, grants, payload
from demo.aws.credentials import CredentialStore
from demo.aws.functions import Functions, Throttled
from demo.aws.gaps import Moto
from demo.aws.journal import Journal
from demo.aws.lambda_api import url_owner
from demo.aws.payload import Caller, HttpAnswer, HttpRequest
from demo.aws.place import Place
from demo.aws.policies import allowed
from demo.aws.sigv4 import NotSigned, RawRequest, Verifier

_MAX_BODY = 6 << 20
_CLIENT_TIMEOUT_S = 60
_FORBIDDEN = (
    "Forbidden. For troubleshooting Function URL authorization issues, see: "
    "https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html"
)


class FunctionUrls:
    """Serves ``https://ID.lambda-url.REGION.on.aws/`` on one address, with a certificate from its own authority."""

    def __init__(
        self,
        place: Place,
        functions: Functions,
        credentials: CredentialStore,
        *,
        bind: tuple[str, int],
        ca_path: Path,
        journal: Journal,
    ) -> None:
        self._place = place
        self._functions = functions
        self._credentials = credentials
        self._journal = journal
        self._verifier = Verifier(region=place.region, service="lambda", holder_of=credentials.find)
        self._server = _Server(bind, _handler(self), _tls(f"*.lambda-url.{place.region}.on.aws", ca_path))
        self._thread = threading.Thread(target=self._server.serve_forever, name="function-urls", daemon=True)

    @property
    def port(self) -> int:
        """The port that was bound: the one asked for, or any for 0."""
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Listen no more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def respond(self, request: RawRequest, *, source_ip: str, protocol: str) -> HttpAnswer:
        """Verify, authorize, invoke."""
        now = datetime.now(UTC)
        function = url_owner(self._place.backend("lambda"), request.headers.get("host", "").partition(":")[0])
        if function is None:
            return _refusal("AccessDeniedException", _FORBIDDEN)
        try:
            holder = self._verifier.verify(request, now=now)
        except NotSigned as refusal:
            self._journal.say("function-url", f"{source_ip} refused: {refusal.error_type}: {refusal}")
            return _refusal(refusal.error_type, str(refusal))
        role = self._place.backend("iam").get_role(holder.credentials.role_name)
        caller = Caller(
            access_key_id=holder.credentials.access_key_id,
            account=holder.account,
            role_name=role.name,
            role_id=role.id,
            instance_id=holder.instance_id,
        )
        if not self._may_call(role, function, caller):
            self._journal.say("function-url", f"{caller.session_arn} refused: its policies do not allow it")
            return _refusal("AccessDeniedException", _FORBIDDEN)
        return self._invoke(function, request, caller, source_ip=source_ip, protocol=protocol, now=now)

    def _invoke(
        self, function: Moto, request: RawRequest, caller: Caller, *, source_ip: str, protocol: str, now: datetime
    ) -> HttpAnswer:
        request_id = str(uuid.uuid4())
        received = HttpRequest(
            method=request.method,
            target=request.target,
            headers=_lowered(request),
            body=request.body,
            source_ip=source_ip,
            protocol=protocol,
        )
        event = payload.event(received, caller=caller, request_id=request_id, now=now)
        try:
            outcome = self._functions.invoke(function.function_name, json.dumps(event).encode())
        except Throttled:
            return HttpAnswer(status=429, headers=_JSON, body=b'{"Message":"Rate Exceeded."}')
        if outcome.error is not None:
            return HttpAnswer(status=502, headers=_JSON, body=b"Internal Server Error")
        try:
            return payload.answer(outcome.payload)
        except (ValueError, TypeError):
            self._journal.failed("function-url", f"reading the answer of {function.function_name}")
            return HttpAnswer(status=502, headers=_JSON, body=b"Internal Server Error")

    def _may_call(self, role: Moto, function: Moto, caller: Caller) -> bool:
        """Both permissions that new function URLs want, from the role's own policies or the function's."""
        context = {
            "lambda:functionurlauthtype": str(function.url_config.config["AuthType"]),
            "lambda:invokedviafunctionurl": "true",
            "ec2:sourceinstancearn": self._place.arn("ec2", f"instance/{caller.instance_id}"),
            "aws:principalarn": role.arn,
            "aws:principalaccount": caller.account,
        }
        statements = [
            *grants.of_role(role, self._place.backend("iam")),
            *grants.of_function(function, kind="AWS", names=frozenset({role.arn, caller.session_arn, "*"})),
        ]
        return all(
            allowed(statements, action=action, resource=function.function_arn, context=context)
            for action in ("lambda:InvokeFunctionUrl", "lambda:InvokeFunction")
        )


_JSON = {"content-type": "application/json"}


def _refusal(error_type: str, message: str) -> HttpAnswer:
    headers = {**_JSON, "x-amzn-errortype": error_type}
    return HttpAnswer(status=403, headers=headers, body=json.dumps({"Message": message}).encode())


def _lowered(request: RawRequest) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in request.headers.items():
        key = name.lower()
        if key not in {"authorization", "x-amz-security-token"}:
            headers[key] = f"{headers[key]},{value}" if key in headers else value
    return headers


def _tls(host_pattern: str, ca_path: Path) -> ssl.SSLContext:
    issued = certificates.issue(host_pattern)
    ca_path.write_bytes(issued.authority)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    with tempfile.NamedTemporaryFile() as pem:  # the ssl module reads keys from files only
        pem.write(issued.server)
        pem.flush()
        context.load_cert_chain(pem.name)
    return context


class _Server(ThreadingHTTPServer):
    """Shakes hands in the connection's own thread, so that one silent client holds up nobody else."""

    daemon_threads = True

    def __init__(self, bind: tuple[str, int], handler: type[BaseHTTPRequestHandler], tls: ssl.SSLContext) -> None:
        self._tls = tls
        super().__init__(bind, handler)

    def finish_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - socketserver's types
        request.settimeout(_CLIENT_TIMEOUT_S)
        try:
            wrapped = self._tls.wrap_socket(request, server_side=True)
        except (OSError, ssl.SSLError):
            return  # a client that does not trust the authority, or hangs up: its loss, and it is told
        try:
            super().finish_request(wrapped, client_address)
        finally:
            wrapped.close()


def _handler(urls: FunctionUrls) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            if length > _MAX_BODY:
                answer = HttpAnswer(status=413, headers=_JSON, body=b'{"Message":"Request Entity Too Large"}')
                self.close_connection = True
            else:
                request = RawRequest(
                    method=self.command,
                    target=self.path,
                    headers=self.headers,
                    body=self.rfile.read(length),
                )
                answer = urls.respond(request, source_ip=self.client_address[0], protocol=self.request_version)
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            for cookie in answer.cookies:
                self.send_header("set-cookie", cookie)
            self.send_header("content-length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = _serve  # noqa: N815 - names that http.server calls

        def log_message(self, *_args: object) -> None:
            """The journal has the invocation's own log."""

    return Handler
