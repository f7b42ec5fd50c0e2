"""Brings one version into service beside what serves: archive, workers, golden answers, and only then the requests."""

from __future__ import annotations

import logging
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from signet_contract.policy import Policy

from signet_torchserve import memory, name_validation
from signet_torchserve.archive import builder, digest
from signet_torchserve.archive.golden import Golden, are_close
from signet_torchserve.archive.load_failure import LoadFailure
from signet_torchserve.archive.served_contract import ServedContract
from signet_torchserve.archive.store import Store
from signet_torchserve.errors import DigestDiffers, NotServable
from signet_torchserve.memory_budget import MemoryBudget
from signet_torchserve.registry.client import Registry
from signet_torchserve.registry.errors import RegistryError
from signet_torchserve.revision import ALLOW_BREAKING, CONTRACT, DIGEST, MEMORY, Revision
from signet_torchserve.server.model_server import ModelServer, ModelServerError, RequestRejected, wait_until_ready
from signet_torchserve.version_options import Options

logger = logging.getLogger(__name__)

QUICK_S = 0.5  # a slower golden request is not asked again among others: there it may take several times as long
ASKED_AGAIN = 2  # times


class Superseded(Exception):
    """Another version is desired by now, `desired`, or none."""

    def __init__(self, desired: str | None) -> None:
        super().__init__(f"The alias has moved on to version {desired}." if desired else "The alias was taken away.")
        self.desired = desired


