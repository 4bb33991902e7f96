"""What was spent and saved in a time, and whether quality held, for those who pay."""
