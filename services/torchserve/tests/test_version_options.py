from __future__ import annotations

import pytest
from signet_contract.policy import Policy
from signet_torchserve.errors import NotServable
from signet_torchserve.revision import Revision
from signet_torchserve.version_options import Options


@pytest.mark.parametrize(
    ("tags", "options"),
    [
        ({}, Options()),
        ({"serving.allow": ""}, Options()),
        ({"serving.allow": "nulls, whole_numbers,"}, Options(allow=frozenset({"nulls", "whole_numbers"}))),
        ({"serving.allow": ",".join(Policy)}, Options(allow=frozenset(Policy))),
        (
            {"serving.batch_size": "8", "serving.max_batch_delay": " 5", "serving.workers": "2"},
            Options(batch_size=8, max_batch_delay_ms=5, workers=2),
        ),
        ({"serving.rows": "independent"}, Options(rows_are_vouched_for=True)),
        ({"serving.timeout_s": "600"}, Options(timeout_s=600)),
        ({"serving.max_batch_delay": "0", "owner": "me"}, Options(max_batch_delay_ms=0)),
    ],
)
def test_tags_say_how_a_version_is_served(tags: dict[str, str], options: Options) -> None:
    """Each tag sets its option, and what is not tagged keeps its default: strict, 32, 0 ms, one worker, 60 s."""
    assert Options.from_tags(tags) == options


@pytest.mark.parametrize(
    ("tag", "value", "message"),
    [
        ("allow", "nulls,Nulls,all", "The tag serving.allow has ['Nulls', 'all']: expected some of ['extra_columns', "),
        ("batch_size", "0", "The tag serving.batch_size has '0': expected a whole number from 1 to 1024."),
        ("batch_size", "1025", "The tag serving.batch_size has '1025': "),
        ("max_batch_delay", "-1", "The tag serving.max_batch_delay has '-1': expected a whole number from 0 to 1000."),
        ("max_batch_delay", "1.5", "The tag serving.max_batch_delay has '1.5': "),
        ("timeout_s", "601", "The tag serving.timeout_s has '601': expected a whole number from 1 to 600."),
        ("timeout_s", "0.5", "The tag serving.timeout_s has '0.5': "),
        ("workers", "²", "The tag serving.workers has '²': expected a whole number from 1 to 64."),
        ("workers", "9" * 5000, "The tag serving.workers has "),
        ("rows", "mixed", "The tag serving.rows has 'mixed': expected 'independent', or no such tag."),
        ("rows", "", "The tag serving.rows has ''"),
        ("workers", "", "The tag serving.workers has '': "),
    ],
)
def test_other_values_are_refused(tag: str, value: str, message: str) -> None:
    """A word that is none and a number out of range are refused, with tag, value and what was expected."""
    with pytest.raises(NotServable) as caught:
        Options.from_tags({f"serving.{tag}": value})
    assert str(caught.value).startswith(message)


def test_a_revision_tells_tags_apart() -> None:
    """A version without tags goes by its number; the same tags make the same revision, others another."""
    assert Revision("3").id == "3"
    tagged = Revision("3", {"serving.workers": "2", "serving.allow": "nulls"}).id
    assert tagged.startswith("3-")
    assert tagged == Revision("3", {"serving.allow": "nulls", "serving.workers": "2"}).id
    others = {
        Revision("3", {"serving.allow": "nulls"}).id,
        Revision("4", {"serving.allow": "nulls"}).id,
        Revision("3", {"serving.rows": "independent"}).id,
    }
    assert len(others | {tagged, "3"}) == 5
