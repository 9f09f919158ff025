"""How experiments, workers and metrics look: as JSON, as lines of text, and live in a terminal."""
