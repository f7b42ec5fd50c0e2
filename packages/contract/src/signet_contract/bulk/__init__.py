"""Large bodies in compact form: numbers as arrays without an object for each, other long lists a chunk at a time."""
