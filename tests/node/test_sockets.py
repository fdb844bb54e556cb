"""Leaving a group of listeners: no connection is lost that has begun, and new ones go elsewhere."""

import select
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest

from sipfarm.base.net import HostPort, Listen, Transport
from sipfarm.node.io.sockets import SipSockets

WITHIN_S = 15.0
CLIENTS = 24


@pytest.fixture
def group() -> Iterator[tuple[SipSockets, SipSockets]]:
    """Two members that listen at one address."""
    with ExitStack() as stack:
        first = stack.enter_context(closing(SipSockets([tcp(HostPort("127.0.0.1", 0))])))
        second = stack.enter_context(closing(SipSockets(first.listens)))
        for member in (first, second):
            listener(member).listen(64)
        yield first, second


def tcp(address: HostPort) -> Listen:
    return Listen(Transport.TCP, address)


def listener(member: SipSockets) -> socket.socket:
    ((_, _, bound),) = member
    return bound


def connect(group: tuple[SipSockets, SipSockets], stack: ExitStack) -> list[socket.socket]:
    """Clients under way to whichever member."""
    address = group[1].listens[0].address
    clients: list[socket.socket] = []
    for _ in range(CLIENTS):
        client = stack.enter_context(socket.socket())
        client.setblocking(False)
        client.connect_ex((address.host, address.port))
        clients.append(client)
    return clients


def accepted(member: SipSockets, stack: ExitStack) -> list[tuple[str, int]]:
    """Where those come from that wait at a member."""
    found: list[tuple[str, int]] = []
    while True:
        try:
            one, peer = listener(member).accept()
        except BlockingIOError:
            return found
        stack.enter_context(one)
        found.append(peer)


@pytest.mark.slow
def test_who_waits_to_be_accepted_is_served_and_who_comes_then_goes_elsewhere(
    group: tuple[SipSockets, SipSockets],
) -> None:
    first, second = group
    with ExitStack() as stack:
        waiting = {client.getsockname() for client in connect(group, stack)}
        first.hold_back()
        later = connect(group, stack)  # SYNs that the first one hears no more are sent again
        at_first = accepted(first, stack)
        first.close_listeners()
        assert at_first
        assert set(at_first) <= waiting
        for client in later:
            assert select.select((), (client,), (), WITHIN_S)[1]
            assert client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
        at_second = accepted(second, stack)
        assert set(at_second) | set(at_first) == waiting | {one.getsockname() for one in later}


@pytest.mark.slow
def test_a_listener_that_was_held_back_or_closed_takes_connections_again(
    group: tuple[SipSockets, SipSockets],
) -> None:
    first, second = group
    second.close()
    with ExitStack() as stack:
        for closes in (False, True):
            first.hold_back()
            if closes:
                first.close_listeners()
            opened = first.open_listeners()
            assert len(opened) == int(closes)
            listener(first).listen(64)
            address = first.listens[0].address
            stack.enter_context(socket.create_connection((address.host, address.port), WITHIN_S))
            assert len(accepted(first, stack)) == 1
        assert first.open_listeners() == []
