"""The installer on a machine made of a folder."""
