"""Turns a logged MLflow model into a .mar, or says why it must not be served.

The .mar holds data only: the signature (MLmodel), the exported program, labels, golden answers and options.
Where training logged no golden answers, the model's own example is the golden request, and any answer to it is right.
TorchServe puts an archive's folder on its workers' import path, so a file of the model's own choosing would be code
that runs.

A model may be larger than the memory: its weights pass through in chunks.
"""

from __future__ import annotations

import json
import re
import shutil
import struct
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import Any

from signet_contract import mlmodel

from signet_torchserve.archive import input_example
from signet_torchserve.archive.file_names import GOLDEN, LABELS, MLMODEL, OPTIONS, PROGRAM
from signet_torchserve.errors import FilesIncomplete, NotServable
from signet_torchserve.model import pure_function, safety_scan, signature_fit
from signet_torchserve.model.batch_invariance import proof
from signet_torchserve.model.pt2_schema import PROGRAM_JSON, program_json
from signet_torchserve.model.shapes.guards import Guards
from signet_torchserve.revision import Revision
from signet_torchserve.version_options import Options

MAX_JSON_BYTES = 1 << 20

_ZIP = b"PK\x03\x04"
_CHUNK_BYTES = 1 << 20
_ALIGNMENT = 64

_SAMPLE_INPUTS = "data/sample_inputs/model.pt"
# Every record of a .pt2 file that MLflow writes; torch would unpickle some others.
_PLAIN_RECORD = re.compile(
    r"archive_format|archive_version|byteorder|\.data/(version|serialization_id)|models/model\.json"
    r"|data/weights/(model_weights_config\.json|weight_\d+)"
    r"|data/constants/(model_constants_config\.json|tensor_\d+)"
    rf"|{re.escape(_SAMPLE_INPUTS)}"
)
_PLAIN_PAYLOAD = re.compile(r"(weight|tensor)_\d+")
# What is raised where a document has another form than expected.
_MALFORMED = (AttributeError, IndexError, KeyError, RecursionError, TypeError, ValueError)


def build(model: Path, name: str, revision: Revision, mar: Path) -> None:
    """Write the archive `mar` of the MLflow model in the folder `model`, to be served as its tags say.

    Raises:
        NotServable: it has no signature, is no exported program, holds a pickle or what could run code, does not fit
            its signature, its answers are no function of a request, its signature does not admit its input example,
            a model of columns has none, its labels or golden answers cannot be read, or a tag has a wrong value.
    """
    options = Options.from_tags(revision.tags)
    with tempfile.TemporaryDirectory(dir=mar.parent, prefix=".building-") as temporary:
        folder = Path(temporary, "files")
        folder.mkdir()
        _copy_contract(model, folder)
        strip_pickles(_checked_program_path(model), folder / PROGRAM)
        try:
            program = program_json(folder / PROGRAM)
            signature_fit.refuse_unfit(program, _mlmodel(folder)["signature"])
            Guards(program)  # raises NotServable for what each worker would refuse
            pure_function.refuse_impure(program, options.allow)
            alone_because = proof.obstacle(program, is_vouched_for=options.rows_are_vouched_for)
        except _MALFORMED as error:
            raise NotServable(f"{PROGRAM} is not a .pt2 file: its {PROGRAM_JSON} cannot be read: {error!r}.") from error
        for file_name in (LABELS, GOLDEN):
            _copy_json(model, folder, file_name)
        request = input_example.request(model, _mlmodel(folder), options.allow)
        if request is not None and not (folder / GOLDEN).exists():
            text = json.dumps({"request": request})
            if len(text) <= MAX_JSON_BYTES:
                (folder / GOLDEN).write_text(text)
        facts = {
            "version": revision.version,
            "allow": sorted(options.allow),
            "timeout_s": options.timeout_s,
            "alone_because": alone_because,
        }
        (folder / OPTIONS).write_text(json.dumps(facts))
        whole = Path(temporary, "whole.mar")
        _pack(folder, name, revision.id, whole)
        whole.replace(mar)


