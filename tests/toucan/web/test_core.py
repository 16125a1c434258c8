"""The gateway's decisions: places, tickets, rates, addresses, JSON. No socket, no clock."""

from __future__ import annotations

import json
from typing import Any

import pytest
from connectrpc.errors import ConnectError
from google.protobuf import json_format, message_factory
from google.protobuf.descriptor import FieldDescriptor
from hypothesis import given, settings
from hypothesis import strategies as st

from aviary.toucan.v1 import toucan_pb2 as pb
from aviary.toucan.v1 import types_pb2 as tp
from toucan.server.limits import REQUEST_BYTES_MAX
from toucan.web.codecs import Answer, BinaryCodec, JsonCodec
from toucan.web.core.addresses import sender_address, sender_network
from toucan.web.core.places import Breach, Place, Places, place_of
from toucan.web.core.rates import Rates
from toucan.web.core.tickets import (
    KEY_BYTES,
    TICKET_CHARACTERS_MAX,
    Ticket,
    csrf_token,
    is_csrf_token,
    key_name,
    open_ticket,
    sealed,
)
from toucan.web.json_text import json_text
from toucan.web.limits import JSON_PARTS_MAX

KEY = bytes(range(KEY_BYTES))
OTHER = bytes(KEY_BYTES)

# ---------------------------------------------------------------- places


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("https://desk.example", Place("https", "desk.example")),
        ("https://Desk.Example:443", Place("https", "desk.example")),
        ("http://127.0.0.1:7080", Place("http", "127.0.0.1:7080")),
        ("http://[::1]:80", Place("http", "[::1]")),
        ("https://desk.example/", None),
        ("https://user@desk.example", None),
        ("desk.example", None),
        ("ftp://desk.example", None),
        ("https://", None),
        ("https://desk.example:x", None),
        ("https://[::1", None),
        ("https://dèsk.example", None),
        ("null", None),
    ],
)
def test_place_of_an_origin(text: str, place: Place | None) -> None:
    assert place_of(text) == place


def test_place_is_found_by_host_with_and_without_its_usual_port() -> None:
    secure, plain = Place("https", "desk.example"), Place("http", "desk.example:8080")
    places = Places([secure, plain])
    assert places.reached_at("desk.example") == places.reached_at("DESK.example:443") == secure
    assert places.reached_at("desk.example:8080") == plain
    assert places.reached_at("desk.example:80") is None
    assert Places([Place("http", "a"), Place("https", "a")]).reached_at("a") == Place("https", "a")


@settings(max_examples=50)
@given(st.text(max_size=20), st.text(max_size=20))
def test_nothing_but_its_own_origin_and_host_passes(host: str, origin: str) -> None:
    places = Places([Place("https", "desk.example")])
    assert (places.breach({"host": host}) is None) == (host.lower() in ("desk.example", "desk.example:443"))
    is_own = origin.lower() == "https://desk.example"
    assert (places.breach({"host": "desk.example", "origin": origin}) is None) == is_own
    assert places.breach({"host": host, "origin": "https://evil.example"}) is not None
    assert places.breach({}) is Breach.WRONG_HOST


# ---------------------------------------------------------------- tickets


def _tickets() -> st.SearchStrategy[Ticket]:
    return st.builds(
        Ticket,
        st.text("0123456789abcdef", min_size=32, max_size=32),
        st.text(max_size=64),
        st.just("a" * 64),
        st.integers(0, 2**40),
    )


@given(_tickets(), st.integers(0, 2**40))
def test_ticket_is_believed_with_its_key_until_its_time(ticket: Ticket, now_s: int) -> None:
    text = sealed(ticket, KEY)
    assert len(text) <= TICKET_CHARACTERS_MAX
    assert text.isascii()
    assert not set(text) & set(' ",;\\')
    assert open_ticket(text, KEY, now_s) == (ticket if now_s < ticket.expires_at_s else None)
    assert open_ticket(text, OTHER, now_s) is None


@given(_tickets(), st.data())
def test_no_character_of_a_ticket_can_be_another(ticket: Ticket, data: st.DataObject) -> None:
    text = sealed(ticket, KEY)
    at = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.characters().filter(lambda one: one != text[at]))
    assert open_ticket(text[:at] + other + text[at + 1 :], KEY, 0) is None
    assert open_ticket(text[:at], KEY, 0) is None
    assert open_ticket(text + "A", KEY, 0) is None


