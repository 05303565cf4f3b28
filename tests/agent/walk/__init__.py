"""A random walk of the real agent over a made-up core: commands, crashes and drift, watched at every step."""
