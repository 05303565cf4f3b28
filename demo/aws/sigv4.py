"""Knows whether a request was signed with a secret, by Signature Version 4; it must not know whose secret or what for.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-signing-elements.html
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.message import Message
from typing import Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from demo.aws.credentials import Holder

_CLOCK_SKEW = timedelta(minutes=5)
_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/,\s]+)/(\d{8})/([^/,\s]+)/([^/,\s]+)/aws4_request,\s*"
    r"SignedHeaders=([a-z0-9;_-]+),\s*Signature=([0-9a-f]{64})"
)
_MUST_BE_SIGNED = ("host", "x-amz-date")


class NotSigned(Exception):
    """The request is refused; ``error_type`` is AWS's name for why."""

    def __init__(self, error_type: str, message: str) -> None:
        super().__init__(message)
        self.error_type = error_type


@dataclass(frozen=True, slots=True, kw_only=True)
class RawRequest:
    """A request as it arrived: ``target`` is the path and query, undecoded."""

    method: str
    target: str
    headers: Message
    body: bytes


class _ExactHeaders(SigV4Auth):
    """botocore's signer over exactly the headers that the caller signed; botocore would choose by itself."""

    def headers_to_sign(self, request: AWSRequest) -> Any:  # noqa: ANN401 - botocore's own header type
        return request.headers


class Verifier:
    """Verifies requests for one service in one region."""

    def __init__(self, *, region: str, service: str, holder_of: Callable[[str], Holder | None]) -> None:
        self._region = region
        self._service = service
        self._holder_of = holder_of

    def verify(self, request: RawRequest, *, now: datetime) -> Holder:
        """Whose credentials signed the request. Raises ``NotSigned``."""
        authorization = request.headers.get("authorization")
        if authorization is None:
            raise NotSigned("AccessDeniedException", "Forbidden")
        match = _AUTHORIZATION.fullmatch(authorization.strip())
        if match is None:
            raise NotSigned("IncompleteSignatureException", "Authorization header is not a Signature Version 4 one.")
        access_key, day, region, service, signed, signature = match.groups()
        stamp = self._check_time(request, day, now)
        if (region, service) != (self._region, self._service):
            raise NotSigned(
                "InvalidSignatureException",
                f"Credential should be scoped to a valid region and service: wanted {self._region}/{self._service}, "
                f"found {region}/{service}.",
            )
        holder = self._holder_of(access_key)
        if holder is None:
            raise _invalid_token()
        names = signed.split(";")
        self._check_headers(request, names, holder)
        expected = self._signature(request, names, holder, stamp)
        if not hmac.compare_digest(expected, signature):
            raise NotSigned(
                "InvalidSignatureException",
                "The request signature we calculated does not match the signature you provided. Check your AWS Secret "
                "Access Key and signing method. Consult the service documentation for details.",
            )
        if now >= holder.credentials.expiration:
            raise NotSigned("ExpiredTokenException", "The security token included in the request is expired")
        return holder

    @staticmethod
    def _check_time(request: RawRequest, day: str, now: datetime) -> str:
        stamp = request.headers.get("x-amz-date", "")
        try:
            signed_at = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        except ValueError:
            raise NotSigned("IncompleteSignatureException", "X-Amz-Date must be a basic ISO 8601 time.") from None
        if abs(now - signed_at) > _CLOCK_SKEW:
            raise NotSigned("InvalidSignatureException", f"Signature expired: {stamp} is not within 5 minutes of now.")
        if not stamp.startswith(day):
            raise NotSigned(
                "InvalidSignatureException", "Date in Credential scope does not match YYYYMMDD of the date."
            )
        return stamp

    @staticmethod
    def _check_headers(request: RawRequest, names: list[str], holder: Holder) -> None:
        """The token, the host and the time must be covered, and a body hash that is stated must be true."""
        token = request.headers.get("x-amz-security-token", "")
        if not hmac.compare_digest(token.encode(), holder.credentials.token.encode()):
            raise _invalid_token()
        for name in (*_MUST_BE_SIGNED, "x-amz-security-token"):
            if name not in names:
                raise NotSigned(
                    "InvalidSignatureException", f"'{name}' must be a 'SignedHeader' in the AWS Authorization."
                )
        stated = request.headers.get("x-amz-content-sha256")
        if stated is not None and not hmac.compare_digest(stated, hashlib.sha256(request.body).hexdigest()):
            raise NotSigned("InvalidSignatureException", "The value of X-Amz-Content-SHA256 does not match the body.")

    def _signature(self, request: RawRequest, names: list[str], holder: Holder, stamp: str) -> str:
        credentials = Credentials(holder.credentials.access_key_id, holder.credentials.secret_access_key)
        signer = _ExactHeaders(credentials, self._service, self._region)
        signed = AWSRequest(
            method=request.method, url=f"https://{request.headers['host']}{request.target}", data=request.body
        )
        for name in names:
            values = request.headers.get_all(name)
            if values is None:
                raise NotSigned("InvalidSignatureException", f"The signed header {name} is missing.")
            for value in values:
                signed.headers.add_header(name, value)
        signed.context["timestamp"] = stamp
        to_sign = signer.string_to_sign(signed, signer.canonical_request(signed))
        return str(signer.signature(to_sign, signed))


def _invalid_token() -> NotSigned:
    return NotSigned("UnrecognizedClientException", "The security token included in the request is invalid.")
