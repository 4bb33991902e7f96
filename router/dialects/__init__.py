"""The APIs that callers speak. Between them and the router everything is a chat completion."""
