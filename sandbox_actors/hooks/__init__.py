"""The hooks: how a job of each kind calls which component, and what becomes of the result."""
