"""The demo's AWS."""
