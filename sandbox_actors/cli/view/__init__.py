"""How experiments, workers, environments and metrics are shown: as JSON, as lines of text, and live in a terminal."""
