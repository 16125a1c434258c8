"""Frames whole, in pieces and as garbage; descriptors that never leak."""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.shmipc.support import descriptor_count

from shmipc.errors import HandshakeError
from shmipc.limits import FRAME_BYTES_MAX, FRAME_DESCRIPTORS_MAX
from shmipc.wire import FrameDecoder, encode_frame, peer_credentials, receive, send_with_descriptors


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    left, right = socket.socketpair(socket.AF_UNIX)
    with left, right:
        yield left, right


@given(st.lists(st.binary(max_size=300), max_size=8), st.data())
def test_frames_come_out_as_they_went_in_however_they_are_cut(
    payloads: list[bytes], data: st.DataObject
) -> None:
    stream = b"".join(encode_frame(payload) for payload in payloads)
    decoder, got, at = FrameDecoder(), [], 0
    assert FrameDecoder().feed(stream) == payloads, "whole"
    while at < len(stream):
        size = data.draw(st.integers(1, len(stream) - at))
        got += decoder.feed(memoryview(stream)[at : at + size])
        at += size
    assert got == payloads
    assert decoder.is_between_frames


@given(st.lists(st.binary(max_size=50), max_size=5))
def test_byte_by_byte(payloads: list[bytes]) -> None:
    stream = b"".join(encode_frame(payload) for payload in payloads)
    decoder, got, ends = FrameDecoder(), [], []
    for at in range(len(stream)):
        got += decoder.feed(stream[at : at + 1])
        ends.append(decoder.is_between_frames)
    assert got == payloads
    assert sum(ends) == len(payloads), "between frames exactly at the end of each"


@given(st.binary(max_size=2000))
def test_garbage_is_frames_or_a_handshake_error_and_the_same_whole_or_in_bytes(garbage: bytes) -> None:
    def decode(step: int) -> tuple[list[bytes], bool]:
        decoder, got = FrameDecoder(), list[bytes]()
        for at in range(0, len(garbage), step):
            try:
                got += decoder.feed(garbage[at : at + step])
            except HandshakeError:
                return got, False
        assert len(decoder._buffer) <= FRAME_BYTES_MAX + 4
        return got, True

    whole, in_bytes = decode(max(1, len(garbage))), decode(1)
    assert whole[1] == in_bytes[1]
    if whole[1]:
        assert whole == in_bytes


def test_the_largest_frame_and_one_byte_more() -> None:
    largest = bytes(FRAME_BYTES_MAX)
    assert FrameDecoder().feed(encode_frame(largest)) == [largest]
    with pytest.raises(HandshakeError, match="at most 1,048,576 bytes, this one 1,048,577"):
        encode_frame(largest + b"x")
    with pytest.raises(HandshakeError, match="announced a frame of 1,048,577 bytes"):
        FrameDecoder().feed((FRAME_BYTES_MAX + 1).to_bytes(4, "little"))


def test_an_http_request_is_recognised_as_something_else() -> None:
    with pytest.raises(HandshakeError, match="does not speak this protocol"):
        FrameDecoder().feed(b"GET / HTTP/1.1\r\n\r\n")


def test_descriptors_arrive_with_the_first_byte_and_close_on_exec(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    left, right = pair
    out, into = os.pipe()
    sent = send_with_descriptors(left, encode_frame(b"hello"), [out, into])
    os.close(out)
    os.close(into)
    descriptors: deque[int] = deque()
    assert FrameDecoder().feed(receive(right, descriptors)) == [b"hello"]
    assert sent == 9
    assert len(descriptors) == 2
    assert not any(os.get_inheritable(fd) for fd in descriptors)
    os.write(descriptors[1], b"x")
    assert os.read(descriptors[0], 1) == b"x"
    for fd in descriptors:
        os.close(fd)


def test_the_most_descriptors_and_one_more(pair: tuple[socket.socket, socket.socket]) -> None:
    left, right = pair
    null = os.open(os.devnull, os.O_RDONLY)
    descriptors: deque[int] = deque()
    send_with_descriptors(left, b"x", [null] * FRAME_DESCRIPTORS_MAX)
    before = descriptor_count()
    assert receive(right, descriptors) == b"x"
    assert len(descriptors) == FRAME_DESCRIPTORS_MAX
    send_with_descriptors(left, b"y", [null])  # one more, while the first still wait
    with pytest.raises(HandshakeError, match=f"more than {FRAME_DESCRIPTORS_MAX} descriptors"):
        receive(right, descriptors)
    assert not descriptors
    assert descriptor_count() == before
    os.close(null)


@pytest.mark.parametrize("count", [FRAME_DESCRIPTORS_MAX + 1, 50, 250])
def test_a_flood_of_descriptors_leaks_none(pair: tuple[socket.socket, socket.socket], count: int) -> None:
    left, right = pair
    null = os.open(os.devnull, os.O_RDONLY)
    socket.send_fds(left, [b"x"], [null] * count)
    before = descriptor_count()
    with pytest.raises(HandshakeError, match="more than"):
        receive(right, deque())
    assert descriptor_count() == before
    os.close(null)


def test_a_closed_peer_is_an_empty_answer(pair: tuple[socket.socket, socket.socket]) -> None:
    left, right = pair
    left.close()
    assert receive(right, deque()) == b""


def test_the_kernel_says_who_the_peer_is(pair: tuple[socket.socket, socket.socket]) -> None:
    assert peer_credentials(pair[0]) == (os.getpid(), os.geteuid(), os.getegid())
