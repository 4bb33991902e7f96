"""What students learn from: curated answers of the teacher, by version."""
