"""TorchServe behind MLflow signatures, deployed by the model registry."""
