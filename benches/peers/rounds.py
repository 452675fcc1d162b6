"""Measuring in turns, and what the figures say."""

import time
from dataclasses import dataclass, field

import numpy as np

OURS = "p2sam"
# Seconds between two turns, in which threads that wait actively give up.
PAUSE = 0.05


@dataclass
class Row:
    """One comparison: the same work by several sides."""

    name: str
    # By side, a function from a case to milliseconds. Ours is called OURS.
    sides: dict
    # What there is to work on; rounds go through them again and again.
    cases: list
    # Largest allowed ratio of our median to the fastest peer's.
    goal: float
    # How far the results agree, for the table.
    agreement: str = ""
    # Sides that are measured with the others and compared with in no ratio.
    apart: tuple = ()
    # By side, the milliseconds of every round.
    times: dict = field(default_factory=dict)
    # Largest share of one processor that a side used while another was timed.
    disturbed: float = 0.0

    def measure(self, rounds, ours):
        """Every round times every side once on one case, every second round in reverse order."""
        names = list(self.sides)
        for case in self.cases:
            for name in names:
                self.sides[name](case)
        self.times = {name: [] for name in names}
        for number in range(rounds):
            case = self.cases[number % len(self.cases)]
            for name in names if number % 2 == 0 else names[::-1]:
                time.sleep(PAUSE)
                idle = time.process_time if name == OURS else ours.busy
                wall, before = time.perf_counter(), idle()
                self.times[name].append(self.sides[name](case))
                used, wall = idle() - before, time.perf_counter() - wall
                # Reading the clocks and the pipe takes some microseconds itself.
                if wall > 0.02:
                    self.disturbed = max(self.disturbed, used / wall)

    def peers(self):
        """The peers, the fastest first."""
        compared = [name for name in self.sides if name != OURS and name not in self.apart]
        return sorted(compared, key=lambda name: np.median(self.times[name]))

    def ratio(self, peer):
        """Our median over the peer's, and the middle 95 % of it when rounds are drawn again."""
        ours, theirs = np.array(self.times[OURS]), np.array(self.times[peer])
        drawn = np.random.default_rng(0).integers(len(ours), size=(4000, len(ours)))
        ratios = np.median(ours[drawn], axis=1) / np.median(theirs[drawn], axis=1)
        return np.median(ours) / np.median(theirs), *np.quantile(ratios, [0.025, 0.975])

    def lines(self):
        """Lines of the table, one a peer; the goal is judged by the fastest."""
        for peer in self.peers():
            value, low, high = self.ratio(peer)
            first = peer == self.peers()[0]
            goal = f"{self.goal:.2f}: {'met' if value <= self.goal else 'missed'}" if first else ""
            yield [self.name if first else "", spread(self.times[OURS]) if first else "", peer,
                   spread(self.times[peer]), f"{value:.3f} ({low:.3f} to {high:.3f})", goal,
                   self.agreement if first else ""]


HEAD = ["what", "p2sam, ms", "peer", "peer, ms", "p2sam / peer", "goal", "agreement"]


def spread(times):
    """Median and the middle 80 % of milliseconds."""
    low, middle, high = np.quantile(times, [0.1, 0.5, 0.9])
    digits = 0 if middle >= 100 else 1
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def table(lines):
    """A Markdown table."""
    rows = [HEAD, ["---"] * len(HEAD), *lines]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)
