"""drawbridge.toml and its reader."""
