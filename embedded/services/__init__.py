"""How each service is run: its command, its environment, and how to know that it answers."""
