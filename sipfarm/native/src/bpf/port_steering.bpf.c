/* sk_lookup: brings the packets of media ports that we hold to the sockets of our worker threads, and to nobody else's
 * harm: what is not for our address, or for a port that we do not hold, goes on as if there were no program. */
#include <linux/bpf.h>
#include <linux/in.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "bpf/steered_port.h"

#define AF_INET 2
#define AF_INET6 10

const volatile struct steering_settings settings;

/* One entry for each port from first_port on. */
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct steered_port);
} ports SEC(".maps");

/* By place. */
struct {
  __uint(type, BPF_MAP_TYPE_SOCKMAP);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, __u64);
} sockets SEC(".maps");

/* Differences are gathered instead of branched on: the verifier refuses the shared branch that clang makes of the latter. */
#define DIFFERS6(ip, other) ((ip[0] ^ other[0]) | (ip[1] ^ other[1]) | (ip[2] ^ other[2]) | (ip[3] ^ other[3]))

static __always_inline int is_for_us(const struct bpf_sk_lookup *ctx) {
  if (ctx->protocol != IPPROTO_UDP || ctx->family != settings.family) return 0;
  if (settings.family == AF_INET) return ctx->local_ip4 == settings.address[0];
  return DIFFERS6(ctx->local_ip6, settings.address) == 0;
}

static __always_inline int is_from(const struct bpf_sk_lookup *ctx, const struct steered_port *port) {
  if (ctx->remote_port != port->remote_port) return 0;
  if (settings.family == AF_INET) return ctx->remote_ip4 == port->remote_ip[0];
  return DIFFERS6(ctx->remote_ip6, port->remote_ip) == 0;
}

SEC("sk_lookup")
int steer(struct bpf_sk_lookup *ctx) {
  if (!is_for_us(ctx)) return SK_PASS;
  __u32 key = ctx->local_port - settings.first_port;
  struct steered_port *port = bpf_map_lookup_elem(&ports, &key);
  if (!port) return SK_PASS;
  __u32 place = *(volatile __u8 *)&port->place;
  if (place == SIPFARM_PLACE_NOT_OURS) return SK_PASS;
  if (place == SIPFARM_PLACE_SINK) {
    __sync_fetch_and_add(&port->sunk, 1);
  } else if (*(volatile __u8 *)&port->locked && !is_from(ctx, port)) {
    __sync_fetch_and_add(&port->strangers, 1);
    place = SIPFARM_PLACE_SINK;
  }
  struct bpf_sock *socket = bpf_map_lookup_elem(&sockets, &place);
  if (!socket) return SK_PASS;
  bpf_sk_assign(ctx, socket, 0); /* refused where a program before us has chosen: the port is theirs */
  bpf_sk_release(socket);
  return SK_PASS;
}
