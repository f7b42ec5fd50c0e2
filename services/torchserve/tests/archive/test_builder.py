from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import mlflow.pytorch
import models
import pytest
import torch
import yaml
from mlflow.models import ModelSignature
from models import Formula, rows
from signet_torchserve.archive import builder
from signet_torchserve.archive.golden import Golden
from signet_torchserve.errors import FilesIncomplete, NotServable
from signet_torchserve.model import pt2_schema
from signet_torchserve.revision import Revision

from testing.oracle import columns_schema

LABELS = {"0": "SETOSA", "1": "VIRGINICA"}
GOLDEN = {"request": {"inputs": {"a": [1.5]}}, "response": {"predictions": ["SETOSA"]}}


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with everything that an archive may hold, logged once."""
    folder = tmp_path_factory.mktemp("logged")
    signature = ModelSignature(columns_schema(("double", "a")))
    return models.save(
        folder / "model", Formula(lambda x: x), rows(3, 1), signature, index_to_name=LABELS, golden=GOLDEN
    )


@pytest.fixture
def model(logged: Path, tmp_path: Path) -> Path:
    """A copy of the model to spoil."""
    folder = tmp_path / "model"
    subprocess.run(["cp", "-r", str(logged), str(folder)], check=True)
    return folder


NO_PROGRAM = "The model holds a pickle, or no exported program: "


def refusal(model: Path) -> str:
    mar = model.parent / "refused.mar"
    with pytest.raises(NotServable) as caught:
        builder.build(model, "iris", Revision("1"), mar)
    assert not mar.exists()
    assert not list(model.parent.glob(".building-*"))
    return str(caught.value)


def test_a_mar_holds_the_listed_files_and_no_others(model: Path) -> None:
    """Of a model's folder only the contract, the program, the labels and the golden answers reach the archive."""
    (model / "handler.py").write_text("raise SystemExit")
    (model / "extra_files" / "torch.py").write_text("raise SystemExit")
    (model / "data" / "sitecustomize.py").write_text("raise SystemExit")
    mar = model.parent / "iris@3.mar"
    builder.build(model, "iris", Revision("3"), mar)
    with zipfile.ZipFile(mar) as file:
        assert set(file.namelist()) - {"MAR-INF/"} == {
            "MAR-INF/MANIFEST.json", "MLmodel", "golden.json", "index_to_name.json", "model.pt2", "options.json",
        }  # fmt: skip
        manifest = json.loads(file.read("MAR-INF/MANIFEST.json"))
        assert json.loads(file.read("index_to_name.json")) == LABELS
        assert json.loads(file.read("golden.json")) == GOLDEN
    assert manifest["model"]["modelName"] == "iris"
    assert manifest["model"]["modelVersion"] == "3"
    assert not manifest["model"].get("handler")


def test_the_example_stands_in_for_golden_rows(tmp_path: Path) -> None:
    """A model with neither labels nor golden answers is servable; its own example must be answered, whatever with."""
    model = models.save(tmp_path / "model", Formula(lambda x: x), rows(2, 1))
    builder.build(model, "iris", Revision("1"), tmp_path / "iris.mar")
    with zipfile.ZipFile(tmp_path / "iris.mar") as file:
        file.extractall(tmp_path / "unpacked")
    golden = Golden.of(tmp_path / "unpacked")
    assert golden == Golden({"inputs": [[-1.0], [-0.75]]})
    assert golden.mismatch({"predictions": ["whatever"]}) is None


@pytest.mark.parametrize(
    ("function", "tags", "because"),
    [
        (lambda x: x * 2, {}, ""),
        (lambda x: x - x.mean(0), {}, "aten.mean.dim is not known to keep rows apart"),
        (lambda x: x - x.mean(0), {"rows": "independent"}, ""),
        (lambda x: x + torch.rand_like(x), {"allow": "random"},
         "aten.rand_like.default is not known to keep rows apart"),
    ],
)  # fmt: skip
def test_an_archive_says_whether_requests_share_a_pass(
    function: Callable[..., Any], tags: dict[str, str], because: str, tmp_path: Path
) -> None:
    """They do if the program's rows are proven, or vouched for, not to depend on one another."""
    model = models.save(tmp_path / "model", Formula(function), rows(3, 2))
    alone = because and f"; requests are answered one by one, because {because}"
    assert builder.why_alone(models.unpack(model, tmp_path / "mar", **tags)) == alone


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (torch.nn.functional.dropout, "call model.eval() before logging it"),
        (lambda x: x + torch.rand_like(x), "The model draws random numbers (aten.rand_like.default)"),
        (torch.empty_like, "The model reads memory of which a part may not be written (its output)"),
    ],
)
def test_a_model_whose_answers_vary_is_refused(function: Callable[..., Any], message: str, tmp_path: Path) -> None:
    """Answers must be a function of the request."""
    assert message in refusal(models.save(tmp_path / "model", Formula(function), rows(3, 2)))


