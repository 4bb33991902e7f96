"""The endpoints beside generation: routes of the FastAPI application."""
