from __future__ import annotations

import gc
import json
import re
from typing import Any

import pytest
from hypothesis import event, given
from hypothesis import strategies as st
from signet_contract import json_text
from signet_contract.errors import MalformedPayload

_texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
_documents: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.integers(-(2**70), 2**70), st.floats(), _texts),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_texts, inner, max_size=3)),
)


@given(document=_documents, ascii_only=st.booleans(), times=st.sampled_from([1, 1, 1, 500]))
def test_exact_is_as_python_reads(document: Any, *, ascii_only: bool, times: int) -> None:
    """Whatever JSON is written is read with each value's type and all its digits, be it little or much."""
    body = json.dumps([document] * times, ensure_ascii=ascii_only).encode()
    assert repr(json_text.exact(body)) == repr(json.loads(body))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("18446744073709551616", 2**64),
        ("1" + "0" * 30, 10**30),
        ("0.1000000000000000000000000", 0.1),
        ("1e400", float("inf")),
        ("-Infinity", float("-inf")),
    ],
)
def test_numbers_stay_as_json_typed_them(text: str, expected: float) -> None:
    """Whole numbers stay whole however long they are, and what JSON lacks is left for the rules to name."""
    content = json_text.exact(f'{{"a": {text}}}'.encode())["a"]
    assert content == expected
    assert type(content) is type(expected)


@given(st.integers(), st.sampled_from(["[%d]", '{"a": %d}', "[0.5,%d,7]", '["%d"]']))
def test_a_text_without_many_digits_has_no_integer_beyond_64_bits(number: int, text: str) -> None:
    """So the quick parser may read it; the other way round it may well have none."""
    if not json_text.has_many_digits((text % number).encode()):
        assert -(2**63) <= number < 2**63


