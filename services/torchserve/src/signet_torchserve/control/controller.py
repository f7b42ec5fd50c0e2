"""Makes a model server serve what the registry asks for: it observes, plans and acts, look by look.

Rollouts and the ends of versions have threads of their own, and what goes wrong there stays with its deployment. The
controller's own thread asks the registry and the model server, which takes a while with many models. It never assumes
that an action has succeeded: the next look observes what the action came to.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext

from signet_torchserve.archive.store import Store
from signet_torchserve.control import plan
from signet_torchserve.control.controller_status import Status
from signet_torchserve.control.desired import Desired, Follower
from signet_torchserve.control.failed_attempts import FailedAttempts
from signet_torchserve.control.observed import Observed, Observer, RunningDrain, RunningRollout
from signet_torchserve.control.presence import Presence
from signet_torchserve.control.retry_loop import keep_going
from signet_torchserve.control.rollout import Rollout, Superseded
from signet_torchserve.control.status_reporter import StatusReporter
from signet_torchserve.control.version_outcomes import Outcomes
from signet_torchserve.memory_budget import MemoryBudget
from signet_torchserve.registry.client import Registry
from signet_torchserve.registry.errors import RegistryError
from signet_torchserve.revision import Revision
from signet_torchserve.server.model_server import ModelServer, ModelServerError
from signet_torchserve.version_options import Options

logger = logging.getLogger(__name__)
LOOK_S = 0.25  # between two looks while a version comes into service or ends
LOOK_SHARE = 0.2  # of the time then, at most: a look at many models is slow, and the pause after it is longer
STOP_S = 0.2  # within which the controller notices that it is to stop
RESUME_S = 60  # for what the model server was started with to prove itself, before the registry is asked
_TOLD_AS = {"unreachable": "pending"}  # in the registry


class Controller:
    """Follows a registry with one model server.

    Args:
        registry: says which version of each model ought to be served.
        server: serves them.
        store: keeps their archives.
        status: where to tell what is served.
        poll_interval_s: seconds between two looks at the registry.
        budget: says whether there is memory for more versions.
    """

    def __init__(  # noqa: PLR0913, PLR0917 -- all that it deals with
        self,
        registry: Registry,
        server: ModelServer,
        store: Store,
        status: Status,
        poll_interval_s: float,
        budget: MemoryBudget,
    ) -> None:
        self._registry = registry
        self._server = server
        self._store = store
        self._status = status
        self._poll_interval_s = poll_interval_s
        self._budget = budget
        self._observer = Observer(server, store, poll_interval_s)
        self._follower = Follower(registry, store, status)
        self._presence = Presence(registry, store.replica)
        self._reporter = StatusReporter(registry, self._presence, status)
        self._outcomes = Outcomes(self._reporter, store)
        self._rollouts: list[Rollout] = []
        self._proven: set[tuple[str, tuple[int, str]]] = set()
        self._recalled: dict[str, Revision | None] = {}
        self._draining: dict[tuple[str, str], RunningDrain] = {}
        self._tasks: dict[tuple[str, str], threading.Thread] = {}
        self._troubles: dict[tuple[str, str], str] = {}
        self._held: set[str] = set()
        self._has_to_wait = self._is_resumed = self._has_progressed = False
        self._turn, self._progress = threading.Lock(), threading.Event()

    def run(self, stop: threading.Event) -> None:
        """Reconcile until `stop` is set, whatever goes wrong."""
        threading.Thread(target=self._follower.listen, args=(self._progress.set, stop), daemon=True).start()
        keep_going("The controller", self._step, self._status, stop, lambda seconds: self.rest(seconds, stop))
        self._presence.leave()

    def rest(self, seconds: float, stop: threading.Event | None = None) -> None:
        """Wait for `seconds`, or until a task makes progress, the registry has news, or `stop` is set."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not (stop and stop.is_set()):
            if self._progress.wait(min(left, STOP_S)):
                break
        self._has_progressed = self._progress.is_set()
        self._progress.clear()

    def resume(self) -> None:
        """Prove what the model server was started with, for `RESUME_S` at most; then the registry is asked."""
        deadline = time.monotonic() + RESUME_S
        while True:
            observed = self._observe({})
            self._act(Desired(observed.answering(), is_known=False), observed)
            if not self._rollouts or time.monotonic() > deadline:
                break
            self.rest(LOOK_S)
        self._outcomes.failed_attempts = FailedAttempts()  # what failed is tried at once if the registry asks for it
        self._is_resumed = True

    def reconcile(self, *, has_progressed: bool = False) -> float:
        """Begin, go on with and end what differs between what is desired and what is observed.

        Args:
            has_progressed: whether a task has made progress: then the registry need not be asked anew.

        Returns:
            Seconds until the next look: few while there is more to do, more and more while the registry is away.
        """
        desired = self._follower.look(self._outcomes.serving, may_reuse=has_progressed)
        try:
            observed = self._observe(desired.revisions)
        except ModelServerError as error:
            logger.warning("TorchServe does not say what it serves: %s", error)
            return self._poll_interval_s
        if desired.is_known:  # what was noted of others is forgotten
            self._recalled = {name: it for name, it in self._recalled.items() if name in desired.revisions}
            last = {name: it for name, it in observed.last_good.items() if it is not None}
            self._outcomes.failed_attempts.forget_all_but(desired.revisions, last)
        self._outcomes.failed_attempts.note_free_memory(self._budget.free_mib)
        self._act(desired, observed)
        if self.is_busy:
            return min(max(LOOK_S, self._follower.look_took_s / LOOK_SHARE), self._poll_interval_s)
        return self._follower.until_next_look_s(self._poll_interval_s)

    @property
    def is_busy(self) -> bool:
        """Whether versions come into service or end, or are about to."""
        return bool(self._has_to_wait or self._rollouts or self._draining or self._tasks)

    def _step(self) -> float:
        if not self._is_resumed:
            self.resume()
        return self.reconcile(has_progressed=self._has_progressed)

    def _observe(self, desired: Mapping[str, Revision]) -> Observed:
        """See what there is, and take note of what became of the rollouts that are over."""
        # Which rollouts and tasks are over is settled before the server is asked, so that its answer shows what they
        # came to. One that ends while it is asked counts as running until the next look.
        over = [rollout for rollout in self._rollouts if rollout.is_over]
        running_tasks = {key: task for key, task in self._tasks.items() if task.is_alive()}
        deployments = self._observer.deployments(self._changing(desired))
        self._rollouts = [rollout for rollout in self._rollouts if rollout not in over]
        self._tasks = running_tasks
        self._proven |= {(it.name, it.revision.identity) for it in over if it.is_proven}
        # Nothing served before a model's first version: its last good one is None, and need not be asked for.
        last_good = {**dict.fromkeys(self._registry.firsts), **self._recalled, **self._store.last_good()}
        in_service = {(name, it.revision.identity) for name, it in deployments.items() if it.revision} & self._proven
        observed = Observed(
            deployments=deployments,
            rollouts=[RunningRollout(it.name, it.revision, it.kind, it.is_cancelled) for it in self._rollouts],
            proven=frozenset(self._proven),
            draining=dict(self._draining),
            ending=frozenset(self._tasks),
            cached=self._observer.cached((*last_good.items(), *desired.items()), in_service),
            last_good=last_good,
            archived=self._store.stems(),
        )
        for rollout in over:
            self._outcomes.settle(rollout, desired, observed)
        return observed

    def _changing(self, desired: Mapping[str, Revision]) -> set[str]:
        """Names of the deployments that are not as desired, or were changed since the last look: each is looked at."""
        served = self._outcomes.serving
        begun = {it.name for it in self._rollouts} | {name for name, _ in (*self._draining, *self._tasks)}
        return begun | {name for name, it in desired.items() if served.get(name, it).identity != it.identity}

    def _act(self, desired: Desired, observed: Observed) -> None:
        now = time.monotonic()
        actions = plan.plan(desired, observed, self._outcomes.failed_attempts, now)
        self._outcomes.follow(desired, observed)
        self._draining = {
            (it.name, it.revision_id): RunningDrain(
                self._draining.get((it.name, it.revision_id), RunningDrain(now)).since,
                observed.deployments[it.name].versions[it.revision_id].is_idle,
            )
            for it in actions
            if isinstance(it, plan.Drain)
        }
        self._has_to_wait = any(isinstance(action, plan.Wait | plan.Recall) for action in actions)
        self._tell_held({name for action in actions if isinstance(action, plan.Hold) for name in action.names})
        for action in actions:
            try:
                self._do(action, desired, observed)
            except Exception as error:
                name = getattr(action, "name", "An archive")
                logger.exception("Something is wrong with %s; the others go on.", name)
                self._status.note_error(name, error)
                if isinstance(action, plan.Begin):
                    self._outcomes.give_up(name, action.revision, error, {}, is_desired=True)
        self._report(desired, observed)

    def _do(self, action: plan.Action, desired: Desired, observed: Observed) -> None:
        match action:
            case plan.Begin(name, revision, kind):
                self._begin(name, revision, kind, desired, observed)
            case plan.Cancel(name, desired_version):
                self._cancel(name, Superseded(desired_version))
            case plan.Recall(name, created):
                self._start((name, ""), lambda: self._recall(name, created))
            case plan.Ensure(name, revision):
                folder, options = self._store.unpacked(name, revision.id), Options.from_tags(revision.tags)
                self._start((name, revision.id), lambda: self._server.ensure(name, revision.id, folder, options))
            case plan.Remove(name, revision_id, at_any_cost):
                self._start((name, revision_id), lambda: self._remove(name, revision_id, at_any_cost=at_any_cost))
            case plan.DeleteArchives(stem):
                self._store.delete_archives(stem)

    def _begin(self, name: str, revision: Revision, kind: str, desired: Desired, observed: Observed) -> None:
        logger.info("Deploying %s version %s.", name, revision.id)
        is_desired = desired.revisions.get(name) == revision
        rollout = Rollout(
            name,
            revision,
            kind,
            serving=observed.answering().get(name),
            registry=self._registry,
            server=self._server,
            store=self._store,
            budget=self._budget,
            turn=self._turn if kind == "other" else nullcontext(),
        )
        self._rollouts.append(rollout)
        rollout.begin(self._progress.set, is_desired=desired.is_known and is_desired)
        if is_desired and self._outcomes.failed_attempts.outcome(name, revision) == "pending":
            self._reporter.put(name, revision, "pending", "it is being deployed")
        self._status.forget_error(name)

    def _cancel(self, name: str, superseded: Superseded) -> None:
        for rollout in self._rollouts:
            if rollout.name == name and not rollout.is_cancelled:
                rollout.cancel(superseded)
                if superseded.desired != rollout.revision.version:
                    logger.info("%s version %s: %s", name, rollout.revision.id, superseded)
                    self._reporter.put_final(name, rollout.revision, "failed", str(superseded))

    def _recall(self, name: str, created: int) -> None:
        try:
            self._recalled[name] = self._registry.last_served(name, created)
        except RegistryError:
            self._recalled[name] = None

    def _remove(self, name: str, revision_id: str, *, at_any_cost: bool) -> None:
        """Remove a version and its files; the server may keep one to which a request came at the last moment."""
        if self._server.remove(name, revision_id, at_any_cost=at_any_cost):
            logger.info("%s version %s is retired.", name, revision_id)
            self._store.discard(name, revision_id)
            serving = self._outcomes.serving.get(name)
            self._store.prune(name, keep={serving.id} if serving else set())

    def _start(self, key: tuple[str, str], work: Callable[[], object]) -> None:
        """Do what may take long in a thread of its own. What goes wrong is done again while the plan has it."""

        def task() -> None:
            try:
                work()
            except (ModelServerError, OSError) as error:
                if self._troubles.get(key) != str(error):  # once, though it is tried at each look
                    logger.warning("%s: %s", key[0], error)
                self._troubles[key] = str(error)
            else:
                self._troubles.pop(key, None)
            self._progress.set()

        if key not in self._tasks:
            self._tasks[key] = threading.Thread(target=task, name=f"task of {key[0]}", daemon=True)
            self._tasks[key].start()

    def _tell_held(self, names: set[str]) -> None:
        """Tell which deployments go on although the registry lists them no more."""
        why = f"The registry has none of the served models; they are withdrawn if that stays so for {plan.HOLD_S} s."
        if names and not self._held:
            logger.error("%s", why)
        self._held = names
        self._status.stranded = {**self._status.stranded, **dict.fromkeys(sorted(names), why)}

    def _report(self, desired: Desired, observed: Observed) -> None:
        states = {name: self._outcomes.state(name, it, observed) for name, it in sorted(desired.revisions.items())}
        self._status.tell(
            deployments={name: revision.id for name, revision in observed.answering().items()},
            pending=[name for name, state in states.items() if state == "pending"],
            failed=[name for name, state in states.items() if state in {"failed", "unreachable"}],
            refused=[name for name, state in states.items() if state == "refused"],
        )
        if desired.is_known:
            stranded = self._status.stranded
            told = {name: _TOLD_AS.get(it, it) for name, it in states.items() if name not in stranded}
            self._reporter.tell(desired.revisions, told, is_busy=self._has_to_wait or bool(self._rollouts))
