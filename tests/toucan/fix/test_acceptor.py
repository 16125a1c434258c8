"""The acceptor before a client made by hand: what is right, and all that is wrong."""

from __future__ import annotations

import contextlib
import itertools
import resource
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.toucan.exchange.running import PATIENCE_S
from tests.toucan.fix.chain import Chain, wait_until
from tests.toucan.fix.raw_client import RawClient

from toucan.fix.core.amounts import time_text

pytestmark = pytest.mark.system

#: One client for each test, each with a firm of its own; CLIENT0 has a password.
_CLIENTS = 60
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    folder = tmp_path_factory.mktemp("fix")
    (folder / "password").write_text("open sesame\n")
    sections = [f'[fix_acceptor.session.CLIENT{number}]\nfirm = "firm{number}"' for number in range(_CLIENTS)]
    sections[0] += f'\nusername = "ali"\npassword_file = "{folder / "password"}"'
    sections.append('[fix_acceptor.drop_copy.COPY]\nfirms = ["firm1", "firm2"]')
    sections.append('[fix_acceptor.drop_copy.SLOW]\nfirms = ["firm59"]')
    chain = Chain(
        folder, (), [f"S{number}" for number in range(_CLIENTS)], sections=sections, log_level="debug"
    )
    chain.start()
    yield chain
    assert "open sesame" not in "".join(process.log for process in chain.processes.values())
    chain.close()


def _free(chain: Chain) -> str:
    return f"CLIENT{2 + next(_numbers)}"


@pytest.fixture
def client(chain: Chain) -> Iterator[RawClient]:
    """One that is logged on."""
    with _connected(chain, _free(chain)) as client:
        yield client


def _connected(chain: Chain, comp_id: str, *pairs: tuple[int, str]) -> RawClient:
    """The exchange may be a moment later than the port."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        client = RawClient(chain.port, comp_id)
        client.symbol = comp_id.replace("CLIENT", "S")
        try:
            client.log_on(*pairs)
            return client
        except (EOFError, ConnectionError):
            client.close()
            assert time.monotonic() < deadline
            time.sleep(0.05)


def _resumed(chain: Chain, old: RawClient) -> RawClient:
    """The same client over a new connection, with its numbers."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        client = RawClient(chain.port, old.comp_id)
        client.next_seq = old.next_seq
        try:
            answer = client.log_on()
            if answer.whole(34) > old.last_seq + 1:
                client.send("2", (7, old.last_seq + 1), (16, 0))
            return client
        except (EOFError, ConnectionError):
            client.close()
            assert time.monotonic() < deadline
            time.sleep(0.05)


# ---------------------------------------------------------------- orders


def test_the_life_of_an_order(client: RawClient) -> None:
    client.order("x")
    new = client.next("8")
    tags = (150, 39, 11, 55, 54, 38, 14, 151, 44, 1)
    assert [new.get(tag) for tag in tags] == ["0", "0", "x", client.symbol, "1", "10", "0", "10", "0.50", "a"]  # fmt: skip
    assert new.get(37) not in ("", "NONE")
    client.order("y", 2, "4", "0.50")
    assert [client.next("8").get(150) for _ in range(3)] == ["0", "F", "F"]
    trades = [one for one in client.received if one.get(150) == "F"]
    assert [(one.get(11), one.get(32), one.get(31), one.get(39)) for one in trades] == [("x", "4", "0.50", "1"), ("y", "4", "0.50", "2")]  # fmt: skip
    now = time_text(time.time_ns())
    client.send(
        "G", (41, "x"), (11, "r"), (55, client.symbol), (54, 1), (60, now), (38, 20), (40, 2), (44, "0.49")
    )
    replaced = client.next("8")
    assert [replaced.get(tag) for tag in (150, 11, 41, 38, 14, 151, 44)] == [
        "5",
        "r",
        "x",
        "20",
        "4",
        "16",
        "0.49",
    ]
    client.send("F", (41, "r"), (11, "c"), (55, client.symbol), (54, 1), (60, now))
    cancelled = client.next("8")
    assert [cancelled.get(tag) for tag in (150, 39, 11, 41, 151)] == ["4", "4", "c", "r", "0"]
    client.send("F", (41, "r"), (11, "c2"), (55, client.symbol), (54, 1), (60, now))
    refused = client.next("9")
    assert [refused.get(tag) for tag in (11, 41, 39, 434, 102)] == ["c2", "c", "4", "1", "0"]


