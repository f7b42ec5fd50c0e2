"""TorchServe's worker process: the handler, the loop on its socket, and what it counts."""