class Rollout:
    """One version on its way into service, in a thread of its own.

    Attributes:
        name: the deployment.
        revision: the version.
        kind: `cached_replacement` or `other` (see `plan.AT_ONCE`).
        tags: what the registry is to be told of it, so far.
        is_proven: whether it has come up, and given its golden answers if it has some.
        is_over: whether its thread has done its work.
        error: what it ended with, if not with the version in service.

    Args:
        name: the deployment.
        revision: the version.
        kind: as above.
        serving: what serves meanwhile, if anything does.
        registry: where its files are downloaded from.
        server: serves it in the end.
        store: keeps its archive.
        budget: says whether there is memory for it.
        turn: a lock, held while workers start and are proven; for a cached replacement, no lock.
    """

    def __init__(  # noqa: PLR0913 -- all that takes part in it
        self,
        name: str,
        revision: Revision,
        kind: str,
        *,
        serving: Revision | None,
        registry: Registry,
        server: ModelServer,
        store: Store,
        budget: MemoryBudget,
        turn: AbstractContextManager[object],
    ) -> None:
        self.name = name
        self.revision = revision
        self.kind = kind
        self._serving = serving
        self._registry = registry
        self._server = server
        self._store = store
        self._budget = budget
        self._turn = turn
        self._options = Options()
        self._mark = registry.changes.mark
        self._began = time.monotonic()
        self._steps: dict[str, float] = {}
        self._digest = ""
        self._alone = ""
        self._superseded: Superseded | None = None
        self.tags: dict[str, str] = {}
        self.is_proven = False
        self.is_over = False
        self.error: Exception | None = None

    def begin(self, on_progress: Callable[[], object], *, is_desired: bool) -> None:
        """`run` in a thread; what it raises is kept in `error`, and `on_progress` is called at the end, too."""

        def work() -> None:
            try:
                self.run(on_progress, is_desired=is_desired)
            except Exception as error:  # noqa: BLE001 -- kept for who began it
                self.error = error
            self.is_over = True
            on_progress()

        threading.Thread(target=work, name=f"rollout of {self.name}", daemon=True).start()

    @property
    def is_cancelled(self) -> bool:
        return self._superseded is not None

    def cancel(self, superseded: Superseded) -> None:
        """End the rollout before its next step; its download ends before the next file."""
        self._superseded = superseded

    def run(self, on_progress: Callable[[], object] = lambda: None, *, is_desired: bool = False) -> None:
        """Let the version answer the deployment's requests.

        Args:
            on_progress: called when the archive is there, so that the next one may be fetched.
            is_desired: whether the registry asks for this version: then it is asked once more before requests go there.
                False for a stand-in, which served last and serves until the desired version can.

        Raises:
            NotServable: it must not be served, now or ever.
            NoRoom: there is no memory for it.
            FilesIncomplete: some of its files are missing.
            RegistryError: its files cannot be fetched now.
            OSError: there is no room for its files.
            Superseded: another version is desired by now, or `cancel` was called.
            ModelServerError: its workers do not come up, or it does not give its golden answers.
        """
        name_validation.check(self.name)
        self._options = Options.from_tags(self.revision.tags)
        is_up = self._server.version(self.name, self.revision.id) is not None
        mar = None if is_up else self._cached_or_built()
        on_progress()
        reserved = self._budget.reserved(self._budget.needed_mib(mar)) if mar else nullcontext()
        with self._turn, reserved:
            self._check_cancelled()
            self._prove(self._unpacked(mar) if mar else self._store.unpacked(self.name, self.revision.id))
            self.is_proven = True
            with self._step("default"):
                if is_desired:
                    self._check_still_desired()
                self._check_cancelled()
                self._server.set_default(self.name, self.revision.id)
        if self._digest:
            self.tags[DIGEST] = self._digest

    def account(self) -> str:
        """How long it took, step by step, in seconds, and why requests don't share a forward pass if they don't."""
        steps = ", ".join(f"{step} {seconds:.1f}" for step, seconds in self._steps.items())
        return f"{time.monotonic() - self._began:.1f} s ({steps}){self._alone}"

    @contextmanager
    def _step(self, name: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self._steps[name] = self._steps.get(name, 0.0) + time.monotonic() - began

    def _cached_or_built(self) -> Path:
        """The version's archive, from the store or newly made."""
        self._check_cancelled()
        mar = self._store.archive(self.name, self.revision)
        if not self._store.is_cached(self.name, self.revision):
            self._download_and_build(mar)
            self._check_cancelled()
        return mar

    def _unpacked(self, mar: Path) -> Path:
        """The folder of the version's archive."""
        for is_built_again in (False, True):
            if is_built_again:
                logger.warning("The archive %s is not what was built, and is built again.", mar.name)
                self._cached_or_built()
            with self._step("archive"):
                folder = self._store.unpack(self.name, self.revision)
            if folder is not None:
                return folder
        raise NotServable(f"The archive {mar.name} changes while it is read.")

    def _prove(self, folder: Path) -> None:
        """Have the version's workers give its golden answers."""
        self._alone = builder.why_alone(folder)
        self._check_contract(folder)
        self._bring_up(folder)
        golden = Golden.of(folder)
        if golden is not None:
            with self._step("golden"):
                self._check_golden(golden)
        taken = self._taken(folder)
        self.tags[MEMORY] = f"{taken.alone_mib + taken.files_mib:.0f}"

    def _download_and_build(self, mar: Path) -> None:
        with tempfile.TemporaryDirectory(dir=self._store.temporary) as folder:
            with self._step("download"):
                model = self._registry.download(self.name, self.revision.version, Path(folder), self._check_cancelled)
            with self._step("archive"):
                builder.refuse_incomplete(model)
                found = digest.of_model(model)
                recorded = self.revision.tags.get(DIGEST, found)
                if found != recorded:
                    raise DigestDiffers(found, recorded)
                self._digest = found
                builder.build(model, self.name, self.revision, mar)
                self._store.write_manifest(self.name, self.revision)

    def _check_contract(self, folder: Path) -> None:
        """Compare the version's contract with the one that serves, and note what changes for clients."""
        serving = self._serving
        if self.revision.has_served:
            return
        new = ServedContract.of(folder)
        notes = new.notes()
        if notes:
            self.tags[CONTRACT] = " ".join(notes)
        if serving is None or serving.version == self.revision.version:
            return
        changes = new.compare(ServedContract.of(self._store.unpacked(self.name, serving.id)))
        breaking = [change.text for change in changes if change.is_breaking]
        kind = "breaking for" if breaking else "compatible for" if changes else "unchanged for"
        said = "".join(f"; {change.text}" for change in changes)
        compared = f"{kind} clients of version {serving.version}{said.replace(';', ':', 1)}"
        self.tags[CONTRACT] = ". ".join([compared, *notes])
        if breaking and not self.revision.allows_breaking:
            raise NotServable(
                f"The version would break clients of version {serving.version}: {'; '.join(breaking)}. "
                f"If that is meant, set the tag {ALLOW_BREAKING} to true, or deploy with -C allow_breaking=true."
            )

    def _bring_up(self, folder: Path) -> None:
        """Start those of the version's workers that are not up: one, and the others where there is room for them."""
        workers, served = self._options.workers, self._server.version(self.name, self.revision.id)
        first = min(workers, max(1, served.workers if served else 0))  # those that are up may be answering
        with self._step("workers"):
            self._start(folder, first)
            if workers > first:  # `run` has reserved an estimate for one worker; now a worker's memory can be measured
                with self._budget.reserved((workers - first) * self._taken(folder).alone_mib / first):
                    self._start(folder, workers)

    def _start(self, folder: Path, workers: int) -> None:
        self._server.ensure(self.name, self.revision.id, folder, replace(self._options, workers=workers))
        wait_until_ready(self._server, self.name, self.revision.id, workers, self._check_loading)

    def _taken(self, folder: Path) -> memory.Taken:
        served = self._server.version(self.name, self.revision.id)
        return memory.taken(served.pids if served else (), folder)

    def _check_golden(self, golden: Golden) -> None:
        """Ask for the golden answers, alone and among other requests, and compare them."""
        ask = partial(self._server.predict, self.name, self.revision.id)
        began = time.monotonic()
        try:
            answer = ask(golden.request)
        except RequestRejected as rejected:
            raise NotServable(f"The version refuses its own example: {rejected}") from rejected
        if mismatch := golden.mismatch(answer):
            raise ModelServerError(mismatch)
        if self.revision.has_served or Policy.RANDOM in self._options.allow:
            return
        others = [golden.neighbour] * 2 if time.monotonic() - began < QUICK_S else []
        with ThreadPoolExecutor(ASKED_AGAIN + len(others)) as pool:
            again = [pool.submit(ask, golden.request) for _ in range(ASKED_AGAIN)]
            for other in others:
                pool.submit(ask, other)  # whatever its answer is
        for another in (future.result() for future in again):
            if not are_close(another, answer):
                raise NotServable(
                    f"The model answers one request with {answer} and then with {another}, so that its answers are no "
                    "function of a request: call model.eval() before logging it. If the answers are meant to vary, "
                    "set the tag serving.allow to random."
                )

    def _check_loading(self) -> None:
        self._check_cancelled()
        failure = LoadFailure.of(self._store.unpacked(self.name, self.revision.id))
        if failure is not None and failure.is_final:
            raise NotServable(failure.reason)
        if failure is not None:
            raise ModelServerError(f"A worker could not load the model: {failure.reason}")

    def _check_cancelled(self) -> None:
        if self._superseded is not None:
            raise self._superseded

    def _check_still_desired(self) -> None:
        """Raise `Superseded` if the alias has left this version. While the registry does not answer, it has not."""
        with suppress(RegistryError):
            may_have_left = self._registry.changes.are_there_since(self._mark)
            if may_have_left and (champion := self._registry.champion_version(self.name)) != self.revision.version:
                raise Superseded(champion)
