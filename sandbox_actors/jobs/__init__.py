"""One job, run: what it waits for, its actor, its log watcher, its watchdogs, and what outlives the daemon."""