@given(st.text(max_size=2000))
def test_whatever_a_browser_sends_is_no_ticket(text: str) -> None:
    assert open_ticket(text, KEY, 0) is None


def test_what_the_key_signs_for_one_purpose_is_nothing_for_another() -> None:
    ticket = Ticket("a" * 32, "alice", "b" * 64, 100)
    token = csrf_token(ticket, KEY)
    assert is_csrf_token(token, ticket, KEY)
    assert not is_csrf_token(token, ticket, OTHER)
    assert not is_csrf_token(token, Ticket("c" * 32, "alice", "b" * 64, 100), KEY)
    assert not is_csrf_token(sealed(ticket, KEY).rpartition(".")[2], ticket, KEY)
    assert not is_csrf_token("", ticket, KEY)
    assert key_name(KEY) != key_name(OTHER)
    assert key_name(KEY).isalnum()


# ---------------------------------------------------------------- rates


@settings(max_examples=50)
@given(st.lists(st.floats(0, 3), max_size=200), st.integers(1, 5), st.floats(0.1, 20))
def test_nobody_has_more_than_his_burst_and_his_rate(pauses: list[float], burst: int, per_s: float) -> None:
    rates, now_s = Rates(per_s, burst, 10), 0.0
    for taken, pause in enumerate(pauses, 1):
        now_s += pause
        wait_s = rates.take("alice", now_s)
        if wait_s:
            assert rates.take("alice", now_s + wait_s * 0.99) > 0
            now_s += wait_s * 1.0001 + 1e-9
            assert rates.take("alice", now_s) == 0, "it was told when to come back"
        assert taken <= burst + now_s * per_s + 1e-6


def test_one_user_does_not_hold_back_another_and_time_fills_up_to_the_burst() -> None:
    rates = Rates(1, 2, 10)
    assert [rates.take("alice", 0) for _ in range(3)] == [0, 0, 1]
    assert rates.take("bob", 0) == 0
    assert [rates.take("alice", 1000) for _ in range(3)] == [0, 0, 1]


def test_made_up_names_do_not_free_who_is_held_back() -> None:
    rates = Rates(0.001, 3, 100)
    while not rates.take("attacker", 0):
        pass
    for number in range(10_000):
        assert rates.take(f"made-up-{number}", 0) == 0
        assert len(rates) <= 100
        assert rates.take("attacker", 0) > 0


# ---------------------------------------------------------------- addresses


@pytest.mark.parametrize(
    ("peer", "header", "address"),
    [
        ("1.1.1.1", "", "1.1.1.1"),
        ("1.1.1.1", "6.6.6.6", "1.1.1.1"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "2.2.2.2", "2.2.2.2"),
        ("10.0.0.1", "6.6.6.6, 2.2.2.2", "2.2.2.2"),
        ("10.0.0.1", "6.6.6.6, 2.2.2.2, 10.0.0.2", "2.2.2.2"),
        ("10.0.0.1", "2.2.2.2, nonsense", "10.0.0.1"),
        ("10.0.0.1", "10.0.0.2, 10.0.0.1", "10.0.0.2"),
    ],
)
def test_a_header_is_believed_as_far_as_proxies_wrote_it(peer: str, header: str, address: str) -> None:
    assert sender_address(peer, header, ("10.0.0.1", "10.0.0.2")) == address


def test_a_household_is_one_sender() -> None:
    assert sender_network("1.2.3.4") == "1.2.3.4" == sender_network("::ffff:1.2.3.4")
    assert (
        sender_network("2001:db8::1")
        == sender_network("2001:db8::ffff:1")
        != sender_network("2001:db8:0:1::1")
    )
    assert sender_network("unix") == "unix"


# ---------------------------------------------------------------- JSON

_STREAMED: tuple[Any, ...] = (
    pb.WatchOrdersResponse,
    pb.WatchPositionsResponse,
    pb.WatchMarketDataResponse,
    pb.DropCopyResponse,
)
_ALL = [
    message_factory.GetMessageClass(method.output_type)
    for service in pb.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]
_F = FieldDescriptor


