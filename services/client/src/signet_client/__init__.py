"""The Signet client: asks for predictions, and proves that wrong requests are refused."""
