"""The control plane: follows the model registry, and makes TorchServe serve what is desired."""
