"""What Protege would have made of a team's own logs: the command ``protege estimate``."""
