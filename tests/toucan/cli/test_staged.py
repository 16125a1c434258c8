"""``toucan stage``, ``staged``, ``release``, ``amend``, ``reject``, ``watch --staged`` over a real front end; and what the prompt makes of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.toucan.cli.person import Person
from tests.toucan.cli.support import Done, Shell, order
from tests.toucan.server.served import Served, served
from tests.toucan.server.support import write_users

from toucan.cli import json_objects, toucan_group
from toucan.cli.exits import Exit
from toucan.cli.prompt.completion import suggestions
from toucan.cli.prompt.news import staged_news_lines
from toucan.cli.prompt.picture import Picture, bottom_line
from toucan.cli.words import staged_words
from toucan.client.staged_calls import StagedBatch
from toucan.client.staged_values import StagedOrder, StagedRevision, StagedUpdate
from toucan.core import requests as rq
from toucan.core.order import Client
from toucan.core.outcomes import Proposed
from toucan.core.values import StagedState, TradingLevel

USERS: dict[str, dict[str, Any]] = {
    "bot": {"accounts": ["ACC1"], "actions": ["stage"]},
    "ann": {"accounts": ["ACC1"], "actions": ["release", "stage", "trade", "kill"]},
}


@pytest.fixture
def front(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    users = write_users(tmp_path / "users.toml", USERS)
    for name in USERS:
        (tmp_path / name).write_text(f"token-of-{name}")
        (tmp_path / name).chmod(0o600)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for name in ("TOUCAN_TLS_CA", "TOUCAN_ACCOUNT"):
        monkeypatch.delenv(name, raising=False)
    with served(users) as made:
        monkeypatch.setenv("TOUCAN_SERVER", made.address)
        yield made


class Desk:
    """Commands as several people."""

    def __init__(self, shell: Shell, folder: Path) -> None:
        self._shell = shell
        self._folder = folder

    def __call__(self, user: str, *words: str) -> Done:
        return self._shell(*words, "--token-file", str(self._folder / user))


@pytest.fixture
def desk(front: Served, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Desk:
    return Desk(Shell(capsys), tmp_path)


def test_propose_look_amend_release(desk: Desk) -> None:
    done = desk("bot", "stage", "buy", "100", "AAPL", "@", "189.50", "--why", "below its mean", "--ttl", "60")
    assert done.out == "staged 1: buy 100 AAPL @ 189.50 for ACC1: proposed by bot: below its mean\n", done.err
    assert "proposed by bot: below its mean" in desk("ann", "staged").out
    done = desk("ann", "amend", "1", "--price", "189.40", "--why", "moved")
    assert done.out.endswith("proposed by bot: below its mean; amended by ann: moved\n")
    done = desk("ann", "release", "1")
    assert done.code == Exit.NEEDS_CONFIRMATION, "it was amended, and nobody is there to be shown it"
    assert "buy 100 AAPL @ 189.40" in done.err
    done = desk("ann", "release", "1", "--revision", "1")
    assert (done.code, "amended by ann (revision 2)" in done.err) == (Exit.REFUSED, True)
    done = desk("ann", "release", "1", "--revision", "2", "--quantity", "50", "--wait", "0", "--json")
    assert (done.code, done.json["quantity"], done.json["owner"]) == (Exit.OK, "50", "bot")
    done = desk("ann", "release", "1")
    assert (done.code, "was released by ann as order 1" in done.err) == (Exit.REFUSED, True)
    assert desk("ann", "staged").out == "nothing is staged\n"
    assert "released by ann as order 1" in desk("bot", "staged", "--all").out
    shown = desk("bot", "staged", "1").out
    for text in ("1. buy 100 AAPL @ 189.50", "by bot", "2. buy 100 AAPL @ 189.40", "3. buy 50", "by ann"):
        assert text in shown


def test_reject_and_withdraw(desk: Desk) -> None:
    for _ in range(2):
        desk("bot", "stage", "sell", "5", "AAPL", "market", "--why", "tired")
    done = desk("ann", "reject", "1", "7", "--why", "no", "--json")
    assert done.code == Exit.REFUSED
    assert done.json["staged_ids"] == [1]
    assert [(one["staged_id"], one["code"]) for one in done.json["errors"]] == [(7, "UNKNOWN_STAGED_ORDER")]
    assert desk("bot", "reject", "2", "--why", "changed my mind").out == "ended, and never sent: 2\n"
    assert desk("bot", "reject", "2", "--why", "again").code == Exit.REFUSED
    found = desk("ann", "staged", "--all", "--json").json
    assert [(one["status"], one["decided_by"], one["decided_why"]) for one in found] == [
        ("withdrawn", "bot", "changed my mind"),
        ("rejected", "ann", "no"),
    ]


def test_who_may_not_is_told(desk: Desk) -> None:
    desk("bot", "stage", "buy", "1", "AAPL", "@", "1", "--why", "x")
    assert desk("bot", "release", "1").code == Exit.NOT_ENTITLED
    own = desk("ann", "stage", "buy", "1", "AAPL", "@", "1", "--why", "x", "--json").json
    done = desk("ann", "release", str(own["staged_id"]))
    assert (done.code, "somebody else has to release it" in done.err) == (Exit.NOT_ENTITLED, True)


@pytest.mark.parametrize(
    "words",
    [
        ("stage", "buy", "100", "AAPL", "--why", "x"),
        ("stage", "buy", "100", "AAPL", "@", "1"),
        ("stage", "100", "AAPL", "@", "1", "--why", "x"),
        ("stage", "buy", "100", "AAPL", "@", "1", "--why", "x", "--ttl", "0"),
        ("release", "none"),
        ("reject", "--why", "x"),
        ("reject", "1", "2", "--why", "x", "--again", "s/1"),
        ("watch", "staged", "AAPL"),
    ],
)
def test_wrong_usage(desk: Desk, words: tuple[str, ...]) -> None:
    assert desk("ann", *words).code == Exit.USAGE


def test_a_denial_now_and_at_the_release(desk: Desk, front: Served) -> None:
    engine = front.world.engine
    front.do(lambda: engine.ask(rq.SetLevel("firm", TradingLevel.BLOCK_NEW, "why")))
    done = desk("bot", "stage", "buy", "1", "AAPL", "@", "1", "--why", "x")
    assert (done.code, "would be denied now: new orders of firm are blocked" in done.out) == (Exit.OK, True)
    assert desk("ann", "release", "1").code == Exit.DENIED


def test_a_kill_that_cancels_tells_which_proposals_it_has_rejected(desk: Desk) -> None:
    desk("bot", "stage", "buy", "1", "AAPL", "@", "1", "--why", "x")
    words = ("kill", "firm/alpha/ACC1", "--level", "cancel-all", "--reason", "fire", "--yes")
    assert "proposals rejected: 1\n" in desk("ann", *words).out
    (found,) = desk("bot", "staged", "--all", "--json").json
    assert (found["status"], found["decided_why"]) == ("rejected", "kill switch: fire")


def test_watch(desk: Desk) -> None:
    desk("bot", "stage", "buy", "1", "AAPL", "@", "1", "--why", "x")
    desk("bot", "stage", "buy", "2", "AAPL", "@", "1", "--why", "y")
    desk("ann", "reject", "1", "--why", "no")
    done = desk("ann", "watch", "--staged", "--count", "1")
    assert done.out.partition("  ")[2] == "staged 2: buy 2 AAPL @ 1.00 for ACC1: proposed by bot: y\n"
    lines = desk("ann", "watch", "staged", "--after", "0", "--count", "3", "--json").out.splitlines()
    told = [one for one in map(json.loads, lines) if one["type"] == "staged"]
    assert [(one["event"], one["staged"]["staged_id"]) for one in told] == [
        ("OrderStaged", 1),
        ("OrderStaged", 2),
        ("StagedRejected", 1),
    ]
    for one in told:
        assert [*one] == [field.name for field in json_objects.STAGED_UPDATE.fields]
        assert [*one["staged"]] == [field.name for field in json_objects.STAGED.fields]


def test_a_release_is_repeated_with_again(desk: Desk) -> None:
    desk("bot", "stage", "buy", "1", "AAPL", "@", "1", "--why", "x")
    words = ("release", "1", "--again", "mine/1", "--wait", "0", "--json")
    first, second = desk("ann", *words), desk("ann", *words)
    assert first.json["order_id"] == second.json["order_id"] == 1


# ---------------------------------------------------------------- the prompt

REVISION = StagedRevision(revision=1, terms=order().terms, by="bot", why="cheap", at_ns=0)


def staged(staged_id: int = 7, **changes: Any) -> StagedOrder:
    made: dict[str, Any] = {
        "staged_id": staged_id, "terms": REVISION.terms, "proposer": "bot", "session": "s", "why": "cheap",
        "status": StagedState.PROPOSED, "revision": 1, "revisions": (REVISION,), "denials": (), "notional": Decimal(1),
        "reference_price": None, "proposed_ns": 0, "expires_ns": 0, "updated_ns": 0, "updated_seq": 1, "decided_by": "",
        "decided_why": "", "decided_ns": None, "order_id": None,
    }  # fmt: skip
    return StagedOrder(**{**made, **changes})


def batch(*found: StagedOrder, is_snapshot: bool = False) -> StagedBatch:
    updates = tuple(
        StagedUpdate(seq=1, event="x", staged=one, at_ns=0, is_snapshot=is_snapshot) for one in found
    )
    return StagedBatch(
        news=updates, updates=updates, seq=1, is_stale=False, is_snapshot=is_snapshot,
        is_snapshot_begin=is_snapshot, is_snapshot_end=is_snapshot,
    )  # fmt: skip


def test_words_for_every_way_to_end() -> None:
    ends = {
        StagedState.RELEASED: "released by ann as order 9: well",
        StagedState.REJECTED: "rejected by ann: well",
        StagedState.WITHDRAWN: "withdrawn by ann: well",
        StagedState.EXPIRED: "expired (well)",
    }
    for status, words in ends.items():
        order_id = 9 if status is StagedState.RELEASED else None
        one = staged(status=status, decided_by="ann", decided_why="well", order_id=order_id)
        assert staged_words(one) == words


def test_ids_are_completed_and_counted() -> None:
    picture = Picture(server="h", user="ann", is_connected=True, staged=(staged(7), staged(12)))
    found = suggestions("release ", toucan_group, picture)
    assert [one.text for one in found] == ["12", "7"]
    assert found[0].meta == "buy 100 AAPL @ 189.50 for ACC1: proposed by bot: cheap"
    assert [one.text for one in suggestions("reject 12 ", toucan_group, picture)] == ["7"]
    assert [one.text for one in suggestions("staged 1", toucan_group, picture)] == ["12"]
    assert "| no open orders, 2 staged |" in bottom_line(picture, 0.0)[0][1]


def test_news_of_others_and_none_of_ones_own() -> None:
    said = staged_news_lines({}, batch(staged()), "ann")
    assert [line.partition("  ")[2] for line in said] == [
        "staged 7: buy 100 AAPL @ 189.50 for ACC1: proposed by bot: cheap"
    ]
    assert staged_news_lines({}, batch(staged()), "bot") == []
    released = staged(status=StagedState.RELEASED, decided_by="ann", order_id=3)
    assert staged_news_lines({}, batch(released), "ann") == []
    assert staged_news_lines({}, batch(released), "bot")[0].endswith("released by ann as order 3")
    assert staged_news_lines({7: staged()}, batch(staged(), is_snapshot=True), "ann") == []
    changed = replace(staged(), updated_seq=5)
    assert len(staged_news_lines({7: staged()}, batch(changed, is_snapshot=True), "ann")) == 1


def test_at_the_prompt_a_proposal_is_announced_and_released(front: Served, tmp_path: Path) -> None:
    def propose() -> None:
        from tests.toucan.core.desk import terms

        outcome = front.world.engine.ask(rq.Stage(terms(), "cheap"), Client("bot", "model"))
        assert isinstance(outcome, Proposed)

    person = Person("--token-file", str(tmp_path / "ann"))
    try:
        person.sees("no open orders")
        front.do(propose)
        person.sees("staged 1: buy 100 AAPL @ 100.00 gtc for ACC1: proposed by bot: cheap")
        person.sees("1 staged")
        person.enter("release 1 --wait 0")
        person.sees("order 1: buy 100 AAPL @ 100.00 gtc for ACC1: pending new")
        person.waits(lambda: "1 staged" not in person.screen, "the bottom line still counts it")
        person.enter("exit")
        assert person.ends() == 0
    finally:
        person.close()
