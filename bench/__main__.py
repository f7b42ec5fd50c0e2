"""`python -m bench`: measures, prints the tables, and leaves them as JSON and a plot in .signet/bench."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench import doors, hop, load, many, micro, middleware, model, neighbours, pieces, report, rollouts
from bench.contenders import NAMES, Contender, running
from bench.plot import plot
from bench.report import Results

OUTPUT = Path(".signet/bench")
PARTS = (*NAMES, "pieces", "micro", "middleware", "hop", "doors", "neighbours", "rollouts", "many")


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0 after a measurement, whatever it shows; 2 where a tool is missing."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--seconds", type=int, default=1, help="how long each load lasts (default: 1)")
    parser.add_argument("--rounds", type=int, default=7, help="rounds of which the median counts (default: 7)")
    parser.add_argument("--connections", type=_counts, default=[1, 8, 64], help="default: 1,8,64")
    parser.add_argument("--only", type=_parts, default=PARTS, help=f"some of {','.join(PARTS)} (default: all)")
    options = parser.parse_args(arguments)
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    results = Results()
    names = set(options.only) & set(NAMES)
    try:
        if names or {"middleware", "pieces", "hop", "doors"} & set(options.only):
            load.require_wrk()
    except load.MissingTool as error:
        print(error, file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="signet-bench-") as temporary:
        saved = model.save(Path(temporary, "model"))
        (program,) = saved.rglob("*.pt2")
        results.program_mib = program.stat().st_size / 2**20
        if names:
            with running(saved, Path(temporary), names) as contenders:
                results.contenders = contenders
                _measure(results, options.connections, options.seconds, options.rounds)
        _measure_parts(results, options, saved, Path(temporary))
    OUTPUT.mkdir(parents=True, exist_ok=True)
    (OUTPUT / "bench.json").write_text(json.dumps(results.as_json(), indent=1), "utf-8")
    if results.bulk:
        plot(results.bulk, OUTPUT / "linear.svg")
    print(report.markdown(results))
    return 0


def _measure_parts(results: Results, options: argparse.Namespace, saved: Path, folder: Path) -> None:
    """Whatever else is asked for, one after the other."""
    load_options = (options.connections, options.seconds, options.rounds)
    if "pieces" in options.only:
        _say("Signet with all clever pieces, without each, and without any")
        results.pieces = pieces.measure(saved, folder, *load_options)
    if "micro" in options.only:
        (program,) = saved.rglob("*.pt2")
        _say("one row, and bodies of 1 to 1,000,000 rows")
        results.one_row = micro.one_row(program)
        results.bulk = list(micro.bulk())
    if "middleware" in options.only:
        _say("three servers with the contract's middleware and without it")
        results.middleware = middleware.measure(saved, folder, *load_options)
    if "hop" in options.only:
        _say("through the gateway's HAProxy, and directly")
        try:
            results.hop = hop.measure(saved, folder, *load_options)
        except load.MissingTool as error:
            print(error, file=sys.stderr)
    if "doors" in options.only:
        _say("the gateway's own port, and its door")
        results.doors = doors.measure(saved, folder, *load_options)
    if "neighbours" in options.only:
        _say("requests beside a slow one")
        results.neighbours = neighbours.measure(saved, folder / "neighbours", options.rounds)
    if "rollouts" in options.only:
        _say("rollouts under a steady load")
        results.rollouts = rollouts.measure(folder / "stack")
    if "many" in options.only:
        _say("a hundred models on one replica")
        results.many = many.measure(folder / "many")


def _measure(results: Results, connections: Sequence[int], seconds: int, rounds: int) -> None:
    """Rounds in which every contender gets its turn, so that a drift of the machine is everyone's."""
    for contender in results.contenders:
        _say(f"warming up {contender.title}")
        load.run(contender, model.VALID, 8, seconds, valid=True)
        results.memory_before[contender.name] = load.memory(contender)
    for count in connections:
        _say(f"{count} connections")
        _measure_at(results, count, seconds, rounds)
    for contender in results.contenders:
        results.memory[contender.name] = load.memory(contender)
    if any(contender.is_noop for contender in results.contenders):
        _say("the ceiling once more")
        _measure_drift(results, seconds, rounds)


def _measure_at(results: Results, connections: int, seconds: int, rounds: int) -> None:
    turns: list[tuple[Contender, bool]] = [
        (contender, valid)
        for contender in results.contenders
        for valid in (True, False)
        if valid or not contender.is_noop
    ]
    for _ in range(rounds):
        for contender, valid in turns:
            body = model.VALID if valid else model.INVALID
            rate = load.run(contender, body, connections, seconds, valid=valid)
            results.rounds.setdefault((contender.name, connections, valid), []).append(rate)


def _measure_drift(results: Results, seconds: int, rounds: int) -> None:
    by_name = {contender.name: contender for contender in results.contenders}
    for connections in results.connections:
        name, before = results.ceiling(connections)
        again = [load.run(by_name[name], model.VALID, connections, seconds, valid=True) for _ in range(rounds)]
        results.drift[connections] = load.median(again).requests_per_s / before.requests_per_s


def _counts(text: str) -> list[int]:
    return [int(count) for count in text.split(",")]


def _parts(text: str) -> list[str]:
    parts = text.split(",")
    unknown = [part for part in parts if part not in PARTS]
    if unknown:
        raise argparse.ArgumentTypeError(f"{','.join(unknown)}: expected some of {','.join(PARTS)}")
    return parts


def _say(what: str) -> None:
    print(f"  {what} …", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
