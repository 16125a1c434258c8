"""Leases, promises and rounds: by tables, and by a model of hosts that lose messages, crash and run on clocks of different speed."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cashy.core.coherence import Change, Grant, Leases, Promises, Round, Terms, quorums

LEASE = 1_000_000


def change(name: str = "s3://b/k", *, is_over: bool = True) -> Change:
    return Change(name, is_over, "p")


def grant(incarnation: int = 1, number: int = 0, duration: int = LEASE, *, complete: bool = True) -> Grant:
    return Grant(incarnation, number, duration, complete, ())


@pytest.mark.parametrize(
    ("hosts", "expected"), [(1, (1, 1)), (2, (1, 2)), (3, (2, 2)), (4, (2, 3)), (5, (3, 3)), (9, (5, 5))]
)
def test_every_write_meets_every_reader(hosts: int, expected: tuple[int, int]) -> None:
    write, read = quorums(hosts)
    assert (write, read) == expected
    assert write + read == hosts + 1


class TestLeases:
    def test_a_host_alone_believes_what_it_knows_since_its_start(self) -> None:
        terms = Leases([], 5).terms(10)
        assert terms is not None
        assert terms.doubted_before_ns == 5
        assert terms.coherent_until_ns > 1 << 60

    def test_the_clock_runs_from_the_question_and_a_twentieth_is_left_out(self) -> None:
        leases = Leases(["x"], 0)
        assert leases.terms(0) is None
        leases.granted("x", grant(), 100, 900)
        assert leases.terms(900) == Terms(100 + LEASE * 19 // 20, 900)
        assert leases.terms(100 + LEASE * 19 // 20) is None

    def test_renewal_keeps_what_is_known(self) -> None:
        leases = Leases(["x"], 0)
        leases.granted("x", grant(number=3), 100, 900)
        assert leases.question("x") == (1, 3)
        leases.granted("x", grant(number=7), 500_000, 500_100)
        assert leases.question("x") == (1, 7)
        assert leases.terms(500_100) == Terms(500_000 + LEASE * 19 // 20, 900)

    def test_also_after_a_gap_if_everything_is_told(self) -> None:
        leases = Leases(["x"], 0)
        leases.granted("x", grant(), 100, 900)
        late = 50 * LEASE
        assert leases.terms(late) is None
        leases.granted("x", grant(number=9), late, late + 5)
        assert leases.terms(late + 5) == Terms(late + LEASE * 19 // 20, 900)

    @pytest.mark.parametrize("other", [grant(2), grant(1, 5, complete=False)], ids=["restarted", "forgot"])
    def test_whoever_cannot_tell_everything_is_believed_only_for_what_comes(self, other: Grant) -> None:
        leases = Leases(["x"], 0)
        leases.granted("x", grant(), 100, 900)
        leases.granted("x", other, 1000, 2000)
        assert leases.terms(2000) == Terms(1000 + LEASE * 19 // 20, 2000)

    def test_a_lease_of_no_length_only_tells(self) -> None:
        leases = Leases(["x"], 0)
        leases.granted("x", grant(number=4, duration=0), 100, 900)
        assert leases.question("x") == (1, 4)
        assert leases.terms(900) is None

    def test_the_best_hosts_count(self) -> None:
        leases = Leases(["x", "y"], 10)  # two of three: this host and one more
        leases.granted("x", grant(), 1000, 2000)
        leases.granted("y", grant(), 5000, 6000)
        assert leases.terms(6000) == Terms(1000 + LEASE * 19 // 20, 2000)
        leases.granted("x", grant(2), 7000, 8000)  # x was restarted, y was not
        assert leases.terms(8000) == Terms(5000 + LEASE * 19 // 20, 6000)


class TestPromises:
    def make(self, remembered: int = 100) -> Promises:
        return Promises(incarnation=9, started_ns=0, lease_ns=LEASE, remembered_max=remembered)

    def test_a_host_that_has_just_started_may_have_forgotten_promises(self) -> None:
        promises = self.make()
        assert promises.counts_in_ns(10) == LEASE - 10
        assert promises.counts_in_ns(LEASE) == promises.counts_in_ns(2 * LEASE) == 0

    def test_whoever_holds_a_lease_is_named_when_a_change_is_noted(self) -> None:
        promises = self.make()
        assert promises.note([change()], 5) == {}
        promises.grant("h", 0, 0, 100, 1000)
        assert promises.note([change()], 300) == {"h": LEASE - 200}
        assert promises.note([change()], 100 + LEASE) == {}

    def test_changes_are_told_once_in_order(self) -> None:
        promises = self.make()
        first = promises.grant("h", 0, 0, 0, 1000)
        assert first == Grant(9, 0, LEASE, False, ())
        promises.note([change("a", is_over=False), change("b")], 1)
        second = promises.grant("h", 9, first.number, 2, 1000)
        assert second == Grant(9, 2, LEASE, True, (change("a", is_over=False), change("b")))
        assert promises.grant("h", 9, 0, 3, 1000).changes == second.changes, "an answer was lost"
        assert promises.grant("h", 9, 2, 3, 1000).changes == ()

    def test_what_is_too_much_for_one_answer_comes_before_the_lease(self) -> None:
        promises = self.make()
        promises.note([change("x" * 50) for _ in range(5)], 0)
        start = Grant(9, 0, 0, True, ())
        told = 0
        while not start.duration_ns:
            start = promises.grant("h", 9, start.number, 5, 155)
            told += len(start.changes)
            assert start.duration_ns or promises.note([], 5) == {}, "nothing is promised yet"
        assert told == 5
        assert len(promises.grant("g", 9, 4, 5, 1).changes) == 1, "at least one, however long"

    @pytest.mark.parametrize(
        ("incarnation", "number", "complete"),
        [(9, 3, True), (9, 2, True), (9, 1, False), (9, 6, False), (8, 5, False), (0, 0, False)],
    )
    def test_forgotten_changes_are_admitted(self, incarnation: int, number: int, complete: bool) -> None:
        promises = self.make(remembered=3)
        for _ in range(5):
            promises.note([change()], 0)
        answer = promises.grant("h", incarnation, number, 1, 1000)
        assert (answer.is_complete, answer.number) == (complete, 5)


class TestRound:
    def test_with_everybody_told_it_is_over(self) -> None:
        known = Round(["p", "x"])
        known.noted("p", 500, {"x": 900}, 10)
        known.noted("x", 500, {}, 10)
        assert known.over_at() == 0

    def test_too_few(self) -> None:
        known = Round(["p", "x", "y"])
        known.noted("p", 0, {}, 10)
        assert known.over_at() is None
        assert known.silent == ["x", "y"]

    def test_the_silent_ones_promises_are_waited_for(self) -> None:
        known = Round(["p", "x", "y"])
        known.noted("p", 0, {"y": 300}, 10)
        known.noted("x", 0, {"y": 500, "p": 10_000}, 20)
        assert known.over_at() == 520

    def test_of_more_answers_than_needed_the_best_count(self) -> None:
        known = Round(["p", "v", "x", "y", "z"])
        known.noted("p", 0, {"z": 300}, 0)
        known.noted("x", 0, {"z": 900}, 0)
        known.noted("y", 700, {}, 0)
        assert known.over_at() == 900
        known.noted("v", 0, {"z": 100}, 0)
        assert known.over_at() == 700


# ------------------------------------------------------------ a model


@dataclass
class Master:
    """A host's master: gone at a crash, but for what lies in shared memory."""

    incarnation: int
    leases: Leases
    promises: Promises


