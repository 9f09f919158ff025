"""What `store.py` is made of: a database with one writer, its schema, and what is asked of its tables."""
