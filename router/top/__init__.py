"""What a server does at the moment, in a terminal."""
