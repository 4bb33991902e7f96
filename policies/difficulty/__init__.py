"""Predicts from a prompt alone how much is lost if the weaker model answers it."""
