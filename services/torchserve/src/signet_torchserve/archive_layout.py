"""Names of the files in a .mar: what `archive` writes, `handler` and `agent` read. Nothing else is in one, and no code."""

MLMODEL = "MLmodel"
PROGRAM = "model.pt2"
LABELS = "index_to_name.json"
GOLDEN = "golden.json"
