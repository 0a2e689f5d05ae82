"""What an experiment takes: memory, time, disk, before it starts."""
