"""The small agent on the Norwegian core, the contract it speaks and the client that reaches it; it knows no AWS."""

__version__ = "0.1.0"
