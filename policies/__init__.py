"""Decides: what a task is, what each route would cost, and who answers. No network, no threads."""
