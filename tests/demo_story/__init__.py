"""What the demo's story is told with, on made-up data; the story itself is `make demo`."""
