"""MLflow's Model Registry: its client, what may go wrong with it, and whether it has changed."""
