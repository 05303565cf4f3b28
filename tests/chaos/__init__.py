"""`make chaos-agent`: the long walks, over the made-up core and over real WireGuard and HAProxy."""
