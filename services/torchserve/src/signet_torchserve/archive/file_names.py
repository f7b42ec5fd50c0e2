"""Names of our files in a .mar: `builder` writes them, the handler and the control plane read them.

A worker that cannot load the unpacked files writes `LOAD_FAILURE` beside them, as TorchServe passes nothing on.
"""

MLMODEL = "MLmodel"
PROGRAM = "model.pt2"
LABELS = "index_to_name.json"
GOLDEN = "golden.json"
OPTIONS = "options.json"
LOAD_FAILURE = "load_failure.json"
