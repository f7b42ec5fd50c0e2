"""Large bodies: numbers into arrays without an object for each, other long lists a piece at a time."""
