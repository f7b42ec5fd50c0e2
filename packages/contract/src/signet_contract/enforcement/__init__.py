"""MLflow's own check, which decides whatever the fast path does not know, and the names of all that is wrong."""
