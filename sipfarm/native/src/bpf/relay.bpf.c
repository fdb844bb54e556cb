/* tc ingress: relays the RTP of calls that need nothing but new addresses. What is not for a flow of ours, and what of it
 * is not plain RTP from the source that the flow is locked to, goes on as if there were no program: to other programs, and
 * up to the socket that stays bound on the port. */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>
#include <stddef.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "bpf/relay_flow.h"

/* The verdicts of TCX; those of a clsact filter have the same numbers. */
enum { GO_ON = -1, DROP = 2 };

#define HOP_LIMIT 64 /* what a socket of ours would set */
#define DONT_FRAGMENT 0x4000

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 65536);
  __type(key, __u32);
  __type(value, struct relay_port);
} ports SEC(".maps");

/* The first is nobody's: place 0 means none. */
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 2);
  __type(key, __u32);
  __type(value, struct relay_flow);
} flows SEC(".maps");

/* Until when there is somebody to look after the flows (CLOCK_MONOTONIC, ns); afterwards everything goes up. */
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, __u64);
} lease SEC(".maps");

struct rtp {
  __u8 first;
  __u8 second;
  __be16 sequence;
  __be32 timestamp;
  __be32 ssrc;
};

struct packet4 {
  struct iphdr ip;
  struct udphdr udp;
  struct rtp rtp;
};

struct packet6 {
  struct ipv6hdr ip;
  struct udphdr udp;
  struct rtp rtp;
};

#define QUARTERS(address) ((__be32 *)&(address))

/* Differences are gathered instead of branched on: less for the verifier to walk. */
static __always_inline int differs_rest(const __be32 *address, const __be32 *rest) {
  return ((address[1] ^ rest[0]) | (address[2] ^ rest[1]) | (address[3] ^ rest[2])) != 0;
}

static __always_inline void copy6(__be32 *to, __be32 first, const __be32 *rest) {
  to[0] = first;
  to[1] = rest[0];
  to[2] = rest[1];
  to[3] = rest[2];
}

static __always_inline struct relay_flow *find_flow(__be16 local_port, const __be32 *local, int version) {
  __u32 port = bpf_ntohs(local_port);
  const volatile struct relay_port *at = bpf_map_lookup_elem(&ports, &port);
  if (!at) return NULL;
#pragma unroll
  for (int i = 0; i < SIPFARM_FLOWS_PER_PORT; i++) {
    __u32 place = at->flows[i];
    if (!place) continue;
    struct relay_flow *flow = bpf_map_lookup_elem(&flows, &place);
    if (!flow || flow->version != version || flow->local != local[0] || flow->local_port != local_port) continue;
    if (version == 6 && differs_rest(local, flow->local_rest)) continue;
    return flow;
  }
  return NULL;
}

static __always_inline int is_from_source(const struct relay_flow *flow, const __be32 *source, __be16 port, int version) {
  if (flow->source != source[0] || flow->source_port != port) return 0;
  return version == 4 || !differs_rest(source, flow->source_rest);
}

/* RTP (RFC 3550 §5.1) of a payload type that nobody here wants to see. RTCP may share the port (RFC 5761 §4). */
static __always_inline int is_plain_rtp(const struct relay_flow *flow, const struct rtp *rtp, __u32 udp_bytes) {
  if (rtp->first >> 6 != 2 || (rtp->second >= 192 && rtp->second <= 223)) return 0;
  if (udp_bytes < sizeof(struct udphdr) + sizeof *rtp + 4U * (rtp->first & 0x0f)) return 0;
  __u32 type = rtp->second & 0x7f;
  return !(flow->up_types[type >> 6] >> (type & 63) & 1);
}

static __always_inline int is_looked_after(__u64 now_ns) {
  __u32 key = 0;
  const volatile __u64 *until_ns = bpf_map_lookup_elem(&lease, &key);
  return until_ns && now_ns < *until_ns;
}

/* Where the gate is closed, the packet goes up and is noted: once it has left there as the last one that went up, nothing is under
 * way there any more, and the gate can be opened without a packet overtaking another. */
static __always_inline int is_open(struct relay_flow *flow, const struct rtp *rtp) {
  volatile __u64 *gate = &flow->gate;
  if (*gate == SIPFARM_GATE_OPEN) return 1;
  *gate = SIPFARM_GATE_LAST_UP(bpf_ntohl(rtp->ssrc), bpf_ntohs(rtp->sequence));
  return 0;
}