@pytest.mark.parametrize(
    ("body", "message", "got"),
    [
        (b"", "The body is empty.", "an empty body"),
        (b"\n ", "The body is empty.", "an empty body"),
        (b'{"a": ', "The body is not JSON: Expecting value: line 1 column 7 (char 6).", "Expecting value: line 1 "),
        (b'{"a": 1}\n}', "The body is not JSON: Extra data: line 2 column 1 (char 9).", "Extra data: line 2 column 1 "),
        (b'{"a": "\xff"}', "The body is not UTF-8: byte 0xff at position 7.", "byte 0xff at position 7"),
        (b"[" * 100_000, "The body is nested too deeply: at most 32 ", "JSON nested too deeply"),
        (b'{"a": "\\ud800"}', "The body holds a lone surrogate, which is no character.", "a lone surrogate: "),
        (b"9" * 5000, "The body is not JSON: Exceeds the limit", "Exceeds the limit"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_what_is_no_json_says_where(body: bytes, message: str, got: str) -> None:
    """A text that cannot be read is refused with what was found, and where."""
    with pytest.raises(MalformedPayload) as caught:
        json_text.exact(body)
    assert caught.value.message.startswith(message)
    (violation,) = caught.value.violations
    assert violation.rule == "format"
    assert violation.got.startswith(got)


@pytest.mark.parametrize("long", [b"1.5", b'{"a": [null, "\xc3\xa4"]}'])
@pytest.mark.parametrize("end", [b"", b",]", b"]x", b",01]", b",'a']", b"]\n]", b",[1.5]", b',"\n"]'])
def test_in_a_large_text_the_place_is_found_by_the_quick_parser(long: bytes, end: bytes) -> None:
    """It is at most one character before the one that Python finds."""
    body = b"[" + b",".join([long] * 3000) + end
    with pytest.raises(MalformedPayload) as caught:
        json_text.plain(body)
    found = re.fullmatch(r"The body is not JSON: .*: line . column [0-9]+ \(char ([0-9]+)\).", caught.value.message)
    assert found
    with pytest.raises(json.JSONDecodeError) as pythons:
        json.loads(body)
    assert int(found[1]) - pythons.value.pos in (0, -1)


@pytest.mark.parametrize("odd", [b"NaN", b"1e400", b"-Infinity", b'"\\u00e9"', b"9" * 30])
def test_what_the_quick_parser_does_not_read_hides_no_place(odd: bytes) -> None:
    """A large text may hold what is no mistake before its mistake, or none."""
    body = b"[" + b",".join([b"1.5"] * 3000) + b"," + odd
    assert len(json_text.plain(body + b"]")) == 3001
    with pytest.raises(MalformedPayload, match=rf"\(char {len((body + b',').decode())}\)"):
        json_text.plain(body + b",")


@pytest.mark.parametrize("escape", ["ud800", "udfff", "ud800x", "udc00\\udc00", "uD834\\ud834"])
@pytest.mark.parametrize("times", [1, 3000])
def test_a_lone_surrogate_is_found_by_either_parser(escape: str, times: int) -> None:
    """In a short text and in a long one, and where NaN leaves it to Python's parser."""
    for before in ("1.5", "NaN"):
        with pytest.raises(MalformedPayload, match="The body holds a lone surrogate") as caught:
            json_text.plain(f'[{before},{"1.5," * times}"\\{escape}"]'.encode())
        assert caught.value.violations[0].got == "a lone surrogate: surrogates not allowed"


@pytest.mark.parametrize("body", [b"a,b\n1.5,2.5\n", b"a\r\n1.5", b'"a","b"\n1.5,2.5', b"1.5,2.5\n3.5,4.5\n"])
def test_csv_that_is_not_called_so_is_told_its_header(body: bytes) -> None:
    """What is no JSON, and may be CSV, says how CSV is sent."""
    with pytest.raises(MalformedPayload, match="If it is CSV, send it with the header 'Content-Type: text/csv'"):
        json_text.plain(body)


@pytest.mark.parametrize("body", [b'{"a": 1.5,\n"b"}', b"[1.5,\n2.5", b"<a>\n</a>", b"hello"])
def test_what_is_no_csv_is_not_told_its_header(body: bytes) -> None:
    """JSON with a mistake in it is not taken for CSV."""
    with pytest.raises(MalformedPayload) as caught:
        json_text.plain(body)
    assert "CSV" not in caught.value.message


@given(
    depth=st.integers(1, 40),
    around=st.lists(st.sampled_from(["[%s]", '{"a":%s}', "[[],%s,{}]"]), min_size=1, max_size=3),
    innermost=st.text(st.sampled_from('[]{}"\\,a'), max_size=4),
    block=st.sampled_from([1, 2, 7, 1 << 16]),
)
def test_depth_is_that_of_the_brackets_outside_texts(depth: int, around: list[str], innermost: str, block: int) -> None:
    """A text is too deep by the lists and objects that stand in one another; brackets in its texts are none."""
    text = json.dumps(innermost)
    deepest = 0
    for level in range(depth):
        pattern = around[level % len(around)]
        deepest = 1 + max(deepest, "[[]" in pattern)
        text = pattern % text
    is_deep = False
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(json_text, "_BLOCK_BYTES", block)
            json_text.require_shallow(text.encode())
    except MalformedPayload as rejection:
        is_deep = rejection.message.startswith("The body is nested too deeply: at most 32 ")
    event("deep" if is_deep else "shallow")
    assert is_deep is (deepest > json_text.MAX_DEPTH)
    json_text.require_shallow(text.encode()[:-1] + b",")


@pytest.mark.parametrize("value", [b"NaN", b"-Infinity", b"1e400", b'"NaN"'])
def test_a_deep_text_may_have_what_json_has_not(value: bytes) -> None:
    """Python's numbers that are not finite do not hide how deep it is."""
    with pytest.raises(MalformedPayload, match="nested too deeply"):
        json_text.require_shallow(b"[" * 33 + value + b"]" * 33)


@pytest.mark.parametrize("was_enabled", [True, False])
def test_the_collector_is_as_before(*, was_enabled: bool) -> None:
    """Afterwards garbage is looked for if it was before, also where nothing could be read."""
    try:
        (gc.enable if was_enabled else gc.disable)()
        with pytest.raises(MalformedPayload):
            json_text.plain(b"[" * 3000)
        assert gc.isenabled() is was_enabled
        with json_text.without_collector():
            assert not gc.isenabled()
        assert gc.isenabled() is was_enabled
    finally:
        gc.enable()
