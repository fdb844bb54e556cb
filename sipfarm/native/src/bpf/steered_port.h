/* What port_steering.bpf.c and its user share. */
#ifndef SIPFARM_BPF_STEERED_PORT_H
#define SIPFARM_BPF_STEERED_PORT_H

#include <linux/types.h>

/* Places in the socket map. */
enum { SIPFARM_PLACE_NOT_OURS = 0, SIPFARM_PLACE_SINK = 1, SIPFARM_PLACE_FIRST_WORKER = 2 };

/* Read-only data of the program, set before it is loaded. */
struct steering_settings {
  __u32 family;
  __be32 address[4]; /* IPv4 in the first */
  __u32 first_port;
};

/* One for each port of the range, in an array map that the user has in memory. */
struct steered_port {
  __u8 place;         /* where packets for the port go */
  __u8 locked;        /* 1: only those from the remote below, others to the sink */
  __be16 remote_port;
  __be32 remote_ip[4];
  __u32 strangers;    /* sunk since they came from elsewhere */
  __u32 sunk;         /* sunk since the port was resting or above its rate */
  __u32 unused;
};

#endif
