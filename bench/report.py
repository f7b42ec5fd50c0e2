"""Tables and bars, as Markdown: readable as it is, and ready for the README."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from operator import attrgetter
from typing import Any

from bench import doors, hop, many, neighbours, pieces, rollouts
from bench.contenders import Contender
from bench.doors import Doors
from bench.hop import Hop
from bench.load import Memory, Rate, median
from bench.many import Many
from bench.micro import SIZES, Bulk, OneRow
from bench.middleware import SERVERS, Middleware
from bench.neighbours import Neighbours
from bench.pieces import Pieces
from bench.rollouts import Rollouts

Point = tuple[str, int, bool]
"""Contender's name, connections, whether the requests are valid."""


@dataclass(slots=True)
class Results:
    """All that was measured."""

    contenders: list[Contender] = field(default_factory=list)
    rounds: dict[Point, list[Rate]] = field(default_factory=dict)
    """In each round every point of as many connections had its turn, so that these lists go together."""
    drift: dict[int, float] = field(default_factory=dict)
    """By connections: the ceiling's rate at the end over its rate in the rounds."""
    memory_before: dict[str, Memory] = field(default_factory=dict)
    """By contender, when it has answered valid requests only."""
    memory: dict[str, Memory] = field(default_factory=dict)
    """By contender, at the end."""
    program_mib: float = 0.0
    one_row: OneRow | None = None
    bulk: list[Bulk] = field(default_factory=list)
    middleware: Middleware | None = None
    doors: Doors | None = None
    neighbours: Neighbours | None = None
    rollouts: Rollouts | None = None
    many: Many | None = None
    pieces: Pieces | None = None
    hop: Hop | None = None

    @property
    def rates(self) -> dict[Point, Rate]:
        return {point: median(rates) for point, rates in self.rounds.items()}

    @property
    def connections(self) -> list[int]:
        return sorted({connections for _, connections, _ in self.rounds})

    def ratio(self, point: Point, other: Point, figure: Callable[[Rate], float]) -> float:
        """Median of the rounds' ratios: a machine that is slower for some seconds is slower for both."""
        pairs = zip(self.rounds[point], self.rounds[other], strict=True)
        return statistics.median(figure(rate) / figure(other_rate) for rate, other_rate in pairs)

    def ceiling(self, connections: int) -> tuple[str, Rate]:
        """Name and rate of the fastest no-op."""
        return max(
            ((c.name, self.rates[c.name, connections, True]) for c in self.contenders if c.is_noop),
            key=lambda each: each[1].requests_per_s,
        )

    def as_json(self) -> dict[str, Any]:
        return {
            "rates": [
                {"contender": name, "connections": connections, "valid": valid, **asdict(rate)}
                for (name, connections, valid), rate in self.rates.items()
            ],
            "drift": self.drift,
            "memory_before_rejections": {name: asdict(memory) for name, memory in self.memory_before.items()},
            "memory": {name: asdict(memory) for name, memory in self.memory.items()},
            "program_mib": self.program_mib,
            "one_row": self.one_row and asdict(self.one_row),
            "bulk": [asdict(each) | {"ratio": each.ratio} for each in self.bulk],
            "middleware": self.middleware and asdict(self.middleware),
            "doors": self.doors and doors.document(self.doors),
            "neighbours": self.neighbours and asdict(self.neighbours),
            "rollouts": self.rollouts and asdict(self.rollouts),
            "many": self.many and asdict(self.many),
            "pieces": self.pieces and pieces.document(self.pieces),
            "hop": self.hop and hop.document(self.hop),
            "bars": [asdict(bar) | {"met": bar.met} for bar in bars(self)],
        }


@dataclass(frozen=True, slots=True)
class Bar:
    """What must hold of one figure."""

    what: str
    value: float
    least: float | None = None
    most: float | None = None

    @property
    def met(self) -> bool:
        return (self.least is None or self.value >= self.least) and (self.most is None or self.value <= self.most)

    @property
    def asked(self) -> str:
        return f"≥ {self.least:g}" if self.least is not None else f"≤ {self.most:g}"


