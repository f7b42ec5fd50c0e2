"""Handlers for comparison, each packed into an archive of its own."""
