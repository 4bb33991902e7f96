"""Text students: a small causal language model that writes what the teacher would have written."""