def bars(results: Results) -> list[Bar]:
    """Every bar whose figures were measured."""
    found: list[Bar] = []
    for connections in results.connections:
        found += _of_rates(results, connections)
    found += [*_of_memory(results), *_of_steps(results), *_of_the_middleware(results), *_of_rollouts(results)]
    return [*found, *_of_doors(results)]


def _of_rates(results: Results, connections: int) -> Iterator[Bar]:
    at = f"at {connections} connection{'s' * (connections > 1)}"
    ours = ("ours", connections, True)
    if ours not in results.rounds:
        return
    if any(contender.is_noop for contender in results.contenders):
        name, _ = results.ceiling(connections)
        ceiling = (name, connections, True)
        yield Bar(f"Signet / the fastest no-op, {at}", results.ratio(ours, ceiling, _RATE), least=0.9)
        yield Bar(f"Signet's p99 / the fastest no-op's, {at}", results.ratio(ours, ceiling, _P99), most=1.3)
    for contender in results.contenders:
        least = _LEAST.get((contender.name, connections))
        if least is not None:
            ratio = results.ratio(ours, (contender.name, connections, True), _RATE)
            yield Bar(f"Signet / {contender.title}, {at}", ratio, least=least)
    ratio = results.ratio(("ours", connections, False), ours, _RATE)
    yield Bar(f"Signet's rejections / its predictions, {at}", ratio, least=0.5)


_RATE = attrgetter("requests_per_s")
_P99 = attrgetter("p99_ms")

# How many times a contender's rate ours must be, by connections: one setting is to serve a lone client and a crowd.
_LEAST = {
    ("noop", 1): 0.9,
    ("noop_batched", 64): 0.85,
    ("noop_waiting", 64): 0.85,
    ("seed", 64): 20,
    ("mlflow", 64): 40,
}


def _of_memory(results: Results) -> Iterator[Bar]:
    if not {"noop", "ours"} <= results.memory.keys():
        return
    allowed = 1.3 * results.memory["noop"].rss_mib + results.program_mib
    for when, memory in (("before any rejection", results.memory_before), ("at the end", results.memory)):
        yield Bar(f"worker's RSS / (1.3 × no-op's + model), {when}", memory["ours"].rss_mib / allowed, most=1)


def _of_steps(results: Results) -> Iterator[Bar]:
    if results.one_row:
        yield Bar("one row, body to model input, µs", results.one_row.check_us, most=5)
        for name, check_us in results.one_row.others_us.items():
            yield Bar(f"one row, body to model input, {name}, µs", check_us, most=5)
    for name in dict.fromkeys(each.format for each in results.bulk):
        of_format = [each for each in results.bulk if each.format == name]
        # Where the parser itself takes microseconds, the bar in µs is the one that counts.
        worst = max((each for each in of_format if each.rows >= 1000), key=lambda each: each.ratio)  # noqa: PLR2004 -- as the bar has it
        yield Bar(f"{name}, 1,000 rows and more: body to input / parsing alone", worst.ratio, most=1.6)
        per_row = {each.rows: each.check_s / each.rows for each in of_format}
        yield Bar(f"{name}: a row among 1,000,000 / a row among 1,000", per_row[SIZES[-1]] / per_row[1000], most=2)


def _of_the_middleware(results: Results) -> Iterator[Bar]:
    if results.middleware:
        yield Bar("the middleware on a request, µs", results.middleware.cost_us, most=15)


def _of_doors(results: Results) -> Iterator[Bar]:
    if results.doors:
        yield from (Bar(what, value, least=least) for what, value, least in doors.bars(results.doors))


def _of_rollouts(results: Results) -> Iterator[Bar]:
    if results.hop:
        yield from (Bar(*bar) for bar in hop.bars(results.hop))
    if results.neighbours:
        yield from (Bar(what, value, most=most) for what, value, most in neighbours.bars(results.neighbours))
    if results.rollouts:
        yield from (Bar(what, value, most=most) for what, value, most in rollouts.bars(results.rollouts))
    if results.many:
        yield from (Bar(what, value, most=most) for what, value, most in many.bars(results.many))


