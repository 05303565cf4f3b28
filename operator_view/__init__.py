"""What an operator reads: reports turned into lines, purely; it must not know where a report came from."""