def _messages(descriptor: Any, depth: int = 0) -> st.SearchStrategy[Any]:
    """Random messages of a kind."""
    kind: Any = message_factory.GetMessageClass(descriptor)
    fields = {}
    for field in descriptor.fields:
        values = _values(field, depth)
        fields[field.name] = st.lists(values, max_size=3) if field.is_repeated else values
    return st.fixed_dictionaries({}, optional=fields).map(lambda values: kind(**values))


def _values(field: Any, depth: int) -> st.SearchStrategy[Any]:
    match field.type:
        case _F.TYPE_MESSAGE:
            return _messages(field.message_type, depth + 1)
        case _F.TYPE_STRING:
            return st.text(max_size=8)
        case _F.TYPE_BOOL:
            return st.booleans()
        case _F.TYPE_ENUM:
            return st.sampled_from([value.number for value in field.enum_type.values] + [99])
        case _F.TYPE_INT32:
            return st.integers(-(2**31), 2**31 - 1)
    return st.integers(-(2**63), 2**63 - 1)


@settings(max_examples=60)
@given(st.sampled_from(_ALL).flatmap(lambda kind: _messages(kind.DESCRIPTOR)))
def test_json_is_what_protobuf_makes_of_it(message: Any) -> None:
    assert json.loads(json_text(message)) == json_format.MessageToDict(message)


@settings(max_examples=60)
@given(st.lists(st.sampled_from(_STREAMED).flatmap(lambda kind: _messages(kind.DESCRIPTOR)), max_size=4))
def test_parts_that_are_kept_make_the_same_text(messages: list[Any]) -> None:
    codec = JsonCodec()
    for message in [*messages, *messages]:
        answer = Answer(type(message), message.SerializeToString(), is_shared=True)
        assert json.loads(codec.encode(answer)) == json_format.MessageToDict(message)


def test_parts_of_two_kinds_with_the_same_bytes_are_two() -> None:
    codec = JsonCodec()
    for kind, name in ((pb.WatchPositionsResponse, "positions"), (pb.WatchMarketDataResponse, "marketData")):
        message: Any = kind()
        getattr(message, "positions" if name == "positions" else "market_data").add()
        assert json.loads(codec.encode(Answer(kind, message.SerializeToString(), is_shared=True))) == {
            name: [{}]
        }
    position, market = (
        pb.WatchPositionsResponse(positions=[tp.Position(account="x")]),
        pb.WatchMarketDataResponse(market_data=[tp.MarketData(symbol="x")]),
    )
    assert position.positions[0].SerializeToString() == market.market_data[0].SerializeToString()
    for one in (position, market):
        assert json.loads(
            codec.encode(Answer(type(one), one.SerializeToString(), is_shared=True))
        ) == json_format.MessageToDict(one)


def test_kept_parts_are_bounded() -> None:
    codec = JsonCodec()
    for number in range(3 * JSON_PARTS_MAX):
        message = pb.WatchOrdersResponse(updates=[tp.OrderUpdate(seq=number)])
        codec.encode(Answer(pb.WatchOrdersResponse, message.SerializeToString(), is_shared=True))
        assert all(len(texts) <= JSON_PARTS_MAX for texts in codec._texts.values())


@pytest.mark.parametrize("size", [REQUEST_BYTES_MAX, REQUEST_BYTES_MAX + 1])
def test_request_has_the_limit_of_grpc_in_both_encodings(size: int) -> None:
    request = pb.ListOrdersRequest(page_token="x" * (size - 4))
    assert request.ByteSize() == size
    text = json_format.MessageToJson(request).encode()
    for codec, data in ((BinaryCodec(), request.SerializeToString()), (JsonCodec(), text)):
        if size <= REQUEST_BYTES_MAX:
            assert codec.decode(data, pb.ListOrdersRequest) == request.SerializeToString()
        else:
            with pytest.raises(ConnectError, match="may have"):
                codec.decode(data, pb.ListOrdersRequest)


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_whatever_is_sent_as_json_is_a_request_or_refused(data: bytes) -> None:
    encoded, refusal = b"", None
    try:
        encoded = JsonCodec().decode(data, pb.SubmitOrderRequest)
    except ConnectError as error:
        refusal = error.message
    pb.SubmitOrderRequest.FromString(encoded)
    assert refusal is None or len(refusal) < 500
