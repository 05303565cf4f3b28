"""What runs only inside a sandbox."""
