"""The demo's machines: hosts made of namespaces, the switch between them, and what runs on each."""
