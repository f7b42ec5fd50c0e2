"""Which sizes of its inputs a program takes: torch's guards, and the ranges that follow from them."""
