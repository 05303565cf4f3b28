"""An open-loop HTTP load generator that accounts for every request; standard library only, it imports nothing else."""
