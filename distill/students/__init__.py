"""What answers in the teacher's place: rungs, and the ladder they make."""
