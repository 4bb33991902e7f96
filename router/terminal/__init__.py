"""What commands have in common that write to a terminal."""
