"""Students on their own: written to a folder that carries all it takes to ask them elsewhere."""
