"""Virtual keys on the request path: who is asking, what they may ask for, and how much of it."""
