"""A program's graph, written as one Python function of straight operator calls."""