static __always_inline void begin_window(struct relay_flow *flow, __u64 now_ns) {
  __u32 window = (__u32)(now_ns >> SIPFARM_WINDOW_SHIFT);
  if (flow->window == window) return;
  flow->window = window;
  flow->window_packets = 0;
  flow->window_strangers = 0;
}

static __always_inline int refuse_stranger(struct relay_flow *flow) {
  if (flow->window_strangers < SIPFARM_STRANGERS_PER_WINDOW) {
    flow->window_strangers++;
    return GO_ON;
  }
  __sync_fetch_and_add(&flow->strangers, 1);
  return DROP;
}

static __always_inline int refuse_flood(struct relay_flow *flow) {
  __sync_fetch_and_add(&flow->flooded, 1);
  return DROP;
}

static __always_inline void count(struct relay_flow *flow, __u32 bytes, __u64 now_ns) {
  flow->window_packets++;
  __sync_fetch_and_add(&flow->packets, 1);
  __sync_fetch_and_add(&flow->bytes, bytes);
  flow->last_ns = now_ns;
}

static __always_inline __u32 folded(__u64 sum) {
  sum = (sum & 0xffffffff) + (sum >> 32);
  return (__u32)((sum & 0xffffffff) + (sum >> 32));
}

static __always_inline __u16 header_checksum(const struct iphdr *ip) {
  const __be16 *halves = (const __be16 *)ip;
  __u32 sum = 0;
#pragma unroll
  for (int i = 0; i < 10; i++) sum += halves[i];
  sum = (sum & 0xffff) + (sum >> 16);
  return (__u16)~((sum & 0xffff) + (sum >> 16));
}

static __always_inline __u32 ports_of(const struct udphdr *udp) { return *(const __u32 *)udp; }

static __always_inline void set_ports(struct udphdr *udp, const struct relay_flow *flow) {
  udp->source = flow->new_source_port;
  udp->dest = flow->destination_port;
}

static __always_inline int send(const struct relay_flow *flow) {
  return flow->out_interface ? (int)bpf_redirect_neigh(flow->out_interface, NULL, 0, 0) : GO_ON;
}

/* What both versions of IP share: everything up to the rewriting. RELAY: to be rewritten. */
enum { RELAY = 1 };

static __always_inline int judge(struct relay_flow *flow, const struct __sk_buff *skb, const __be32 *source,
                                 const struct udphdr *udp, const struct rtp *rtp, __u32 ip_bytes, int version) {
  __u64 now_ns = bpf_ktime_get_coarse_ns();
  __u32 udp_bytes = bpf_ntohs(udp->len);
  if (flow->in_interface && flow->in_interface != skb->ifindex) return GO_ON;
  if (!is_looked_after(now_ns)) return GO_ON;
  begin_window(flow, now_ns);
  if (!is_from_source(flow, source, udp->source, version)) return refuse_stranger(flow);
  if (!is_plain_rtp(flow, rtp, udp_bytes)) return GO_ON;
  if (ip_bytes > flow->bytes_max) return GO_ON;
  if (!is_open(flow, rtp)) return GO_ON;
  if (flow->window_packets >= flow->packets_max) return refuse_flood(flow);
  count(flow, udp_bytes - sizeof *udp, now_ns);
  return RELAY;
}

static __always_inline int relay4(struct __sk_buff *skb) {
  void *end = (void *)(long)skb->data_end;
  struct packet4 *packet = (void *)(long)skb->data + ETH_HLEN;
  if ((void *)(packet + 1) > end) return GO_ON;
  struct iphdr *ip = &packet->ip;
  struct udphdr *udp = &packet->udp;
  if (ip->protocol != IPPROTO_UDP || *(__u8 *)ip != 0x45 || (ip->frag_off & ~bpf_htons(DONT_FRAGMENT))) return GO_ON;
  struct relay_flow *flow = find_flow(udp->dest, &ip->daddr, 4);
  if (!flow) return GO_ON;
  __u32 ip_bytes = bpf_ntohs(ip->tot_len);
  if (bpf_ntohs(udp->len) + sizeof *ip != ip_bytes || skb->len < ETH_HLEN + ip_bytes) return GO_ON;
  int verdict = judge(flow, skb, &ip->saddr, udp, &packet->rtp, ip_bytes, 4);
  if (verdict != RELAY) return verdict;

  __u64 addresses = (__u64)(__u32)~ip->saddr + (__u32)~ip->daddr + flow->new_source + flow->destination;
  __u32 old_ports = ports_of(udp);
  int has_checksum = udp->check != 0;
  ip->saddr = flow->new_source;
  ip->daddr = flow->destination;
  ip->ttl = HOP_LIMIT;
  ip->tos = flow->tos;
  ip->check = 0;
  ip->check = header_checksum(ip);
  set_ports(udp, flow);
  __u32 new_ports = ports_of(udp);
  if (has_checksum) {
    const __u32 at = ETH_HLEN + offsetof(struct packet4, udp.check);
    bpf_l4_csum_replace(skb, at, 0, folded(addresses), BPF_F_PSEUDO_HDR | BPF_F_MARK_MANGLED_0);
    bpf_l4_csum_replace(skb, at, old_ports, new_ports, BPF_F_MARK_MANGLED_0 | sizeof new_ports);
  }
  return send(flow);
}