def test_questions(client: RawClient) -> None:
    client.send("AF", (584, "q0"), (585, 7))
    none = client.next("8")
    assert [none.get(tag) for tag in (584, 911, 912, 37, 150)] == ["q0", "0", "Y", "NONE", "I"]
    for name in ("x", "y"):
        client.order(name, price="0.01")
        client.next("8")
    client.send("AF", (584, "q1"), (585, 7))
    first, last = client.next("8"), client.next("8")
    assert [(one.get(11), one.get(584), one.get(912)) for one in (first, last)] == [
        ("x", "q1", "N"),
        ("y", "q1", "Y"),
    ]
    client.send("H", (11, "x"), (55, client.symbol), (54, 1))
    status = client.next("8")
    assert [status.get(tag) for tag in (150, 39, 17, 584)] == ["I", "0", "0", ""]
    client.send("H", (11, "nix"), (55, client.symbol), (54, 1))
    unknown = client.next("8")
    assert [unknown.get(tag) for tag in (150, 39, 37)] == ["I", "8", "NONE"]


def test_market_data(client: RawClient, chain: Chain) -> None:
    client.send(
        "V",
        (262, "m"),
        (263, 1),
        (264, 0),
        (265, 0),
        (267, 2),
        (269, 0),
        (269, 1),
        (146, 1),
        (55, client.symbol),
    )
    assert client.next("W").get(262) == "m"
    client.order("x", price="0.02")
    wait = time.monotonic() + PATIENCE_S
    while "0.02" not in client.next("W").all(270):
        assert time.monotonic() < wait
    client.send("e", (324, "s"), (55, client.symbol), (263, 1))
    assert client.next("f").get(326) == "17"
    client.send("V", (262, "n"), (263, 1), (264, 0), (267, 1), (269, 0), (146, 1), (55, "NIX"))
    assert client.next("Y").get(281) == "0"
    client.send("V", (262, "one"), (263, 0), (264, 1), (267, 1), (269, 0), (146, 1), (55, client.symbol))
    while client.next("W").get(262) != "one":
        pass
    client.order("y", price="0.03")
    while (told := client.next("W")) and "0.03" not in told.all(270):
        pass
    assert told.get(262) == "m", "a picture in between does not end it"
    client.send("V", (262, "m"), (263, 2), (264, 0), (267, 1), (269, 0), (146, 1), (55, client.symbol))
    client.send("V", (262, "two"), (263, 0), (264, 1), (267, 1), (269, 0), (146, 1), (55, client.symbol))
    while client.next("W").get(262) != "two":
        pass


# ---------------------------------------------------------------- messages that are wrong


@pytest.mark.parametrize(
    ("change", "kind", "told"),
    [
        ({55: None}, "3", {373: "1", 371: "55"}),
        ({11: None}, "3", {373: "1", 371: "11"}),
        ({60: None}, "3", {373: "1", 371: "60"}),
        ({38: "ten"}, "3", {373: "6", 371: "38"}),
        ({44: "0.505"}, "3", {373: "5", 371: "44"}),
        ({54: "5"}, "3", {373: "5", 371: "54"}),
        ({40: "P"}, "3", {373: "5", 371: "40"}),
    ],
)
def test_a_wrong_field_is_named_and_the_session_goes_on(
    client: RawClient, change: dict[int, str | None], kind: str, told: dict[int, str]
) -> None:
    pairs = {**dict(client.order_pairs("x")), **change}
    client.send("D", *((tag, value) for tag, value in pairs.items() if value is not None))
    refused = client.next("3", "j", "8")
    assert refused.type == kind
    assert {tag: refused.get(tag) for tag in told} == told
    assert refused.get(45) == str(client.next_seq - 1)
    client.order("y")
    assert client.next("8").get(11) == "y"


@pytest.mark.parametrize(
    ("message", "answer"),
    [
        (("D", (11, "x\udce9")), {35: "3", 371: "11", 373: "6"}),
        (("D", (1, "\udce9")), {35: "3", 371: "1", 373: "6"}),
        (("D", (11, "x" * 3_000_000)), {35: "3", 371: "11", 373: "5"}),
        (("V", (262, "m"), (263, 1), (264, "1" * 5000)), {35: "3", 371: "264", 373: "6"}),
        (("D", (59, 6), (126, "99991231-23:59:59")), {35: "3", 371: "126", 373: "5"}),
        (("1", (112, "t\udce9"), (-5, "no tag")), {35: "0", 112: "t\udce9"}),
    ],
)
def test_what_cannot_be_written_down_ends_nothing(
    client: RawClient, message: tuple[str, *tuple[tuple[int, str | int], ...]], answer: dict[int, str]
) -> None:
    kind, *pairs = message
    own = [(tag, value) for tag, value in client.order_pairs("x") if tag not in dict(pairs)]
    client.send(kind, *(own if kind in "DV" else ()), *pairs)
    told = client.next("3", "j", "8", "0")
    assert {tag: told.get(tag) for tag in answer} == answer
    client.order("y")
    assert client.next("8").get(11) == "y"