def _pack(folder: Path, name: str, revision_id: str, mar: Path) -> None:
    """Write a .mar of the folder's files, uncompressed.

    TorchServe's `MANIFEST.json` in it names no handler: every archive is served by `default_service_handler` of
    config.properties. TorchServe's own archiver copies all files into the temporary folder first, which in a container
    is memory.
    """
    model = {"modelName": name, "modelVersion": revision_id}
    description = {"createdOn": "", "runtime": "python", "model": model, "archiverVersion": ""}
    with zipfile.ZipFile(mar, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(folder.iterdir()):
            archive.write(path, path.name)
        archive.writestr("MAR-INF/MANIFEST.json", json.dumps(description))


def why_alone(unpacked: Path) -> str:
    """Why requests don't share a forward pass, as the end of a sentence; empty if they share one."""
    because = json.loads((unpacked / OPTIONS).read_text("utf-8")).get("alone_because", "")
    return because and f"; requests are answered one by one, because {because}"


def strip_pickles(source: Path, target: Path) -> None:
    """Copy a .pt2 file without its sample inputs, the one record that is always a pickle.

    `torch.export.load` reads the copy as it reads the file. In the copy it finds nothing to unpickle: no records of
    older formats, and no constants but tensors. Nor does it find a text that it would run (see `safety_scan`).

    Raises:
        NotServable: a weight, a constant, the program or the file as a whole is not plain data.
    """
    try:
        with (
            zipfile.ZipFile(source) as program,
            target.open("wb") as file,
            zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as copy,
        ):
            root = program.namelist()[0].partition("/")[0]
            for record in dict.fromkeys(program.namelist()):
                folder, _, inner = record.partition("/")
                if inner.startswith("data/aotinductor/"):
                    raise NotServable(
                        f"The program brings compiled code ({record}): expected an exported program of plain data."
                    )
                if folder != root or not _PLAIN_RECORD.fullmatch(inner):
                    raise NotServable(f"The program holds a record {record!r}, which may be a pickle.")
                if inner == _SAMPLE_INPUTS:
                    copy.writestr(record, b"")
                elif inner.endswith(".json"):
                    document = json.loads(program.read(record))
                    if inner == PROGRAM_JSON:
                        signature_fit.refuse_unread(document)
                    if inner.endswith("_config.json"):
                        _refuse_pickled(record, document)
                    copy.writestr(record, json.dumps(safety_scan.harmless(document)))
                else:
                    entry = _aligned(record, file.tell())
                    with program.open(record) as content, copy.open(entry, "w", force_zip64=True) as part:
                        shutil.copyfileobj(content, part, _CHUNK_BYTES)
    except (*_MALFORMED, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise NotServable(f"{source.name} is not a .pt2 file: {error}.") from error


def _aligned(record: str, offset: int) -> zipfile.ZipInfo:
    """Entry, written at `offset` of a file, whose content begins where torch puts it: at a multiple of 64 bytes.

    A worker can map such content into its memory, instead of reading it. As torch has it, an extra field fills the gap.

    Source: caffe2/serialize/inline_container.cc, `getPadding`.
    """
    entry = zipfile.ZipInfo(record)
    entry.CRC = 0  # for FileHeader, of which only the length is needed here
    gap = -(offset + len(entry.FileHeader(zip64=True)) + 4) % _ALIGNMENT
    entry.extra = struct.pack("<2sH", b"FB", gap) + b"Z" * gap
    return entry


def _refuse_pickled(record: str, config: dict[str, dict[str, dict[str, object]]]) -> None:
    pickled = [
        name
        for name, payload in config["config"].items()
        if payload["use_pickle"] is not False or not _PLAIN_PAYLOAD.fullmatch(str(payload["path_name"]))
    ]
    if pickled:
        raise NotServable(f"The program holds pickled values {pickled} ({record}): expected plain tensors only.")


def _mlmodel(model: Path) -> dict[str, Any]:
    if not (model / MLMODEL).is_file():
        raise NotServable("The version is no MLflow model: it has no MLmodel file.")
    try:
        return mlmodel.read(model / MLMODEL)
    except _MALFORMED as error:
        raise NotServable(f"The MLmodel file cannot be read: {error}.") from error


def _copy_contract(model: Path, folder: Path) -> None:
    """Copy MLmodel, if it has a signature that can be read."""
    from mlflow.exceptions import MlflowException  # noqa: PLC0415 -- seconds that the health check need not spend
    from mlflow.models import ModelSignature  # noqa: PLC0415 -- as above

    signature = _mlmodel(model).get("signature")
    if not signature or not signature.get("inputs") or signature["inputs"] == "[]":
        raise NotServable(
            "The model has no signature: log it with one (TensorSpec), or put one on it with "
            "mlflow.models.set_signature, and register it again."
        )
    try:
        ModelSignature.from_dict(signature)
    except (*_MALFORMED, MlflowException) as error:
        raise NotServable(f"The signature cannot be read: {error}.") from error
    shutil.copyfile(model / MLMODEL, folder / MLMODEL)


def refuse_incomplete(model: Path) -> None:
    """Tell a model whose files are not all there from one that must not be served.

    Raises:
        FilesIncomplete: there is no MLmodel, or what it names is missing or was cut off.
        NotServable: MLmodel cannot be read, or has no pytorch flavor.
    """
    if not (model / MLMODEL).is_file() or not (model / MLMODEL).stat().st_size:
        raise FilesIncomplete(f"{MLMODEL} is missing")
    program = _program_path(model)
    info = _mlmodel(model).get("saved_input_example_info")
    example = info.get("serving_input_path") if isinstance(info, dict) else None
    is_pickled = any(any(program.parent.glob(pattern)) for pattern in ("*pickle*", "*.pth"))
    if not program.is_file() and _is_inside(program, model) and not is_pickled:
        raise FilesIncomplete(f"{PROGRAM} is missing")
    if program.is_file() and _was_cut_off(program):
        raise FilesIncomplete(f"{PROGRAM} ends too early")
    if example is not None and not (model / str(example)).is_file():
        raise FilesIncomplete(f"{example}, which {MLMODEL} names, is missing")


def _was_cut_off(program: Path) -> bool:
    with program.open("rb") as file:
        begins = file.read(len(_ZIP))
    return not begins or (begins == _ZIP and not zipfile.is_zipfile(program))


def _checked_program_path(model: Path) -> Path:
    program = _program_path(model)
    if not program.is_file() or not _is_inside(program, model):
        raise NotServable(
            "The model holds a pickle, or no exported program: "
            "log it with mlflow.pytorch.log_model(…, serialization_format='pt2')."
        )
    return program


def _program_path(model: Path) -> Path:
    flavors = _mlmodel(model).get("flavors")
    flavor = flavors.get("pytorch") if isinstance(flavors, dict) else None
    if not isinstance(flavor, dict):
        raise NotServable("The model has no pytorch flavor: log it with mlflow.pytorch.log_model.")
    return model / str(flavor.get("model_data", "data")) / PROGRAM


def _is_inside(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())


def _copy_json(model: Path, folder: Path, file_name: str) -> None:
    found = sorted(model.rglob(file_name))
    if not found:
        return
    if not found[0].is_file() or not _is_inside(found[0], model):
        raise NotServable(f"{file_name} is no file of the model.")
    if found[0].stat().st_size > MAX_JSON_BYTES:
        raise NotServable(f"{file_name} is larger than {MAX_JSON_BYTES} bytes.")
    try:
        content = json.loads(found[0].read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise NotServable(f"{file_name} is not JSON: {error}.") from error
    if file_name == LABELS and not _are_labels(content):
        raise NotServable(f"{file_name} has the wrong form: expected an object like {{'0': 'SETOSA'}}.")
    if file_name == GOLDEN and not (isinstance(content, dict) and {"request", "response"} <= content.keys()):
        raise NotServable(f"{file_name} has the wrong form: expected an object with 'request' and 'response'.")
    shutil.copyfile(found[0], folder / file_name)


def _are_labels(content: Any) -> bool:
    return isinstance(content, dict) and all(
        key.isdecimal() and isinstance(label, str) for key, label in content.items()
    )
