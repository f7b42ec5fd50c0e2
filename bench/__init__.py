"""What `make bench` measures: the handler beside a no-op, beside the seed's way and beside MLflow's own server."""
