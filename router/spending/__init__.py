"""Whether a request can be paid, and what is left of budgets."""