def _edit(model: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    document = yaml.safe_load((model / "MLmodel").read_text())
    change(document)
    (model / "MLmodel").write_text(yaml.safe_dump(document))


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        (lambda model: (model / "MLmodel").unlink(), "MLmodel is missing"),
        (lambda model: (model / "MLmodel").write_bytes(b""), "MLmodel is missing"),
        (lambda model: shutil.rmtree(model / "data"), "model.pt2 is missing"),
        (lambda model: (model / "data/model.pt2").unlink(), "model.pt2 is missing"),
        (lambda model: (model / "data/model.pt2").write_bytes(b""), "model.pt2 ends too early"),
        (lambda model: os.truncate(model / "data/model.pt2", 2000), "model.pt2 ends too early"),
        (
            lambda model: (model / "serving_input_example.json").unlink(),
            "serving_input_example.json, which MLmodel names, is missing",
        ),
    ],
)
def test_files_that_are_yet_to_come_are_told_from_what_must_not_be_served(
    spoil: Callable[[Path], Any], what: str, model: Path
) -> None:
    """A model whose upload goes on is incomplete, and says which file it waits for."""
    builder.refuse_incomplete(model)
    spoil(model)
    with pytest.raises(FilesIncomplete) as caught:
        builder.refuse_incomplete(model)
    assert str(caught.value) == f"The version's files are not complete: {what}."


@pytest.mark.parametrize(
    "spoil",
    [
        lambda model: (model / "data/model.pt2").write_bytes(b"junk"),
        lambda model: (model / "data/model.pt2").rename(model / "data/model.pth"),
        lambda model: _edit(model, lambda document: document["flavors"]["pytorch"].update(model_data="../elsewhere")),
        lambda model: _edit(model, lambda document: document.pop("saved_input_example_info")),
        lambda model: _edit(model, lambda document: document.pop("signature")),
    ],
)
def test_what_will_never_do_is_not_incomplete(spoil: Callable[[Path], Any], model: Path) -> None:
    """A file that is there and wrong is refused by the build, and not waited for."""
    spoil(model)
    builder.refuse_incomplete(model)
    with pytest.raises(NotServable):
        builder.build(model, "iris", Revision("1"), model.parent / "iris.mar")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda document: document.pop("signature"), "The model has no signature: "),
        (lambda document: document["signature"].update(inputs=None), "The model has no signature: "),
        (lambda document: document["signature"].update(inputs="[]"), "The model has no signature: "),
        (lambda document: document["signature"].update(inputs="["), "The signature cannot be read: "),
        (
            lambda document: document["signature"].update(inputs='[{"type": "no such"}]'),
            "The signature cannot be read: ",
        ),
        (lambda document: document["flavors"].pop("pytorch"), "The model has no pytorch flavor: "),
        (lambda document: document["flavors"]["pytorch"].update(model_data=".."), NO_PROGRAM),
        (lambda document: document["flavors"]["pytorch"].update(model_data="/etc"), NO_PROGRAM),
        (lambda document: document["flavors"]["pytorch"].update(model_data="none"), NO_PROGRAM),
    ],
)
def test_a_contract_that_does_not_do_is_refused(
    change: Callable[[dict[str, Any]], Any], message: str, model: Path
) -> None:
    """No signature, no PyTorch program or a path out of the model's folder: refused, with the reason."""
    _edit(model, change)
    assert refusal(model).startswith(message)


