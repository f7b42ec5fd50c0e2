from __future__ import annotations

import subprocess
from pathlib import Path

from signet_torchserve.archive import digest


def test_the_digest_is_that_of_sha256sum(tmp_path: Path) -> None:
    """A person gets the same with the shell's own tools, and what MLflow's client adds does not count."""
    for name, content in {"MLmodel": b"a", "data/model.pt2": b"b" * 3_000_000, "Z": b"", "é": b"c"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    command = (
        "find . -type f ! -name registered_model_meta -printf '%P\\n' | LC_ALL=C sort | xargs sha256sum | sha256sum"
    )
    listed = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True, check=True).stdout  # noqa: S602 -- as a person types it
    assert digest.of_model(tmp_path) == f"sha256:{listed.split()[0]}"
    (tmp_path / "registered_model_meta").write_text("whatever")
    assert digest.of_model(tmp_path) == f"sha256:{listed.split()[0]}"
    (tmp_path / "Z").write_text("more")
    assert digest.of_model(tmp_path) != f"sha256:{listed.split()[0]}"
