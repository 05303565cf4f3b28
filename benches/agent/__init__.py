"""What a join costs through client, SSH and agent, beside the fewest bare commands that have the same effects."""
