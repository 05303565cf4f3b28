"""Real WireGuard, HAProxy and sshd."""