@pytest.mark.parametrize("text", ["", "[", "a: [", "\x00", "- a", "!!python/object/apply:os.system ['true']"])
def test_an_mlmodel_file_that_is_none_is_refused(text: str, model: Path) -> None:
    """An MLmodel file that is missing or cannot be read is refused, and none of it is run."""
    (model / "MLmodel").write_text(text)
    assert "MLmodel" in refusal(model) or "signature" in refusal(model)
    (model / "MLmodel").unlink()
    assert refusal(model) == "The version is no MLflow model: it has no MLmodel file."


def test_a_pickled_model_is_refused(tmp_path: Path) -> None:
    """A model that was logged as a pickle is refused, with the way to log it."""
    folder = tmp_path / "model"
    mlflow.pytorch.save_model(
        torch.nn.Linear(1, 1),
        folder,
        signature=ModelSignature(columns_schema(("double", "a"))),
        pip_requirements=["torch"],
        serialization_format="pickle",
    )
    assert "serialization_format='pt2'" in refusal(folder)


def test_a_program_that_is_a_link_out_of_the_model_is_refused(model: Path, tmp_path: Path) -> None:
    """A link in place of the program is not followed out of the model's folder."""
    program = model / "data" / "model.pt2"
    program.rename(tmp_path / "elsewhere.pt2")
    program.symlink_to(tmp_path / "elsewhere.pt2")
    assert refusal(model).startswith("The model holds a pickle, or no exported program")


@pytest.mark.parametrize("file_name", ["index_to_name.json", "golden.json"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "is not JSON"),
        (b"\xff", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[]", "has the wrong form"),
        (b'{"x": 1}', "has the wrong form"),
        (b'"' + b"a" * (1 << 20) + b'"', "is larger than 1048576 bytes"),
    ],
)
def test_documents_beside_the_model_are_held_to_their_form(
    file_name: str, content: bytes, message: str, model: Path
) -> None:
    """Labels and golden answers that are huge, no JSON or of the wrong form are refused by name."""
    (model / "extra_files" / file_name).write_bytes(content)
    assert refusal(model).startswith(f"{file_name} {message}")


@pytest.mark.parametrize(
    "labels", ['{"²": "a"}', '{"-1": "a"}', '{"": "a"}', '{"0": ["a"]}', '{"0": null}', '{"0": 1}']
)
def test_labels_are_texts_by_number(labels: str, model: Path) -> None:
    """Labels are an object of texts whose keys are whole numbers that Python reads as such."""
    (model / "extra_files" / "index_to_name.json").write_text(labels)
    assert refusal(model).startswith("index_to_name.json has the wrong form")


def test_documents_that_link_out_of_the_model_are_refused(model: Path, tmp_path: Path) -> None:
    """A link in place of the labels is never followed out of the model's folder."""
    (tmp_path / "secret.json").write_text(json.dumps(LABELS))
    labels = model / "extra_files" / "index_to_name.json"
    labels.unlink()
    labels.symlink_to(tmp_path / "secret.json")
    assert refusal(model).startswith("index_to_name.json")


def _rewrite(program: Path, change: Callable[[str, bytes], bytes | None], **added: bytes) -> None:
    with zipfile.ZipFile(program) as file:
        records = {name: file.read(name) for name in file.namelist()}
    with zipfile.ZipFile(program, "w") as file:
        for name, content in records.items():
            changed = change(name, content)
            if changed is not None:
                file.writestr(name, changed)
        for name, content in added.items():
            file.writestr(f"model/data/{name.replace('__', '/')}", content)


def _pickled(name: str, content: bytes) -> bytes:
    if not name.endswith("weights_config.json"):
        return content
    config = json.loads(content)
    next(iter(config["config"].values()))["use_pickle"] = True
    return json.dumps(config).encode()


def _keep(_: str, content: bytes) -> bytes:
    return content


def _opaque(name: str, content: bytes) -> bytes:
    return content.replace(b"weight_0", b"opaque_obj_0") if name.endswith("weights_config.json") else content


def _without_graph(name: str, content: bytes) -> bytes | None:
    return None if name.endswith("models/model.json") else content


def _other_config(name: str, content: bytes) -> bytes:
    return b'{"config": []}' if name.endswith("weights_config.json") else content


