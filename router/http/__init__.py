"""HTTP as clients happen to speak it: connections, paths, browsers, and who is let in."""
