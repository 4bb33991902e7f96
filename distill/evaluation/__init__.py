"""How good a student is: overall, by slice, and beside the one it would replace."""
