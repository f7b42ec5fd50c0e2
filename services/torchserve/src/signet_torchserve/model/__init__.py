"""The model itself: an exported program, what it may hold, whether it fits its signature, and how it is run."""