@pytest.mark.parametrize(
    ("change", "added", "message"),
    [
        (_pickled, {}, "The program holds pickled values ['one']"),
        (_keep, {"aotinductor__model__code.so": b"\x7fELF"}, "The program brings compiled code"),
        (_opaque, {}, "The program holds pickled values ['one']"),
        (_keep, {"weights__model.pt": b""}, "The program holds a record 'model/data/weights/model.pt', which may be"),
        (_keep, {"constants__model.pt": b""}, "The program holds a record 'model/data/constants/model.pt'"),
        (_keep, {"constants__custom_obj_0": b""}, "The program holds a record 'model/data/constants/custom_obj_0'"),
        (_without_graph, {}, "model.pt2 is not a .pt2 file: "),
        (_other_config, {}, "model.pt2 is not a .pt2 file: "),
    ],
)
def test_a_program_that_is_more_than_data_is_refused(
    change: Any, added: dict[str, bytes], message: str, model: Path
) -> None:
    """Pickled weights, compiled code and half a program are refused."""
    _rewrite(model / "data" / "model.pt2", change, **added)
    assert refusal(model).startswith(message)


def test_a_program_of_an_older_format_is_refused(model: Path) -> None:
    """The records of torch's older formats, which it reads when it cannot read the new, are all pickles."""
    program = model / "data" / "model.pt2"
    with zipfile.ZipFile(program, "a") as file:
        file.writestr("version", b"8.14")
        file.writestr("serialized_state_dict.pt", b"a pickle")
    assert refusal(model).startswith("The program holds a record 'version', which may be a pickle.")


def _of_schema(major: int) -> Callable[[str, bytes], bytes]:
    def change(name: str, content: bytes) -> bytes:
        if not name.endswith("models/model.json"):
            return content
        document = json.loads(content)
        document["schema_version"]["major"] = major
        document["torch_version"] = "9.9.9"
        document["unheard_of"] = "os.system('true')"
        return json.dumps(document).encode()

    return change


@pytest.mark.parametrize("major", [7, 9])
def test_a_program_of_a_schema_that_this_torch_cannot_read_is_refused(major: int, model: Path) -> None:
    """The refusal names both schema versions, whatever else is new in the program."""
    assert torch._export.serde.schema.SCHEMA_VERSION[0] == pt2_schema.SCHEMA_VERSION
    _rewrite(model / "data" / "model.pt2", _of_schema(major))
    minor = torch._export.serde.schema.SCHEMA_VERSION[1]
    assert refusal(model) == (
        f"The program has the schema version {major}.{minor}, and was written by torch 9.9.9: "
        f"expected 8, which torch {metadata.version('torch')} reads."
    )


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x03\x04 half a zip"])
def test_a_program_that_is_no_archive_is_refused(content: bytes, model: Path) -> None:
    """A file that is no .pt2 file is refused."""
    (model / "data" / "model.pt2").write_bytes(content)
    assert refusal(model).startswith("model.pt2 is not a .pt2 file")


NOTHING_UNPICKLES = """
import pickle, sys
import torch

class Unpickled(BaseException):
    pass

class Never:
    def __init__(self, *args, **kwargs):
        raise Unpickled

pickle.load = pickle.loads = pickle.Unpickler = pickle._Unpickler = torch.load = torch._C._pickle_load_obj = Never
stripped, original = sys.argv[1:]
print(torch.export.load(stripped).module()(torch.ones(2, 1)).tolist())
try:
    torch.export.load(original)
except Unpickled:
    print("the original is unpickled")
"""


def test_the_program_of_an_archive_loads_without_a_pickle(model: Path) -> None:
    """`torch.export.load` reads the archive's program while every way to unpickle raises, and not the original's."""
    stripped = models.unpack(model, model.parent / "mar") / "model.pt2"
    command = [sys.executable, "-W", "ignore", "-c", NOTHING_UNPICKLES, str(stripped), str(model / "data/model.pt2")]
    loaded = subprocess.run(command, capture_output=True, text=True, check=False)
    assert loaded.stdout == "[[1.0], [1.0]]\nthe original is unpickled\n", loaded.stderr
    with zipfile.ZipFile(stripped) as file:
        assert not [name for name in file.namelist() if file.read(name).startswith((b"\x80", b"PK"))]
