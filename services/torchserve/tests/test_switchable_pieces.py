from __future__ import annotations

import pytest
from signet_torchserve import switchable_pieces
from signet_torchserve.settings import Settings
from signet_torchserve.switchable_pieces import Piece


@pytest.fixture
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    path = tmp_path_factory.mktemp("settings") / "config.properties"
    path.touch()
    return {"TS_CONFIG_FILE": str(path)}


def test_all_pieces_take_part(environment: dict[str, str]) -> None:
    """No variable has to be set for them."""
    assert Settings.from_environment(environment).pieces == set(Piece)


@pytest.mark.parametrize("piece", Piece)
def test_one_piece_is_left_out(piece: Piece, environment: dict[str, str]) -> None:
    """Its variable leaves out that piece and no other."""
    assert Settings.from_environment(environment | {piece: "false"}).pieces == set(Piece) - {piece}


@pytest.mark.parametrize("piece", Piece)
def test_one_setting_leaves_out_all(piece: Piece, environment: dict[str, str]) -> None:
    """It does so whatever each piece's own variable says."""
    assert Settings.from_environment(environment | {switchable_pieces.PLAIN: "true", piece: "true"}).pieces == set()


@pytest.mark.parametrize("on", [set(Piece), set(), *({piece} for piece in Piece)])
def test_a_worker_has_what_it_is_told(on: set[Piece]) -> None:
    """Its environment tells which pieces take part."""
    environment = switchable_pieces.told(on)
    assert {piece for piece in Piece if switchable_pieces.has(piece, environment)} == on


def test_what_is_installed_fits() -> None:
    """The versions in constraints.txt are those that the pieces were written for."""
    assert switchable_pieces.fitting(Piece) == set(Piece)


@pytest.mark.parametrize(
    ("package", "installed", "piece"),
    [
        ("torchserve", "0.13.0", Piece.WORKER_LOOP),
        ("torch", "2.14.0+cpu", Piece.CODE_GENERATION),
        ("torch", "2.130", Piece.CODE_GENERATION),
    ],
)
def test_a_piece_for_another_version_is_off(
    package: str, installed: str, piece: Piece, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The others take part, and the log names the piece, what it was written for, and what is there."""
    version = switchable_pieces.metadata.version
    monkeypatch.setattr(
        switchable_pieces.metadata, "version", lambda name: installed if name == package else version(name)
    )
    assert switchable_pieces.fitting(Piece) == set(Piece) - {piece}
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage().startswith(f"{piece.value} is off: it was written for {package} ")
    assert record.getMessage().endswith(f", and {installed} is installed.")
