"""The MLflow tracking server and model registry, on a database and an S3 store."""