static __always_inline __u64 sum6(const __be32 *address) {
  return (__u64)address[0] + address[1] + address[2] + address[3];
}

static __always_inline __u64 inverse_sum6(const __be32 *address) {
  return (__u64)(__u32)~address[0] + (__u32)~address[1] + (__u32)~address[2] + (__u32)~address[3];
}

static __always_inline int relay6(struct __sk_buff *skb) {
  void *end = (void *)(long)skb->data_end;
  struct packet6 *packet = (void *)(long)skb->data + ETH_HLEN;
  if ((void *)(packet + 1) > end) return GO_ON;
  struct ipv6hdr *ip = &packet->ip;
  struct udphdr *udp = &packet->udp;
  if (ip->nexthdr != IPPROTO_UDP || udp->check == 0) return GO_ON;
  struct relay_flow *flow = find_flow(udp->dest, QUARTERS(ip->daddr), 6);
  if (!flow) return GO_ON;
  __u32 udp_bytes = bpf_ntohs(ip->payload_len);
  if (bpf_ntohs(udp->len) != udp_bytes || skb->len < ETH_HLEN + sizeof *ip + udp_bytes) return GO_ON;
  int verdict = judge(flow, skb, QUARTERS(ip->saddr), udp, &packet->rtp, udp_bytes + sizeof *ip, 6);
  if (verdict != RELAY) return verdict;

  __u64 addresses = inverse_sum6(QUARTERS(ip->saddr)) + inverse_sum6(QUARTERS(ip->daddr));
  __u32 old_ports = ports_of(udp);
  copy6(QUARTERS(ip->saddr), flow->new_source, flow->new_source_rest);
  copy6(QUARTERS(ip->daddr), flow->destination, flow->destination_rest);
  addresses += sum6(QUARTERS(ip->saddr)) + sum6(QUARTERS(ip->daddr));
  *(__be32 *)ip = bpf_htonl(6U << 28 | (__u32)flow->tos << 20);
  ip->hop_limit = HOP_LIMIT;
  set_ports(udp, flow);
  __u32 new_ports = ports_of(udp);
  const __u32 at = ETH_HLEN + offsetof(struct packet6, udp.check);
  bpf_l4_csum_replace(skb, at, 0, folded(addresses), BPF_F_PSEUDO_HDR | BPF_F_MARK_MANGLED_0);
  bpf_l4_csum_replace(skb, at, old_ports, new_ports, BPF_F_MARK_MANGLED_0 | sizeof new_ports);
  return send(flow);
}

/* Headers that a driver left in fragments are drawn together. False: it is too short to be RTP. */
static __always_inline int has_headers(struct __sk_buff *skb, __u32 bytes) {
  if ((void *)(long)skb->data + bytes <= (void *)(long)skb->data_end) return 1;
  return skb->len >= bytes && bpf_skb_pull_data(skb, bytes) == 0;
}

SEC("tc")
int relay(struct __sk_buff *skb) {
  if (skb->pkt_type != PACKET_HOST || skb->vlan_present || skb->gso_size) return GO_ON;
  if (skb->protocol == bpf_htons(ETH_P_IP)) return has_headers(skb, ETH_HLEN + sizeof(struct packet4)) ? relay4(skb) : GO_ON;
  if (skb->protocol == bpf_htons(ETH_P_IPV6)) return has_headers(skb, ETH_HLEN + sizeof(struct packet6)) ? relay6(skb) : GO_ON;
  return GO_ON;
}
