"""What the campaign did and what it found: counts by kind, and a line about everything that went wrong."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

FAILURES = ("wrong numbers", "lost records", "tracebacks")


@dataclass
class Ledger:
    """`faults` and `inputs` count attempts by kind, `failures` what must stay zero, `remarks` the evidence."""

    faults: Counter = field(default_factory=Counter)
    inputs: Counter = field(default_factory=Counter)
    failures: Counter = field(default_factory=Counter)
    remarks: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    def failed(self, kind: str, remark: str, count: int = 1) -> None:
        self.failures[kind] += count
        self.remarks.append(f"{kind}: {remark}")
        print(f"  FAILED {self.remarks[-1][:1500]}", flush=True)

    def skip(self, reason: str) -> None:
        self.skipped.append(reason)
        print(f"  NOT TRIED: {reason}", flush=True)

    def compare(self, found: list[str], expected: list[str], remark: str) -> None:
        """Lines of records after a fault against those of the undisturbed run."""
        lost, strange = Counter(expected) - Counter(found), Counter(found) - Counter(expected)
        if lost:
            self.failed("lost records", f"{remark}: {next(iter(lost))}", lost.total())
        if strange:
            self.failed("wrong numbers", f"{remark}: {next(iter(strange))}", strange.total())

    def told(self) -> dict:
        """Everything in it, for a part to hand over as JSON."""
        counts = {name: dict(getattr(self, name)) for name in ("faults", "inputs", "failures")}
        return {**counts, "remarks": self.remarks, "skipped": self.skipped}

    def add(self, other: dict) -> None:
        """Take over the counts of a part that ran in a process of its own."""
        for name in ("faults", "inputs", "failures"):
            getattr(self, name).update(other[name])
        self.remarks += other["remarks"]
        self.skipped += other["skipped"]

    def totals(self) -> dict:
        """As the book shows them."""
        return {
            "faults injected": sum(self.faults.values()),
            "inputs tried": sum(self.inputs.values()),
            **{name: self.failures[name] for name in FAILURES},
            "faults by kind": dict(sorted(self.faults.items())),
            "inputs by kind": dict(sorted(self.inputs.items())),
            "not tried": sorted(set(self.skipped)),
        }
