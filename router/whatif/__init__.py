"""What another policy would have come to, and why this one chose as it did."""
