"""The agent, unit by unit and as a whole over a fake host."""
