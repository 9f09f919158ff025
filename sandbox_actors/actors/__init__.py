"""Component actors: the pool, eviction, records on disk, the bundle that workers run, ready envs."""
