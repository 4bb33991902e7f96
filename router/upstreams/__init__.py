"""Where answers that students do not give come from."""
