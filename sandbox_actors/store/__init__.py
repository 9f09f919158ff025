"""The store: a database with one writer thread, its schema and queries, its backup and recovery, and the watcher."""
