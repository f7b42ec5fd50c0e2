"""Holds requests to an MLflow model's signature, behind any server.

    contract = Contract.load("MLmodel")
    model_input = contract.check(body, content_type)  # arrays and params for the model, or Rejected

`fastpath` checks what is plainly right in microseconds, with arrays that `bulk` reads from large bodies. `enforcement`
decides the rest as MLflow does, and names what is wrong. `request` reads the formats, `compatibility` compares two
contracts, and `middleware` stands before an ASGI app.
"""

from signet_contract.compatibility import Change
from signet_contract.contract import Contract
from signet_contract.decoded_request import DecodedRequest, Format
from signet_contract.errors import (
    DecidedTooLate,
    EnforcementMissing,
    MalformedPayload,
    Rejected,
    SignatureMismatch,
    TooCostly,
    Violation,
)
from signet_contract.model_input import ModelInput
from signet_contract.policy import Policy
from signet_contract.request import decode, decode_form

__all__ = [
    "Change",
    "Contract",
    "DecidedTooLate",
    "DecodedRequest",
    "EnforcementMissing",
    "Format",
    "MalformedPayload",
    "ModelInput",
    "Policy",
    "Rejected",
    "SignatureMismatch",
    "TooCostly",
    "Violation",
    "decode",
    "decode_form",
]
