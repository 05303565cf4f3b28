"""The demo's hosts."""