def test_a_party_group_is_let_pass(client: RawClient) -> None:
    client.order(
        "x",
        1,
        "10",
        "0.50",
        (453, 2),
        (448, "a"),
        (447, "D"),
        (452, 1),
        (448, "b"),
        (447, "D"),
        (452, 3),
        (9999, "own"),
    )
    assert client.next("8", "3").get(150) == "0"


def test_messages_of_other_kinds_are_refused_each_in_its_way(client: RawClient) -> None:
    client.send("B", (148, "news"))
    unsupported = client.next("j", "3")
    assert (unsupported.type, unsupported.get(380), unsupported.get(372)) == ("j", "3", "B")
    client.send("ZZ", (58, "?"))
    unknown = client.next("j", "3")
    assert (unknown.type, unknown.get(373)) == ("3", "11")
    client.order("x")
    assert client.next("8").get(11) == "x"


def test_an_order_in_what_is_not_traded_is_rejected_by_the_exchange(client: RawClient) -> None:
    pairs = {**dict(client.order_pairs("x")), 55: "NIX"}
    client.send("D", *pairs.items())
    rejected = client.next("8")
    assert [rejected.get(tag) for tag in (150, 39, 103, 5801, 55)] == ["8", "8", "1", "unknown-symbol", "NIX"]


def test_bytes_with_a_wrong_checksum_are_no_message_and_are_asked_for_again(client: RawClient) -> None:
    good = client.bytes_of("D", *client.order_pairs("x"))
    client.send_bytes(good[:-4] + b"%03d\x01" % ((int(good[-4:-1]) + 1) % 256))
    client.order("y")
    asked = client.next("2")
    assert (asked.get(7), asked.get(16)) == ("2", "0")
    client.send("4", (123, "Y"), (36, 3), (43, "Y"), (122, time_text(time.time_ns())), seq=2)
    assert client.next("8").get(11) == "y"


def test_rubbish_does_not_stop_the_others(chain: Chain, client: RawClient) -> None:
    for rubbish in (
        b"GET / HTTP/1.1\r\n\r\n",
        b"8=FIX.4.4\x019=99999999\x0135=A\x01",
        b"\0" * 1000,
        b"8=FIX.4.4\x019=-5\x01" * 50,
    ):
        with RawClient(chain.port, "X") as other:
            other.send_bytes(rubbish)
    client.order("x")
    assert client.next("8").get(11) == "x"


# ---------------------------------------------------------------- logging on


def test_who_is_not_known_does_not_get_in(chain: Chain) -> None:
    with RawClient(chain.port, "NOBODY") as client:
        client.send("A", (98, 0), (108, 30))
        assert client.is_closed()
    with RawClient(chain.port, _free(chain), target="OTHER") as client:
        client.send("A", (98, 0), (108, 30))
        assert client.is_closed()


def test_who_has_the_wrong_password_does_not_get_in(chain: Chain) -> None:
    right = (553, "ali"), (554, "open sesame")
    _connected(chain, "CLIENT0", *right).close()
    for wrong in ((), ((553, "ali"),), ((553, "ali"), (554, "guess")), ((553, "baba"), (554, "open sesame"))):
        with RawClient(chain.port, "CLIENT0") as client:
            client.send("A", (98, 0), (108, 30), (141, "Y"), *wrong)
            assert "A" not in client.until_closed()


def test_who_has_no_password_begins_nobodys_numbers_anew(chain: Chain) -> None:
    right = (553, "ali"), (554, "open sesame")
    with _connected(chain, "CLIENT0", *right, (141, "Y")) as client:
        client.order("x")
        client.next("8")
        client.send("5")
        client.until_closed()
    with RawClient(chain.port, "CLIENT0") as stranger:
        stranger.send("A", (98, 0), (108, 30), (141, "Y"), (553, "ali"))
        assert "A" not in stranger.until_closed()
    with RawClient(chain.port, "CLIENT0") as back:
        back.next_seq, back.symbol = client.next_seq, client.symbol
        assert back.log_on(*right).whole(34) > client.last_seq
        back.order("y")
        assert back.next("8").get(11) == "y"


