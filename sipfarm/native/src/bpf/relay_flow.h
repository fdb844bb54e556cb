/* What relay.bpf.c and its user share: two array maps that both map, so that neither a flow nor a counter costs a call. */
#ifndef SIPFARM_BPF_RELAY_FLOW_H
#define SIPFARM_BPF_RELAY_FLOW_H

#include <linux/types.h>

enum {
  SIPFARM_FLOWS_PER_PORT = 8,      /* local addresses on which one port number may have a flow at once */
  SIPFARM_WINDOW_SHIFT = 30,       /* rates are counted in windows of 2^30 ns */
  SIPFARM_STRANGERS_PER_WINDOW = 50, /* so many go up to be refused there; more are dropped here, and counted */
};

/* relay_flow.gate: whether packets are relayed, or which one went up last. */
#define SIPFARM_GATE_CLOSED 0ULL
#define SIPFARM_GATE_OPEN (~0ULL)
#define SIPFARM_GATE_LAST_UP(ssrc, sequence) (1ULL << 62 | (__u64)(ssrc) << 16 | (sequence))

/* By local UDP port: places in the table of flows, 0 = none. */
struct relay_port {
  __u32 flows[SIPFARM_FLOWS_PER_PORT];
};

/* RTP of one direction of one call. Addresses are IPv4, or the first quarter of IPv6; everything is in network order
 * that stands so in a packet. Written while no port leads to it; later only `up_types` and `gate` change. */
struct relay_flow {
  /* what each IPv4 packet needs: one cache line */
  __be32 local;
  __be32 source;      /* who may send */
  __be32 new_source;  /* our address towards the far end */
  __be32 destination;
  __be16 local_port;
  __be16 source_port;
  __be16 new_source_port;
  __be16 destination_port;
  __u32 in_interface;  /* 0: any that the program is at */
  __u32 out_interface; /* 0: up, to a socket of this machine */
  __u16 bytes_max;     /* of an IP packet; larger ones go up */
  __u8 version;        /* of IP: 4 or 6 */
  __u8 tos;            /* traffic class that packets leave with */
  __u32 packets_max;   /* in a window */
  __u64 up_types[2];   /* payload types that go up, a bit each */
  __u64 gate;
  /* what it counts: the next line */
  __u64 packets;
  __u64 bytes;   /* of UDP payload */
  __u64 last_ns; /* CLOCK_MONOTONIC, as coarse as a tick */
  __u64 flooded; /* dropped above packets_max */
  __u64 strangers; /* dropped above SIPFARM_STRANGERS_PER_WINDOW */
  __u32 window;
  __u32 window_packets;
  __u32 window_strangers;
  __u32 unused[3];
  /* the rest of IPv6 addresses */
  __be32 local_rest[3];
  __be32 source_rest[3];
  __be32 new_source_rest[3];
  __be32 destination_rest[3];
  __u32 padding[4];
};

#endif
