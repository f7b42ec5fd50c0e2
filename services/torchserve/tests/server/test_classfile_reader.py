from __future__ import annotations

import pytest
from signet_torchserve.server import frontend
from signet_torchserve.server.classfile_reader import ClassFile

COMPILED = (frontend.OURS / "signet" / "Aggregator.class").read_bytes()


def test_what_a_class_uses_and_has() -> None:
    """The names and descriptors are those of its source."""
    aggregator = ClassFile(COMPILED)
    assert ("signet/Aggregator", "maxContentLength", "()I") in aggregator.uses
    assert ("io/netty/handler/codec/http/HttpObjectAggregator", "<init>", "(I)V") in aggregator.uses
    assert aggregator.has("tooLarge", "()Lio/netty/handler/codec/http/FullHttpResponse;")
    assert not aggregator.has("tooLarge", "()J")


@pytest.mark.parametrize("content", [b"", b"no class", COMPILED[:1000], COMPILED[:10] + b"\xff" * 100])
def test_what_is_no_class_is_said_to_be_none(content: bytes) -> None:
    """Whatever its bytes are, reading it raises a ValueError."""
    with pytest.raises(ValueError, match="no compiled Java class"):
        ClassFile(content)