def test_a_client_that_does_not_read_keeps_nobody_waiting(chain: Chain) -> None:
    with _connected(chain, "CLIENT59") as client, _connected(chain, "SLOW") as slow:
        slow._socket.settimeout(0.5)
        # Its answers fill the way to it, and then nothing is read of it either.
        with contextlib.suppress(OSError):
            while True:
                slow.send("1", (112, "t" * 100_000))
        for name in ("x", "y"):
            client.order(name)
            assert client.next("8").get(11) == name


def test_a_report_that_cannot_be_stored_ends_the_process_and_comes_after_it(tmp_path: Path) -> None:
    sections = ['[fix_acceptor.session.C]\nfirm = "one"']
    chain = Chain(tmp_path, (), ("ABC",), sections=sections)
    chain.start()
    try:
        with _connected(chain, "C") as client:
            client.symbol = "ABC"
            client.send("1", (112, "t" * 20_000))
            client.next("0")
            (stored,) = (tmp_path / "acceptor" / "store").glob("*.body")
            disk = stored.stat().st_size + 10
            process = chain.processes["acceptor"].process
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (disk, disk))
            client.order("x")
            assert "8" not in client.until_closed()
        assert chain.processes["acceptor"]._gone() == 1
        chain.launch("acceptor").wait_ready()
        with _resumed(chain, client) as back:
            assert back.next("8").get(11) == "x"
    finally:
        chain.kill()


def test_a_second_logon_as_the_same_client_leaves_the_first_alone(chain: Chain, client: RawClient) -> None:
    with RawClient(chain.port, client.comp_id) as second:
        second.send("A", (98, 0), (108, 30))
        assert second.is_closed()
    client.order("x")
    assert client.next("8").get(11) == "x"


def test_a_message_from_somebody_else_ends_the_session(client: RawClient) -> None:
    client.send("D", *client.order_pairs("x"), sender="NOBODY")
    refused = client.next("3", "5")
    assert (refused.type, refused.get(373)) == ("3", "9")
    assert client.next("5").type == "5"


def test_the_first_message_must_be_a_logon(chain: Chain) -> None:
    with RawClient(chain.port, _free(chain)) as client:
        client.order("x")
        assert client.is_closed()


# ---------------------------------------------------------------- numbers


def test_a_test_request_is_answered(client: RawClient) -> None:
    client.send("1", (112, "are you there"))
    assert client.next("0").get(112) == "are you there"


def test_a_silent_client_is_asked_and_then_dropped(chain: Chain) -> None:
    with RawClient(chain.port, _free(chain)) as client:
        client.log_on(heartbeat_s=1)
        assert client.next("1").get(112)
        assert "A" not in client.until_closed()


def test_a_gap_is_asked_for_and_filled(client: RawClient) -> None:
    client.next_seq += 2
    client.order("y")
    asked = client.next("2")
    assert (asked.get(7), asked.get(16)) == ("2", "0")
    again = (43, "Y"), (122, time_text(time.time_ns()))
    client.send("D", *client.order_pairs("x"), *again, seq=2)
    assert client.next("8").get(11) == "x"
    client.send("4", (123, "Y"), (36, 4), *again, seq=3)
    assert client.next("8").get(11) == "y"


def test_a_number_that_is_too_low_ends_the_session_unless_it_is_a_repetition(client: RawClient) -> None:
    client.order("x")
    client.next("8")
    client.send("D", *client.order_pairs("x"), (43, "Y"), (122, time_text(time.time_ns())), seq=2)
    client.send("1", (112, "t"))
    assert client.next("0", "8").type == "0", "a repetition of what was taken is not taken again"
    client.send("D", *client.order_pairs("y"), seq=2)
    assert "too low" in client.next("5").get(58)


def test_a_sequence_reset_is_followed(client: RawClient) -> None:
    client.send("4", (123, "N"), (36, 50), seq=client.next_seq)
    client.next_seq = 50
    client.order("x")
    assert client.next("8").get(11) == "x"


