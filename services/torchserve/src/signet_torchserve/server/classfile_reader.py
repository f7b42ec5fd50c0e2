"""What a compiled Java class calls, and what it holds, read from its constant pool.

Source: https://docs.oracle.com/javase/specs/jvms/se17/html/jvms-4.html#jvms-4.4
"""

from __future__ import annotations

import struct

_COUNT_AT = 8  # after the magic number and two versions
_UTF8, _LONG, _DOUBLE, _FIELD, _METHOD, _INTERFACE_METHOD = 1, 5, 6, 9, 10, 11
# Bytes after each tag; a text says its own length.
_SIZES = {3: 4, 4: 4, 5: 8, 6: 8, 7: 2, 8: 2, 9: 4, 10: 4, 11: 4, 12: 4, 15: 3, 16: 2, 17: 4, 18: 4, 19: 2, 20: 2}


class ClassFile:
    """One compiled Java class.

    Attributes:
        uses: class, name and descriptor of each method that it calls and of each field that it reads or writes.

    Raises:
        ValueError: the content is no class.
    """

    def __init__(self, content: bytes) -> None:
        self._pool: dict[int, tuple[int, bytes]] = {}
        try:
            self._read(content)
            self.uses = {
                self._use(body) for tag, body in self._pool.values() if tag in {_FIELD, _METHOD, _INTERFACE_METHOD}
            }
        except (struct.error, IndexError, KeyError) as error:
            raise ValueError("This is no compiled Java class.") from error
        self._texts = {body.decode("utf-8", "replace") for tag, body in self._pool.values() if tag == _UTF8}

    def has(self, name: str, descriptor: str) -> bool:
        """Whether a method or field can be its own; it may be one that it only uses."""
        return {name, descriptor} <= self._texts

    def _read(self, content: bytes) -> None:
        (count,) = struct.unpack_from("!H", content, _COUNT_AT)
        at, index = _COUNT_AT + 2, 1
        while index < count:
            tag, at = content[at], at + 1
            if tag == _UTF8:
                size, at = int.from_bytes(content[at : at + 2]), at + 2
            else:
                size = _SIZES[tag]
            self._pool[index] = tag, content[at : at + size]
            at += size
            index += 2 if tag in {_LONG, _DOUBLE} else 1  # these two take two places

    def _use(self, body: bytes) -> tuple[str, str, str]:
        owner, what = struct.unpack("!HH", body)
        name, descriptor = struct.unpack("!HH", self._pool[what][1])
        (owner_name,) = struct.unpack("!H", self._pool[owner][1])
        of, named, typed = (self._pool[index][1].decode("utf-8", "replace") for index in (owner_name, name, descriptor))
        return of, named, typed
