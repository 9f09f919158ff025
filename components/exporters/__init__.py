"""Components that carry an experiment's metrics elsewhere. They only read: nothing waits for them."""
