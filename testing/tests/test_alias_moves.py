"""Who answers out of turn: two moves, from version 1 to 2 at second 10 and back at second 20."""

from http import HTTPStatus

import pytest

from testing.alias_moves import Move, out_of_turn
from testing.steady import Exchange, Question

QUESTION = Question(b"{}", HTTPStatus.OK, lambda version: version)
MOVES = [Move("2", asked=10, answered=12, steps={}), Move("1", asked=20, answered=22, steps={})]


@pytest.mark.parametrize(
    ("version", "sent", "done", "is_in_turn"),
    [
        ("1", 1, 2, True),  # nothing has moved
        ("2", 9, 9.9, False),  # before anybody asked for it
        ("2", 9, 12, True),  # it became the default while the request waited
        ("1", 11, 11.5, True),  # the new one has not answered yet
        ("1", 11.9, 13, True),  # asked before the new one's first answer
        ("1", 12.1, 13, False),  # asked after it
        ("2", 21.9, 23, True),  # asked before the old one was back
        ("2", 22.1, 23, False),  # asked after it
        ("1", 22.1, 23, True),  # back for good
        ("3", 1, 30, False),  # never had the alias
        (None, 12.1, 13, True),  # no answer is nobody's: it fails, and is counted there
    ],
)
def test_turns(version: str | None, sent: float, done: float, is_in_turn: bool) -> None:
    """An answer is in turn if its version had the alias, or was still answering, when it was asked or given."""
    exchange = Exchange(QUESTION, sent, done, HTTPStatus.OK, version, "")
    assert (out_of_turn([exchange], "1", MOVES) == []) == is_in_turn
