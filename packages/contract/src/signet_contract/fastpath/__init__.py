"""The check in microseconds: it says yes, or that it does not know."""
