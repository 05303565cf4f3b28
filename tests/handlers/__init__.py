"""The functions' handlers."""
