"""The pages' commands are run, their outputs compared, and the table of settings held against the settings objects."""

from __future__ import annotations

import json
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from testing.repository import ALIAS, MODEL, ROOT
from testing.repository_command import output_of

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from stack import Stack

README = (ROOT / "README.md").read_text("utf-8")
# README first: what it deploys, the pages go on with.
PAGES = {
    path: path.read_text("utf-8")
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "CONTRIBUTING.md")
}
SETTINGS = (ROOT / "docs" / "settings.md").read_text("utf-8")
CLEVERNESS = (ROOT / "docs" / "cleverness.md").read_text("utf-8")
# A command may be followed by its answer; `<!-- run: … -->` before it says which stack it can be run on.
_BLOCK = re.compile(
    r"(?:<!-- run: (?P<run>.*?) -->\n)?```(?P<language>\w+)\n(?P<code>.*?)```\n"
    r"(?:```(?:text|json)\n(?P<answer>.*?)```\n)?",
    re.DOTALL,
)
_ELLIPSIS = "…"
# Read by every service that is a client of MLflow.
FILES = ("MLFLOW_TRACKING_PASSWORD_FILE", "MLFLOW_TRACKING_TOKEN_FILE")


@dataclass(frozen=True)
class Block:
    """One of the pages' commands."""

    run: str
    language: str
    code: str
    answer: str | None


BLOCKS = [
    Block(match["run"] or "", match["language"], match["code"], match["answer"])
    for page in PAGES.values()
    for match in _BLOCK.finditer(page)
    if match["language"] != "mermaid"
]


def _of(kind: str) -> list[Any]:
    """The blocks of one kind, each named by its last line."""
    blocks = [block for block in BLOCKS if block.run.partition(",")[0] == kind]
    return [pytest.param(block, id=block.code.splitlines()[-1][:40]) for block in blocks]


def test_every_command_is_run_or_says_why_not() -> None:
    """Each block says where it is run; one that isn't gives a reason."""
    for block in BLOCKS:
        kind, _, reason = block.run.partition(",")
        assert kind in {"both", "compose", "own model", "checkout", "training", "never"}, block
        assert kind != "never" or reason.strip(), block
    assert len(_of("both")) >= 4
    assert [block.code for block in BLOCKS if block.run == "checkout"] == ["make demo\n"], "test_processes.py runs it"
    assert [block.code for block in BLOCKS if block.run == "training"] == [
        "docker compose run --rm trainer --max_epochs 50\n",
        (
            ". .venv/bin/activate\n"
            "export MLFLOW_TRACKING_URI=http://127.0.0.1:5000\n"
            "mlflow run services/trainer -P max_epochs=50 --env-manager local\n"
        ),
    ], "test_training.py runs them"


@pytest.mark.parametrize("block", _of("both"))
def test_on_both(stack: Stack, registry: MlflowClient, block: Block) -> None:
    """What works with and without containers answers as written, through curl and a shell."""
    champion = registry.get_model_version_by_alias(MODEL, ALIAS).version
    try:
        _run(stack, block, champion)
    finally:
        registry.set_registered_model_alias(MODEL, ALIAS, champion)


@pytest.mark.usefixtures("made_here")
def test_own_model(stack: Stack, registry: MlflowClient) -> None:
    """A stranger's model goes from `log_model` to its answer in under 20 lines that are not empty."""
    blocks = [block for block in BLOCKS if block.run == "own model"]
    to_first_answer = "".join(block.code for block in blocks[:3])
    assert "curl" in to_first_answer
    assert sum(map(bool, to_first_answer.splitlines())) < 20
    for block in blocks:
        _run(stack, block, registry.get_model_version_by_alias(MODEL, ALIAS).version)


@pytest.mark.compose
@pytest.mark.usefixtures("made_here")
@pytest.mark.parametrize("block", [param for param in _of("compose") if "compose up" not in param.values[0].code])
def test_on_compose(stack: Stack, registry: MlflowClient, block: Block) -> None:
    """`docker compose …` as a person types it, on this suite's project, answers as written."""
    _run(stack, block, registry.get_model_version_by_alias(MODEL, ALIAS).version)