@dataclass
class HostModel:
    name: str
    speed: float
    master: Master | None = None
    #: In shared memory: the version that is known, when that was validated, and on which terms it counts.
    known: tuple[int, int] | None = None
    terms: Terms = field(default=Terms(0, 0))

    def clock(self, now: int) -> int:
        return 1 + int(now * self.speed)

    def believes(self, now: int) -> int | None:
        clock = self.clock(now)
        if (
            self.known is None
            or self.terms.coherent_until_ns <= clock
            or self.known[1] < self.terms.doubted_before_ns
        ):
            return None
        return self.known[0]


class World:
    """Hosts and a store, stepped at random: messages are calls of the real classes that may be lost in either direction."""

    def __init__(self, seed: int, hosts: int, flaw: str = "") -> None:
        self.random = random.Random(seed)
        self.flaw = flaw
        names = [f"h{number}" for number in range(hosts)]
        self.hosts = {name: HostModel(name, self.random.uniform(0.98, 1.02)) for name in names}
        self.names = names
        self.now = 0
        self.stored = self.acknowledged = 0
        self.cut: set[tuple[str, str]] = set()
        #: Under way: the writer, its incarnation, the version, and the round.
        self.writing: tuple[str, int, int, Round] | None = None

    def reaches(self, one: str, other: str) -> bool:
        return (one, other) not in self.cut and self.random.random() < 0.9

    def start(self, host: HostModel) -> None:
        others = [name for name in self.names if name != host.name]
        clock = host.clock(self.now)
        host.master = Master(
            self.random.getrandbits(60) | 1,
            Leases(others, clock),
            Promises(incarnation=0, started_ns=clock - (LEASE if self.flaw == "no quarantine" else 0), lease_ns=LEASE, remembered_max=3),
        )  # fmt: skip
        host.master.promises.incarnation = host.master.incarnation
        host.terms = Terms(0, clock)

    def step(self) -> None:
        self.now += self.random.choice((0, 1, 1000, LEASE // 20, LEASE // 20, LEASE // 4))
        action = self.random.choice((self.renew, self.renew, self.renew, self.learn, self.learn, self.write, self.write, self.tell, self.tell,
                                     self.tell, self.crash, self.network))  # fmt: skip
        action(self.hosts[self.random.choice(self.names)])
        for host in self.hosts.values():
            version = host.believes(self.now)
            assert version is None or version >= self.acknowledged, (host, self.acknowledged)

    def renew(self, host: HostModel) -> None:
        other = self.hosts[self.random.choice(self.names)]
        if (
            host.master is None
            or other.master is None
            or other is host
            or not self.reaches(host.name, other.name)
        ):
            return
        asked = host.clock(self.now)
        question = host.master.leases.question(other.name)
        self.now += self.random.choice((0, 10, LEASE // 10))
        answer = other.master.promises.grant(host.name, *question, other.clock(self.now), 1)
        if not self.reaches(other.name, host.name):
            return
        self.now += self.random.choice((0, 10, LEASE // 2))
        if answer.changes and self.flaw != "not told":
            host.known = None
        if self.flaw == "always complete":
            answer = answer._replace(is_complete=True, incarnation=question[0] or answer.incarnation)
        host.master.leases.granted(other.name, answer, asked, host.clock(self.now))
        host.terms = host.master.leases.terms(host.clock(self.now)) or Terms(0, host.terms.doubted_before_ns)

    def learn(self, host: HostModel) -> None:
        """From the store itself, at once; answers that are under way during a change are not this model's business."""
        if host.master is not None:
            host.known = (self.stored, host.clock(self.now))

    def write(self, host: HostModel) -> None:
        if self.writing is None and host.master is not None:
            self.stored += 1
            self.writing = (host.name, host.master.incarnation, self.stored, Round(self.names))

    def tell(self, _: HostModel) -> None:
        if self.writing is None:
            return
        name, incarnation, version, known = self.writing
        writer = self.hosts[name]
        if writer.master is None or writer.master.incarnation != incarnation:
            self.writing = None  # nobody will ever acknowledge it
            return
        for other in self.random.sample(self.names, self.random.randint(1, len(self.names))):
            host = self.hosts[other]
            if (
                host.master is None
                or other not in known.silent
                or (host is not writer and not self.reaches(name, other))
            ):
                continue
            host.known = None
            clock = host.clock(self.now)
            promised = host.master.promises.note([change()], clock)
            if host is writer or self.reaches(other, name):
                said = {} if self.flaw == "no promises" else promised
                known.noted(other, host.master.promises.counts_in_ns(clock), said, writer.clock(self.now))
        self.now += self.random.choice((0, 10, LEASE // 10, LEASE // 2))
        over_at = known.over_at()
        if over_at is not None and over_at <= writer.clock(self.now):
            self.acknowledged = version
            self.writing = None

    def crash(self, host: HostModel) -> None:
        if host.master is None:
            self.start(host)
        elif self.random.random() < 0.3:
            host.master = None

    def network(self, host: HostModel) -> None:
        if self.random.random() < 0.5:
            self.cut.clear()
        else:
            others = self.random.sample(self.names, self.random.randint(1, len(self.names)))
            self.cut |= {(host.name, other) for other in others}
            if self.random.random() < 0.7:
                self.cut |= {(other, host.name) for other in others}


def run(seed: int, hosts: int, steps: int, flaw: str = "") -> World:
    world = World(seed, hosts, flaw)
    for host in world.hosts.values():
        world.start(host)
    for _ in range(steps):
        world.step()
    return world


@given(st.integers(0, 1 << 40), st.integers(1, 5))
@settings(max_examples=150, deadline=None)
def test_nobody_ever_believes_in_less_than_what_was_acknowledged(seed: int, hosts: int) -> None:
    run(seed, hosts, 250)


def test_the_model_comes_to_something() -> None:
    worlds = [run(seed, 3, 400) for seed in range(30)]
    assert sum(world.acknowledged for world in worlds) > 100
    assert sum(host.terms.coherent_until_ns > 0 for world in worlds for host in world.hosts.values()) > 30


@pytest.mark.parametrize("flaw", ["no promises", "no quarantine", "not told", "always complete"])
def test_the_model_notices_what_is_left_out(flaw: str) -> None:
    for seed in range(3000):
        try:
            run(seed, 3, 400, flaw)
        except AssertionError:
            return
    pytest.fail("nothing was noticed")
