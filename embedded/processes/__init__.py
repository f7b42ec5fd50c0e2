"""A service's process: how it is started, watched and ended, and what outlives it."""
