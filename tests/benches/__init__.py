"""What the benches publish."""
