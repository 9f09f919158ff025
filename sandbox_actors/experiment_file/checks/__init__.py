"""Checks of a whole experiment file, which report everything that is wrong at once."""
