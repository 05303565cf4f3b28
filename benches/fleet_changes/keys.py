"""WireGuard key pairs, made without a process per key; it knows no tunnel."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPair:
    """Both halves as ``wg`` spells them: 44 characters of base64."""

    private: str = field(repr=False)
    public: str

    @classmethod
    def new(cls) -> KeyPair:
        """Return a pair that nobody has had before."""
        key = X25519PrivateKey.generate()
        private, public = key.private_bytes_raw(), key.public_key().public_bytes_raw()
        return cls(private=base64.b64encode(private).decode(), public=base64.b64encode(public).decode())
