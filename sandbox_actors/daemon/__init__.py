"""`sandbox-daemon`: `main` puts the parts together, `requests` answers, `experiments` owns the coordinators."""
