"""The templates that the stacks become."""
