"""The rules of `signet_trainer.promotion`."""

import pytest
from signet_trainer.promotion import Champion, decide


@pytest.mark.parametrize(
    ("accuracy", "champion", "promoted", "words"),
    [
        (0.95, None, True, "there is no champion yet"),
        (0.90, None, True, "reaches the threshold 0.9"),
        (0.89, None, False, "0.890 is below the threshold 0.9"),
        (0.95, Champion("3", 0.95, "measured"), True, "champion version 3 has 0.950 (measured)"),
        (0.95, Champion("3", 0.94, "measured"), True, "champion version 3 has 0.940 (measured)"),
        (0.95, Champion("3", 0.96, "measured"), False, "worse than the champion's: champion version 3 has 0.960"),
        (0.95, Champion("3", None, "is broken"), True, "champion version 3 is broken"),
        (0.50, Champion("3", None, "is broken"), False, "below the threshold"),
        (0.50, Champion("3", 0.40, "measured"), False, "below the threshold"),
    ],
)
def test_decide(accuracy: float, champion: Champion | None, promoted: bool, words: str) -> None:
    """At least the threshold and not worse than the champion; the reason says which."""
    promotion = decide(accuracy, 0.9, champion)
    assert promotion.promoted is promoted
    assert words in promotion.reason
