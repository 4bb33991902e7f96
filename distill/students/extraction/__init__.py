"""Students that say what stands in the request: each token is classified, and spans are copied."""
