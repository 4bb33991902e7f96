"""Settings schema and shipped configuration files."""
