"""Everything that is wrong with an experiment file, found at once."""
