"""Component actors: the pool, who has to go, their records on disk, what is handed to an env, ready envs."""
