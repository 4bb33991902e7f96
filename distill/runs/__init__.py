"""One training run of each kind: from a task's answers to what the gate says of their student."""
