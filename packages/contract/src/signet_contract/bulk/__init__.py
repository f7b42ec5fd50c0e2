"""Large bodies into arrays, without an object for each value."""
