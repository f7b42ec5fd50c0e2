"""Requests of every kind, right and wrong, and whether each answer is the one that must come."""
