"""What a job of each hook asks of which component."""
