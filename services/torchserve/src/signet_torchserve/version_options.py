"""What a model version's registry tags ask of its deployment.

| tag                       | value                                          | default |
| ------------------------- | ---------------------------------------------- | ------- |
| `serving.allow`           | words of `Policy`, separated by commas         | none    |
| `serving.batch_size`      | most new requests in one batch, 1 to 1024      | 32      |
| `serving.max_batch_delay` | ms to wait for others, 0 to 1000               | 0       |
| `serving.workers`         | processes that serve it, 1 to 64               | 1       |
| `serving.timeout_s`       | s that the answers to a batch may take, to 600 | 60      |
| `serving.rows`            | `independent`: its author vouches for its rows | proven  |

Requests share a forward pass only where `batch_invariance` has proven that no row of an answer depends on another row,
or where the author says so by `serving.rows`.

If such a tag changes on a version that serves, the version is rolled out anew, beside the one that serves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from signet_contract.policy import Policy

from signet_torchserve import deadlines
from signet_torchserve.errors import NotServable
from signet_torchserve.revision import ALLOW, BATCH_SIZE, MAX_BATCH_DELAY, ROWS, TIMEOUT, WORKERS

_INDEPENDENT = "independent"


@dataclass(frozen=True, slots=True)
class Options:
    """How a version is served; by default strictly, by one worker, in batches of what is queued."""

    allow: frozenset[str] = frozenset()
    batch_size: int = 32
    max_batch_delay_ms: int = 0  # a batch is what is queued: no request waits for others to come (patches.py)
    workers: int = 1
    timeout_s: int = deadlines.DEFAULT_TIMEOUT_S
    rows_are_vouched_for: bool = False

    @classmethod
    def from_tags(cls, tags: Mapping[str, str]) -> Options:
        """Options that the tags name, and the defaults of the others.

        Raises:
            NotServable: a value is none that its tag can have.
        """
        default = cls()
        return cls(
            allow=_words(tags.get(ALLOW, "")),
            batch_size=_number(tags, BATCH_SIZE, default.batch_size, 1, 1024),
            max_batch_delay_ms=_number(tags, MAX_BATCH_DELAY, default.max_batch_delay_ms, 0, 1000),
            workers=_number(tags, WORKERS, default.workers, 1, 64),
            timeout_s=_number(tags, TIMEOUT, default.timeout_s, 1, deadlines.MAX_TIMEOUT_S),
            rows_are_vouched_for=_is_independent(tags.get(ROWS)),
        )


def _words(value: str) -> frozenset[str]:
    words = frozenset(filter(None, (word.strip() for word in value.split(","))))
    if unknown := sorted(words.difference(Policy)):
        raise NotServable(f"The tag {ALLOW} has {unknown}: expected some of {[str(word) for word in Policy]}.")
    return words


def _is_independent(value: str | None) -> bool:
    if value is not None and value.strip() != _INDEPENDENT:
        raise NotServable(f"The tag {ROWS} has {value!r}: expected {_INDEPENDENT!r}, or no such tag.")
    return value is not None


def _number(tags: Mapping[str, str], tag: str, default: int, least: int, greatest: int) -> int:
    value = tags.get(tag, str(default)).strip()
    if not (value.isascii() and value.isdecimal() and len(value) < 10 and least <= int(value) <= greatest):  # noqa: PLR2004 -- digits
        raise NotServable(f"The tag {tag} has {value!r}: expected a whole number from {least} to {greatest}.")
    return int(value)