def markdown(results: Results) -> str:
    """Every table there are figures for."""
    parts = [_rates(results), _memory(results)] if results.rounds else []
    parts += [_table(*pieces.table(results.pieces))] if results.pieces else []
    parts += [_table(*hop.table(results.hop))] if results.hop else []
    parts += [_one_row(results.one_row)] if results.one_row else []
    parts += [_bulk(results.bulk)] if results.bulk else []
    parts += [_middleware(results.middleware)] if results.middleware else []
    parts += [_table(*doors.table(results.doors))] if results.doors else []
    parts += [_table(*rollouts.table(results.rollouts)), rollouts.summary(results.rollouts)] if results.rollouts else []
    parts += [_table(*many.table(results.many)), many.summary(results.many)] if results.many else []
    parts.append(_bars(bars(results)))
    return "\n\n".join(parts)


def _rates(results: Results) -> str:
    heads = [
        "requests/s (p50, p99 in ms)",
        *(f"{count} connection{'s' * (count > 1)}" for count in results.connections),
    ]
    rows = []
    for contender in results.contenders:
        for valid in (True, False):
            if (contender.name, results.connections[0], valid) not in results.rounds:
                continue
            title = contender.title if valid else f"{contender.title}, invalid requests"
            rows.append([title, *(_cell(results.rates[contender.name, each, valid]) for each in results.connections)])
    if results.drift:
        drift = [f"{results.drift[each] - 1:+.0%}" for each in results.connections]
        rows.append(["drift: the fastest no-op once more at the end", *drift])
    return _table(heads, rows)


def _cell(rate: Rate) -> str:
    return f"{rate.requests_per_s:,.0f} ({rate.p50_ms:.2f}, {rate.p99_ms:.2f})"


def _memory(results: Results) -> str:
    rows = [
        [contender.title, *(f"{value:,.0f}" for memory in pair for value in (memory.rss_mib, memory.pss_mib))]
        for contender in results.contenders
        for pair in [(results.memory_before[contender.name], results.memory[contender.name])]
    ]
    return _table(
        [
            "worker's memory in MiB",
            "RSS before any rejection",
            "PSS before any rejection",
            "RSS at the end",
            "PSS at the end",
        ],
        rows,
    )


def _one_row(one: OneRow) -> str:
    return _table(
        ["one row", "µs"],
        [
            ["body to model input, Signet", f"{one.check_us:,.1f}"],
            *([f"body to model input, {name}", f"{us:,.1f}"] for name, us in one.others_us.items()),
            ["body to model input, MLflow", f"{one.mlflow_us:,.0f}"],
            ["model's call, Signet", f"{one.program_us:,.1f}"],
            ["model's call, the exported module", f"{one.module_us:,.1f}"],
        ],
    )


def _bulk(bulk: Sequence[Bulk]) -> str:
    by_size: Mapping[tuple[str, int], Bulk] = {(each.format, each.rows): each for each in bulk}
    formats = list(dict.fromkeys(each.format for each in bulk))
    rows = []
    for size in SIZES:
        of_size = [by_size[name, size] for name in formats]
        rows.append([f"{size:,}", *(f"{each.check_s * 1e3:,.3f} ({each.ratio:.2f} ×)" for each in of_size)])
    return _table(["rows: ms from body to model input (× parsing alone)", *formats], rows)


def _middleware(measured: Middleware) -> str:
    counts = list(next(iter(measured.rates.values())))
    heads = ["requests/s (p50, p99 in ms)", *(f"{count} connection{'s' * (count > 1)}" for count in counts)]
    rows = []
    for server, rates in measured.rates.items():
        for index, which in enumerate(("behind the contract", "alone")):
            rows.append([f"{SERVERS[server]} {which}", *(_cell(rates[count][index]) for count in counts)])
    return _table(heads, rows)


def _bars(found: Sequence[Bar]) -> str:
    return _table(
        ["bar", "measured", "asked", ""],
        [[bar.what, f"{bar.value:.2f}", bar.asked, "✓" if bar.met else "✗"] for bar in found],
    )


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
