"""Names of the files in a .mar: `archive` writes them, `handler` and `agent` read them; no other is in one."""

MLMODEL = "MLmodel"
PROGRAM = "model.pt2"
LABELS = "index_to_name.json"
GOLDEN = "golden.json"
OPTIONS = "options.json"
