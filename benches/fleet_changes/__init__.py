"""Nodes come and go under load, on the product's core and on a peer's: what is lost, what reloads, how long it takes."""
