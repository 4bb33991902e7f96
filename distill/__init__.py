"""Teaches: from exchanges to a student that serves."""
