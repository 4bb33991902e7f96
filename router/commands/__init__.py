"""The commands beside ``protege serve``."""
