"""The proof that no row of a program's output depends on another row of its input."""
