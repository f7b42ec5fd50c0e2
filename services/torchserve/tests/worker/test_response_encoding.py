from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from signet_contract.decoded_request import DecodedRequest, Format
from signet_contract.model_input import ModelInput
from signet_torchserve.worker import response_encoding

LABELS = {0: "a", 1: "é"}
CLASSES = np.array([1, 0])
SCORES = np.array([[0.1, 0.9], [0.8, 0.2]], np.float32)


def written(
    output: Any, *, wrapped: bool, framed: bool = True, labels: dict[int, str] | None = None
) -> tuple[str, str]:
    decoded = DecodedRequest(Format.INPUTS, None, wrapped=wrapped)
    body, media = response_encoding.write(output, decoded, ModelInput(np.zeros(1), {}, framed), labels)
    return body.decode(), media


@pytest.mark.parametrize(
    ("output", "labels", "bare", "wrapped"),
    [
        (CLASSES, LABELS, '["é","a"]', '{"predictions":["é","a"]}'),
        (CLASSES[:1], LABELS, "é", '{"predictions":["é"]}'),
        (CLASSES[:, None], LABELS, '["é","a"]', '{"predictions":["é","a"]}'),
        (SCORES, LABELS, '["é","a"]', '{"predictions":["é","a"]}'),
        (CLASSES - 1, LABELS, '["a",null]', '{"predictions":["a",null]}'),
        (np.array([-1]), LABELS, "null", '{"predictions":[null]}'),
        (np.array([7]), LABELS, "7", '{"predictions":["7"]}'),
        (np.array(1), LABELS, "1", '{"predictions":1}'),
        (np.array([[0.5]]), LABELS, "[0.5]", '{"predictions":[{"0":0.5}]}'),
        (CLASSES, None, "[1,0]", '{"predictions":[{"0":1},{"0":0}]}'),
        (CLASSES[:1], None, "1", '{"predictions":[{"0":1}]}'),
        (np.array([[1.5, np.nan]]), None, "[1.5,null]", '{"predictions":[{"0":1.5,"1":null}]}'),
        (np.array([np.inf, -np.inf]), None, "[null,null]", '{"predictions":[{"0":null},{"0":null}]}'),
        (np.zeros((1, 1, 2)), None, "[[0.0,0.0]]", '{"predictions":[[[0.0,0.0]]]}'),
        (
            [CLASSES, SCORES[:1, :1]],
            None,
            "[[1,0],[[0.10000000149011612]]]",
            '{"predictions":[[1,0],[[0.10000000149011612]]]}',
        ),
        ({"y": CLASSES}, None, '{"y":[1,0]}', '{"predictions":{"y":[1,0]}}'),
        (np.zeros((0,), np.int64), LABELS, "[]", '{"predictions":[]}'),
    ],
)
def test_an_output_is_written_in_the_manner_of_its_request(
    output: Any, labels: dict[int, str] | None, bare: str, wrapped: str
) -> None:
    """Labels where there are any, else raw values; bare for the seed's formats, under `predictions` for MLflow's."""
    assert written(output, wrapped=False, labels=labels)[0] == bare
    assert written(output, wrapped=True, labels=labels) == (wrapped, response_encoding.JSON)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.nan])
def test_scores_that_are_no_numbers_get_no_label(odd: float, place: int, dtype: type) -> None:
    """The label of such a row is null in every format; its neighbours have theirs, and a class may be impossible."""
    scores = np.array([[0.1, 0.9, -np.inf], [0.1, 0.2, 0.3], [0.3, 0.2, 0.1]], dtype)
    scores[1, place] = odd
    labels = {0: "a", 1: "b", 2: "c"}
    assert written(scores, wrapped=True, labels=labels)[0] == '{"predictions":["b",null,"a"]}'
    assert written(scores, wrapped=False, labels=labels)[0] == '["b",null,"a"]'
    assert written(scores[1:2], wrapped=True, labels=labels)[0] == '{"predictions":[null]}'
    assert written(scores[1:2], wrapped=False, labels=labels) == ("null", response_encoding.JSON)


def test_only_a_label_alone_is_plain_text() -> None:
    """One row's label is text; everything else is JSON."""
    assert written(CLASSES[:1], wrapped=False, labels=LABELS)[1] == response_encoding.TEXT
    assert written(CLASSES, wrapped=False, labels=LABELS)[1] == response_encoding.JSON
    assert written(CLASSES[:1], wrapped=False)[1] == response_encoding.JSON


def test_tensors_are_answered_as_lists() -> None:
    """Pyfunc answers an array with an array, which MLflow's server writes as nested lists."""
    assert written(SCORES[:1] > 0, wrapped=True, framed=False) == (
        '{"predictions":[[true,true]]}',
        response_encoding.JSON,
    )
