"""A balancer that sends each UDP packet to another member and keeps its source address.

The members of one machine share their port by SO_REUSEPORT; a classic BPF program on that group
says which socket gets a packet. It is put there from outside, so members know nothing of it.
"""

import ctypes
import errno
import socket
import struct
from collections.abc import Callable, Sequence
from typing import Final

from sipfarm.base.net import HostPort
from sipfarm.testing.sockets import copied_socket, owner_of, udp_inodes

SO_ATTACH_REUSEPORT_CBPF: Final = 51
SO_DETACH_REUSEPORT_BPF: Final = 68

_LOAD_WORD: Final = 0x20  # BPF_LD | BPF_W | BPF_ABS
_LOAD_HALF: Final = 0x28  # BPF_LD | BPF_H | BPF_ABS
_TO_X: Final = 0x07  # BPF_MISC | BPF_TAX
_ADD_X: Final = 0x0C  # BPF_ALU | BPF_ADD | BPF_X
_MODULO: Final = 0x94  # BPF_ALU | BPF_MOD | BPF_K
_RETURN_CONSTANT: Final = 0x06  # BPF_RET | BPF_K
_RETURN_A: Final = 0x16  # BPF_RET | BPF_A
_RANDOM: Final = 0xFFFF_F000 + 56  # SKF_AD_OFF + SKF_AD_RANDOM
_IP_HEADER: Final = 0xFFF0_0000  # SKF_NET_OFF
_SOURCE_ADDRESS: Final = _IP_HEADER + 12  # of IPv4 without options
_SOURCE_PORT: Final = _IP_HEADER + 20

Instruction = tuple[int, int]


class BalancerError(AssertionError):
    """There is nobody to balance between."""


class PacketBalancer:
    """Says which member's socket gets a datagram, from now on."""

    def __init__(self, address: HostPort, pids: Callable[[], list[int]]) -> None:
        """`pids` names the members' processes whenever it is asked."""
        self._address = address
        self._pids = pids

    @property
    def size(self) -> int:
        """How many sockets share the port."""
        return len(udp_inodes(self._address))

    def at_random(self) -> None:
        """Each packet to any of the sockets that are there now.

        Where one of them goes, its share goes to the rest by a hash of the addresses.
        """
        self._attach([(_LOAD_WORD, _RANDOM), (_MODULO, self.size), (_RETURN_A, 0)])

    def by_source(self) -> None:
        """A flow stays with one socket; addresses or ports in a row go to all in turn."""
        self._attach(
            [
                (_LOAD_WORD, _SOURCE_ADDRESS),
                (_TO_X, 0),
                (_LOAD_HALF, _SOURCE_PORT),
                (_ADD_X, 0),
                (_MODULO, self.size),
                (_RETURN_A, 0),
            ]
        )

    def all_to(self, index: int) -> None:
        """Every packet to one socket: the k-th of those that bound the port."""
        self._attach([(_RETURN_CONSTANT, index)])

    def by_flow(self) -> None:
        """As the kernel does by itself: by a hash of the addresses."""
        with self._shared_socket() as shared:
            try:
                shared.setsockopt(socket.SOL_SOCKET, SO_DETACH_REUSEPORT_BPF, 0)
            except OSError as error:
                if error.errno != errno.ENOENT:
                    raise

    def _attach(self, program: Sequence[Instruction]) -> None:
        code = b"".join(struct.pack("=HBBI", act, 0, 0, value) for act, value in program)
        buffer = ctypes.create_string_buffer(code, len(code))
        header = struct.pack("@HL", len(program), ctypes.addressof(buffer))  # struct sock_fprog
        with self._shared_socket() as shared:
            shared.setsockopt(socket.SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, header)

    def _shared_socket(self) -> socket.socket:
        pids = self._pids()
        for inode in udp_inodes(self._address):
            owner = owner_of(inode, pids)
            if owner is not None:
                return copied_socket(*owner)
        raise BalancerError(f"none of the processes {pids} is bound to udp:{self._address}")
