"""What AWS says, as typed events; pure, so a rule's pattern and the parser of what it lets through share constants."""