def _run(stack: Stack, block: Block, champion: object) -> None:
    code = block.code
    for port, address in (("8080", stack.predictions_url), ("5000", stack.mlflow_url)):
        code = code.replace(f"127.0.0.1:{port}", f"127.0.0.1:{urlsplit(address).port}")
    command = [sys.executable, "-c", code] if block.language == "python" else ["bash", "-euc", code]
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "SIGNET_"))}
    clean |= {"MLFLOW_TRACKING_URI": stack.mlflow_url, "SIGNET_URL": stack.predictions_url}
    clean["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), clean["PATH"]])
    said = output_of(command, {**clean, **stack.environment})
    if block.answer is not None:
        _assert_same(said, block.answer, champion)


def _assert_same(got: str, written: str, champion: object) -> None:
    """Compare JSON as documents and text as text; the champion's version is what it is, and … stands for more of it."""
    if not written.lstrip().startswith("{"):
        assert got.strip() == written.strip()
        return
    more = _ELLIPSIS in written
    expected = json.loads(re.sub(r",\s*…", "", written))
    document = json.loads(got)
    if "version" in expected:
        expected["version"] = str(champion)
    if more:
        document["errors"] = document["errors"][: len(expected["errors"])]
    assert document == expected


# The table of settings ------------------------------------------------------------------------------------------------


def _table() -> dict[str, tuple[str, str]]:
    """Default and readers by name."""
    text = SETTINGS + CLEVERNESS
    rows = re.findall(r"^\| `([A-Z0-9_]+)` \| (.*?) \| .*? \| (.*?) \|$", text, re.MULTILINE)
    assert len(set(rows)) == len({name for name, _, _ in rows}), "each setting is everywhere said to be the same"
    return {name: (default.strip("`"), readers) for name, default, readers in rows}


def test_client_settings() -> None:
    """The client's row says what its settings object says."""
    from signet_client.settings import Settings

    assert _readers("client") == {
        **dict.fromkeys(FILES, "nothing"),
        "SIGNET_URL": Settings.url,
        "SIGNET_TIMEOUT_S": str(Settings.timeout_s),
        "MLFLOW_TRACKING_URI": Settings.tracking_uri,
        "SIGNET_ALIAS": Settings.alias,
        "SIGNET_DOOR": Settings.door,
    }


def test_torchserve_settings(tmp_path: Path) -> None:
    """TorchServe's rows say what its settings object says."""
    from signet_torchserve.settings import Settings
    from signet_torchserve.switchable_pieces import PLAIN, Piece

    config = tmp_path / "config.properties"
    config.touch()
    settings = Settings.from_environment({"TS_CONFIG_FILE": str(config)})
    on = {piece.value: str(piece in settings.pieces).lower() for piece in Piece}
    assert _readers("torchserve") == {
        **dict.fromkeys(FILES, "nothing"),
        "MLFLOW_TRACKING_URI": settings.tracking_uri,
        "SIGNET_HOME": str(settings.home),
        "TS_CONFIG_FILE": "config.properties",
        "SIGNET_ALIAS": settings.alias,
        "SIGNET_POLL_INTERVAL_S": str(settings.poll_interval_s),
        "SIGNET_HEALTH_ADDRESS": settings.health_address,
        **on,
        PLAIN: "false",
    }


def test_mlflow_server_settings() -> None:
    """The MLflow server's rows say what its settings object says; its port is the one that Compose publishes."""
    from signet_mlflow_server.settings import Settings

    rows = _readers("mlflow-server")
    assert rows.pop("MLFLOW_SERVER_ALLOWED_HOSTS") == "nothing"
    assert rows.pop("SIGNET_ACCOUNTS_FILE") == "nothing"
    default = Settings()
    assert rows == {
        "MLFLOW_HOST": default.host,
        "MLFLOW_BACKEND_STORE_URI": default.backend_store_uri,
        "MLFLOW_ARTIFACTS_DESTINATION": default.artifacts_destination,
        "SIGNET_STREAMING": str(default.is_streaming).lower(),
        "SIGNET_PLAIN": "false",
    }
    assert default.port == int(_table()["MLFLOW_PORT"][0])


def test_embedded_settings() -> None:
    """The two ports of `make up` are the ones in the table; what it hands on is in there, too."""
    from signet_torchserve.switchable_pieces import PLAIN, Piece

    from embedded.settings import HANDED_ON, REGISTRY, Settings

    ports = {"MLFLOW_PORT": str(Settings.mlflow_port), "TORCHSERVE_PORT": str(Settings.torchserve_port)}
    assert _readers("embedded").items() >= ports.items()
    assert set(_readers("embedded")) - set(ports) == {*HANDED_ON, *REGISTRY}
    assert set(HANDED_ON) == {PLAIN, *Piece, "SIGNET_STREAMING"}


def test_trainer_settings() -> None:
    """The trainer reads the variables that the table says, and has no default server."""
    from signet_trainer.errors import BadOptions
    from signet_trainer.settings import Environment

    assert set(_readers("trainer")) == {"MLFLOW_TRACKING_URI", *FILES, "GIT_COMMIT", "SIGNET_ALIAS"}
    with pytest.raises(BadOptions):
        Environment.from_environment({})
    read = Environment.from_environment({"MLFLOW_TRACKING_URI": "http://x", "GIT_COMMIT": "c"})
    assert (read.git_commit, read.alias) == ("c", _readers("trainer")["SIGNET_ALIAS"])


def test_gateway_settings() -> None:
    """The gateway's rows are the variables of HAProxy's configuration, with their defaults."""
    configuration = (ROOT / "gateway" / "haproxy.cfg").read_text("utf-8")
    assert _readers("gateway") == dict(re.findall(r"\$\{([A-Z0-9_]+)-([^}]*)\}", configuration))


def test_compose_settings() -> None:
    """What the Compose files and .env.example let people set is what the table lists."""
    example = re.findall(r"^#? ?([A-Z0-9_]+)=", (ROOT / ".env.example").read_text("utf-8"), re.MULTILINE)
    files = (*ROOT.glob("docker-compose*.yml"), *ROOT.glob("compose/*.yml"))
    used = {name for file in files for name in re.findall(r"\$\{([A-Z0-9_]+)", file.read_text("utf-8"))}
    listed = set(_readers("Compose"))
    assert listed == set(example)
    assert listed == used


def _readers(reader: str) -> dict[str, str]:
    return {name: default for name, (default, readers) in _table().items() if reader in readers.split(", ")}


def test_addresses_are_those_that_are_listened_at() -> None:
    """Nothing listens at IPv6's loopback, which is what `localhost` means first, or alone, on some machines."""
    assert re.findall(r"(?:https?://|curl )([\w.]+):\d+", README)
    assert [path.name for path, text in PAGES.items() if "localhost:" in text] == []


def test_readme_is_read_in_ten_minutes() -> None:
    """README has what a newcomer does first; all else has a page, and README names each of them."""
    assert len(README.splitlines()) <= 160
    assert [path.name for path in PAGES if path.parent == ROOT / "docs" and f"](docs/{path.name})" not in README] == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    """Each relative link names a file that is there, and a heading of it where it names one."""
    for link in re.findall(r"\]\(([^)\s]+)\)", PAGES[path]):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        linked = (path.parent / name).resolve() if name else path
        assert linked.exists(), link
        if anchor:
            assert anchor in _anchors(linked.read_text("utf-8")), link


def test_every_known_hole_has_its_test() -> None:
    """The list of docs/doors.md names tests that are there."""
    text = PAGES[ROOT / "docs" / "doors.md"]
    named = re.findall(r"\| `([\w/-]+\.py)`, `(test_\w+)` \|$", text, re.MULTILINE)
    rows = text.partition("| hole |")[2].strip().splitlines()[2:]
    assert len(named) == len(rows) >= 4
    for file, test in named:
        assert f"def {test}(" in (ROOT / file).read_text("utf-8"), test


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_what_is_named_is_there(path: Path) -> None:
    """Each file, folder and function that a page names in backticks, with its path, lies in the repository."""
    named = re.findall(r"`([\w.-]+(?:/[\w.-]+)+/?|[\w.-]+\.(?:txt|properties|yml))`", PAGES[path])
    folders = {
        "T": "services/torchserve/src/signet_torchserve",
        "C": "packages/contract/src/signet_contract",
        "signet_torchserve": "services/torchserve/src/signet_torchserve",
        "signet_contract": "packages/contract/src/signet_contract",
        "signet_trainer": "services/trainer/src/signet_trainer",
        "signet_mlflow_server": "services/mlflow-server/src/signet_mlflow_server",
        **{folder: f"services/torchserve/src/signet_torchserve/{folder}" for folder in ("server", "worker", "model")},
        **{folder: f"packages/contract/src/signet_contract/{folder}" for folder in ("enforcement", "bulk")},
    }
    for name in named:
        if name.startswith(".signet/"):  # what commands leave
            continue
        first, _, rest = name.partition("/")
        assert _is_there(ROOT / folders.get(first, first) / rest), name


def _is_there(named: Path) -> bool:
    """Whether there is such a file or folder, or a module that defines the rest of the name: `module.Class.method`."""
    if named.exists():
        return True
    module, *names = named.name.split(".")
    file = named.with_name(f"{module}.py")
    text = file.read_text("utf-8") if names and file.exists() else ""
    return bool(text) and all(
        re.search(rf"^ *(?:def|class) {name}\b|^{name}\b", text, re.MULTILINE) is not None for name in names
    )


def _anchors(text: str) -> set[str]:
    """The headings of a page, as they are linked to."""
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    }
