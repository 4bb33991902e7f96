"""The web console: what was spent and saved, whether quality holds, and what to do about it.

Pages are drawn on the server and work without any script; a little script adds live figures and a
choice of theme. ``application`` is all that a server imports before the first visitor comes.
"""
