"""A task's own encoder: a sentence encoder fine-tuned end to end on the teacher's answers."""
