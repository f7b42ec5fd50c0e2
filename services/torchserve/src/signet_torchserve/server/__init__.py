"""TorchServe: its process, the changes to its frontend, and the client of its management API."""
