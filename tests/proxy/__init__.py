"""HAProxy as the agent sets it up, really running on loopback, and small servers behind it that do as they are told."""
