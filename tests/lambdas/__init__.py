"""The rooms behind the handlers."""
