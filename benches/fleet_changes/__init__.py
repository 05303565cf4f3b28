"""Nodes come and go under load, on the product's core and on a peer's: requests lost, reloads, seconds to serving."""