def test_what_was_reported_is_sent_again_under_its_numbers(client: RawClient) -> None:
    client.order("x")
    first = client.next("8")
    client.send("1", (112, "t"))
    client.next("0")
    client.send("2", (7, 1), (16, 0))
    fill = client.next()
    assert (fill.type, fill.get(123), fill.get(36)) == ("4", "Y", "2")
    again = client.next()
    assert (again.get(34), again.get(43), again.get(17)) == (first.get(34), "Y", first.get(17))
    assert client.next().get(36) == str(int(first.get(34)) + 2)


def test_reports_of_while_a_client_was_away_come_when_it_is_back(chain: Chain) -> None:
    client = _connected(chain, _free(chain))
    client.order("x")
    client.next("8")
    client.close()
    firm = client.comp_id.replace("CLIENT", "firm")
    time.sleep(0.2)
    chain.operate("cancel", firm=firm, cl_ord_id="x")
    with _resumed(chain, client) as back:
        assert [back.next("8").get(tag) for tag in (150,)] == ["4"]
        assert back.nothing_for(0.2)


def test_numbers_that_begin_anew_lose_no_report_that_was_never_sent(chain: Chain) -> None:
    client = _connected(chain, _free(chain))
    client.order("x")
    client.next("8")
    client.send("5")
    client.next("5")
    client.close()
    chain.operate("cancel", firm=client.comp_id.replace("CLIENT", "firm"), cl_ord_id="x")
    with _connected(chain, client.comp_id, (141, "Y")) as back:
        while (told := back.next("8")).get(150) != "4":
            assert told.get(97) == "Y", "who leaves at once may not have read the last one"
        assert told.get(43) == ""


def test_a_report_in_the_moment_of_a_logout_is_not_lost_to_numbers_that_begin_anew(chain: Chain) -> None:
    comp_id = _free(chain)
    firm = comp_id.replace("CLIENT", "firm")
    for number in range(8):
        with _connected(chain, comp_id, (141, "Y")) as client:
            client.order(f"x{number}")
            while client.next("8").get(11) != f"x{number}":  # one before it may be told twice, and late
                pass
            canceller = threading.Thread(
                target=lambda order=f"x{number}": chain.operate("cancel", firm=firm, cl_ord_id=order)
            )
            canceller.start()
            time.sleep(number * 0.0005)
            client.send("5")
            client.until_closed()
            canceller.join()
            told = [one for one in client.received if (one.get(11), one.get(150)) == (f"x{number}", "4")]
        with _connected(chain, comp_id, (141, "Y")) as back:
            if not told or not back.nothing_for(0.05):
                while (again := back.next("8")) and (again.get(11), again.get(150)) != (f"x{number}", "4"):
                    pass
                assert again.get(97) == "Y" or not told, "it says that it may have been told before"


# ---------------------------------------------------------------- copies


def test_a_drop_copy_session_hears_all_reports_of_its_firms_and_nothing_twice(chain: Chain) -> None:
    one, two = _connected(chain, "CLIENT1"), _connected(chain, "CLIENT2")
    two.symbol = one.symbol
    one.order("before", price="0.03")
    one.next("8")
    with _connected(chain, "COPY") as copy:
        assert [copy.next("8").get(tag) for tag in (11,)] == ["before"]
        assert copy.received[-1].get(115) == "firm1"
        two.order("x", 2, "5", "0.03")
        told = [copy.next("8") for _ in range(3)]
        assert sorted((one.get(115), one.get(11), one.get(150)) for one in told) == [
            ("firm1", "before", "F"), ("firm2", "x", "0"), ("firm2", "x", "F"),
        ]  # fmt: skip
        copy.order("mine")
        assert copy.next("j").get(380) == "3"
        one.send("AF", (584, "q"), (585, 7))
        assert copy.next("8").get(584) == ""
    time.sleep(0.3)  # what is sent over a connection that has ended must be asked for
    two.order("while away", 2, "5", "9")
    while two.next("8").get(11) != "while away":
        pass
    chain.restart("acceptor")
    with _resumed(chain, copy) as back:
        assert back.next("8").get(11) == "while away"
        assert back.nothing_for(0.3)
    one.close()
    two.close()


def test_a_process_that_was_told_to_end_logs_out(tmp_path: Path) -> None:
    sections = ['[fix_acceptor.session."C/1"]\nfirm = "one"']
    with Chain(tmp_path, (), ("ABC",), sections=sections) as chain, _connected(chain, "C/1") as client:
        acceptor = chain.processes["acceptor"].process
        acceptor.terminate()
        assert client.next("5").get(58) == "the process ends"
        client.send("5")
        wait_until(lambda: acceptor.poll() == 0)
