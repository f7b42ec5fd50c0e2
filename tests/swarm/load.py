"""Who asks for predictions from outside; a load on several addresses at once, and what became of each request."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import requests

from testing.repository import MODEL, SAMPLES

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

PORT = 8443
_PATIENCE_S = 20
THREADS = 2
"""That ask at each address: at most so many requests are under way there."""
_BODY = (SAMPLES / "sample.json").read_bytes()


@dataclass(frozen=True)
class Caller:
    """Someone who has a token, and trusts one certificate."""

    token: str
    authority: Path

    def ask(self, address: str, session: requests.Session | None = None) -> requests.Response:
        """Ask for a prediction at a machine's address, on the session's connection or on a new one."""
        return (session or requests).put(
            f"https://{address}:{PORT}/predictions/{MODEL}",
            data=_BODY,
            headers={"Authorization": f"Bearer {self.token}"},
            verify=str(self.authority),
            timeout=(3, _PATIENCE_S),
        )

    def predict(self, address: str) -> str:
        """Return the version that answers there, or what is said instead."""
        answer = self.ask(address)
        return answer.headers.get("X-Model-Version", answer.text)


@dataclass
class Outcomes:
    """What became of the requests to one address."""

    answered: Counter[str] = field(default_factory=Counter)
    """By the version that answered."""
    lost: list[str] = field(default_factory=list)
    """Taken, and not answered with a prediction: why, and when after the start."""
    turned_away: int = 0
    """Not even taken: nobody listens there."""
    slowest_s: float = 0


class Load:
    """While it is entered each address gets requests, one on a kept connection and one on a new one at a time."""

    def __init__(self, caller: Caller, addresses: Iterable[str]) -> None:
        self._caller = caller
        self.outcomes = {address: Outcomes() for address in addresses}
        self._done = threading.Event()
        self._began = time.monotonic()
        self._threads = [
            threading.Thread(target=self._ask, args=(address, keep))
            for address in self.outcomes
            for keep in (True, False)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join()
        for address, outcomes in self.outcomes.items():
            print(f"{address}: {outcomes}")

    def run_for(self, seconds: float) -> None:
        """Go on for a while, as a load does before something happens."""
        self._done.wait(seconds)

    def costs(self) -> dict[str, Outcomes]:
        """The addresses that did not answer every request, with what became of the requests there."""
        assert all(sum(it.answered.values()) > 10 for it in self.outcomes.values()), "each address has answered"
        return {address: it for address, it in self.outcomes.items() if it.lost or it.turned_away}

    def _ask(self, address: str, keep: bool) -> None:
        outcomes, session = self.outcomes[address], requests.Session()
        while not self._done.wait(0.05):  # a load, not all that the machine has
            began = time.monotonic()
            try:
                answer = self._caller.ask(address, session if keep else None)
            except requests.exceptions.ConnectTimeout:
                outcomes.turned_away += 1
            except requests.RequestException as error:
                if "Connection refused" in str(error) or "No route to host" in str(error):
                    outcomes.turned_away += 1
                else:
                    outcomes.lost.append(f"{error!r} at {began - self._began:.1f} s")
            else:
                if (answer.status_code, answer.text) == (200, "SETOSA"):
                    outcomes.answered[answer.headers["X-Model-Version"]] += 1
                else:
                    outcomes.lost.append(f"{answer.status_code} {answer.text[:300]} at {began - self._began:.1f} s")
            outcomes.slowest_s = max(outcomes.slowest_s, round(time.monotonic() - began, 1))
