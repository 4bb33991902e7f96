"""What stops a demo: said in one line, without a traceback."""


class DemoError(Exception):
    """The demo cannot go on; the message is one sentence for the person who started it."""
