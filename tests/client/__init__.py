"""The client and fab."""
