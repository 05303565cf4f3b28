"""Knows the temporary credentials of instance roles and who holds them; it must not know what they may do."""

from __future__ import annotations

import base64
import secrets
import string
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from demo.aws.machines import Machine

LIFETIME = timedelta(hours=6)
"""As the instance metadata service hands them out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceCredentials:
    """What the metadata service answers for an instance's role."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    token: str = field(repr=False)
    expiration: datetime
    role_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Whose credentials they are: an instance in its role's session."""

    credentials: InstanceCredentials
    account: str
    region: str
    instance_id: str


class CredentialStore:
    """Every set that was minted; a set stays valid until it expires, even after a newer one, as on AWS."""

    def __init__(self) -> None:
        self._holders: dict[str, Holder] = {}
        self._lock = threading.Lock()

    def mint(self, machine: Machine, *, lifetime: timedelta = LIFETIME) -> InstanceCredentials:
        """New random credentials for the machine's role. ``ValueError`` if it has no role."""
        if machine.role_name is None:
            raise ValueError(f"minting credentials for {machine.instance_id}: wanted an instance profile, found none")
        alphabet = string.ascii_uppercase + "234567"
        credentials = InstanceCredentials(
            access_key_id="ASIA" + "".join(secrets.choice(alphabet) for _ in range(16)),
            secret_access_key=base64.b64encode(secrets.token_bytes(30)).decode(),
            token=secrets.token_urlsafe(300),
            expiration=datetime.now(UTC) + lifetime,
            role_name=machine.role_name,
        )
        holder = Holder(
            credentials=credentials,
            account=machine.account,
            region=machine.region,
            instance_id=machine.instance_id,
        )
        with self._lock:
            self._holders[credentials.access_key_id] = holder
        return credentials

    def find(self, access_key_id: str) -> Holder | None:
        """Who holds this access key, expired or not."""
        with self._lock:
            return self._holders.get(access_key_id)
