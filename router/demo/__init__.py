"""The demo: real prompts, a replayed teacher, and the whole loop in two minutes."""
