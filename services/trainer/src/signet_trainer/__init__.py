"""Trains Iris with Lightning and registers it in MLflow behind its signature."""
