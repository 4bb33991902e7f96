"""Serves: the HTTP application, upstreams, students in traffic, and the command line."""
