"""Measurements against the same effects by bare commands, and against peers; nothing of the product imports them."""
