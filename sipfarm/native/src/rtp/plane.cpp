#include "rtp/plane.hpp"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <random>
#include <stdexcept>
#include <string>
#include <system_error>
#include <unordered_map>
#include <utility>

#include "bpf/port_steering.hpp"
#include "rtp/bridge_shelf.hpp"
#include "rtp/descriptors.hpp"
#include "rtp/held_ports.hpp"
#include "rtp/port_sockets.hpp"
#include "rtp/socket.hpp"
#include "rtp/steered_sockets.hpp"
#include "rtp/worker.hpp"

namespace sipfarm::rtp {
namespace {

constexpr std::size_t k_attempts_per_call = 32;    // binds tried by one replenish
constexpr std::int64_t k_retry_ms = 5'000;         // before foreign ports are tried again
constexpr std::size_t k_failures = 65'536;         // failed events kept until polled
constexpr std::size_t k_backlog_per_worker = 65'536;

/// A port pair that nobody else can bind.
struct Pair {
  std::array<int, 2> fds{-1, -1};  // RTP and RTCP, where each port has a socket
  bool busy = false;               // some stream has it, or is closing it
};

/// What steered ports need.
struct Steering {
  HeldPorts held;
  std::unique_ptr<bpf::PortSteering> kernel;
  std::vector<std::unique_ptr<SteeredSockets>> sockets;  // until the workers take them
};

/// A stream as the control thread holds it.
struct Entry {
  std::unique_ptr<Stream> stream;
  std::size_t worker = 0;
  std::array<std::uint16_t, 2> ports{};
  bool closing = false;
  bool relays = false;
  BridgeShelf bridges;
  std::array<SecurityKeeper, 2> security;
};

/// Numbers that nobody can guess (RFC 3550 §5.1, §8.1).
std::array<StreamStart, 2> random_starts() {
  std::random_device random;
  std::array<StreamStart, 2> starts;
  for (StreamStart& start : starts) start = {random(), static_cast<std::uint16_t>(random()), random()};
  return starts;
}

/// Any value that is fixed for the stream; splitmix64's last step.
std::uint32_t echo_ssrc(std::uint64_t id) noexcept {
  id += 0x9e3779b97f4a7c15ULL;
  id = (id ^ (id >> 30U)) * 0xbf58476d1ce4e5b9ULL;
  id = (id ^ (id >> 27U)) * 0x94d049bb133111ebULL;
  return static_cast<std::uint32_t>((id ^ (id >> 31U)) >> 32U);
}

/// Ports take three of four descriptors at most: the rest of the process needs some, and least of all may want them when there are no ports.
std::size_t most_sockets() noexcept {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  return static_cast<std::size_t>(limit.rlim_cur / 4 * 3);
}

bool is_open(const Command& command) noexcept {
  return command.kind == Command::Kind::open_relay || command.kind == Command::Kind::open_echo;
}

}  // namespace

struct Plane::Impl {
  Impl(const PlaneConfig& given, PortPool& ports);
  ~Impl();
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  void steer(unsigned threads);
  std::unique_ptr<MediaSockets> sockets_for(std::size_t worker);
  void open_kernel_relay(unsigned threads);
  std::unique_ptr<KernelPath> kernel_path_for(unsigned worker);
  enum class Bound : std::uint8_t { pair, skipped, failed };
  Bound bind_next();
  bool keep_fresh();
  bool apply(const Command& command);
  bool open(const Command& command);
  Pair* idle_pair(std::uint16_t port);
  void fail(const Command& command);
  void forget(std::uint64_t id);
  bool reap(std::uint64_t id);

  PlaneConfig config;
  PortPool& pool;
  std::unique_ptr<Steering> steering;  // before the workers: they end first
  std::string not_steered;
  std::unique_ptr<bpf::KernelRelay> kernel;  // before the workers, as well
  std::string not_in_kernel;
  std::vector<UdpSocket> sockets;     // of the pairs, where each port has its own
  std::vector<UdpSocket> fresh;       // bound in this call, RTP and RTCP in turn
  std::vector<std::uint16_t> fresh_ports;
  std::unordered_map<std::uint16_t, Pair> pairs;
  std::unordered_map<std::uint64_t, Entry> streams;
  std::vector<std::unique_ptr<Worker>> workers;
  std::vector<std::size_t> loads;  // streams of each worker, closing ones too
  std::vector<Event> failures;
  std::vector<std::uint64_t> reaping;  // streams whose worker has sessions to let go
  int event_fd = -1;
  unsigned cursor = 0;  // next port to bind; past last_port: the lap is over
  std::int64_t next_lap_ms = 0;
  std::size_t foreign_this_lap = 0;
  std::size_t foreign_last_lap = 0;
  std::uint64_t refused = 0;
  int bind_errno = 0;
  PlaneTotals ended;  // of workers that were stopped
};

Plane::Impl::Impl(const PlaneConfig& given, PortPool& ports) : config{given}, pool{ports} {
  config.first_port = static_cast<std::uint16_t>(config.first_port + config.first_port % 2);
  cursor = config.first_port;
  if (cursor + 1 > config.last_port) throw std::invalid_argument{"the media port range holds no pair of ports"};
  config.address.port = 0;
  if (!UdpSocket::bind(config.address)) {
    throw std::system_error{errno, std::generic_category(), "media address " + config.address.host()};
  }
  event_fd = make_eventfd();
  WorkerConfig each;
  each.relay.max_streams = config.max_streams;
  each.relay.silence_timeout_ms = config.silence_timeout_ms;
  each.relay.latch.window_ms = config.latch_window_ms;
  each.relay.max_packets_per_s = config.max_packets_per_s;
  each.coalesce_us = std::min(config.coalesce_us, 20'000U);
  each.event_fd = event_fd;
  const unsigned threads = std::max(1U, config.threads);
  if (config.sockets != SocketMode::per_port) steer(threads);
  config.sockets = steering ? SocketMode::steered : SocketMode::per_port;
  if (config.kernel_relay) open_kernel_relay(threads);
  for (unsigned i = 0; i < threads; ++i) {
    workers.push_back(std::make_unique<Worker>(each, sockets_for(i), kernel_path_for(i)));
  }
  loads.assign(threads, 0);
}

/// Makes all that steering needs, or nothing of it.
void Plane::Impl::steer(unsigned threads) {
  const SteeredConfig each{config.address, config.first_port, config.last_port, config.dscp, 0};
  auto made = std::make_unique<Steering>();
  made->kernel = bpf::PortSteering::attach({each.address, each.first_port, each.last_port, threads}, not_steered);
  while (made->kernel && made->sockets.size() < threads) {
    SteeredConfig one = each;
    one.worker = static_cast<unsigned>(made->sockets.size());
    made->sockets.push_back(SteeredSockets::make(one, *made->kernel, not_steered));
    if (!made->sockets.back()) break;
  }
  if (not_steered.empty()) {
    steering = std::move(made);
  } else if (config.sockets == SocketMode::steered) {
    throw std::system_error{std::make_error_code(std::errc::operation_not_supported), not_steered};
  }
}

std::unique_ptr<MediaSockets> Plane::Impl::sockets_for(std::size_t worker) {
  if (steering) return std::move(steering->sockets[worker]);
  return std::make_unique<PortSockets>();
}

void Plane::Impl::open_kernel_relay(unsigned threads) {
  if (config.address.is_unspecified()) {
    not_in_kernel = "the media address is a wildcard";
    return;
  }
  bpf::KernelRelayConfig wanted;
  wanted.addresses = {config.address};
  wanted.tables = threads;
  wanted.flows = static_cast<std::uint32_t>(2 * config.max_streams);
  kernel = bpf::KernelRelay::open(wanted, not_in_kernel);
}

/// Nothing where the kernel does not relay.
std::unique_ptr<KernelPath> Plane::Impl::kernel_path_for(unsigned worker) {
  if (!kernel) return nullptr;
  std::optional<bpf::Routes> routes = bpf::Routes::open();
  if (!routes) throw std::system_error{errno, std::generic_category(), "netlink"};
  return std::make_unique<KernelPath>(KernelPathConfig{config.address, config.dscp, config.max_packets_per_s, worker}, *kernel,
                                      std::move(*routes));
}

Plane::Impl::~Impl() {
  workers.clear();
  if (event_fd >= 0) ::close(event_fd);
}

/// Tries the cursor's port.
Plane::Impl::Bound Plane::Impl::bind_next() {
  const auto port = static_cast<std::uint16_t>(cursor);
  cursor += 2;
  if (pool.contains(port)) return Bound::skipped;
  if (!steering && sockets.size() + fresh.size() + 2 > most_sockets()) {
    bind_errno = EMFILE;
    return Bound::failed;
  }
  net::Address local = config.address;
  local.port = port;
  auto rtp = UdpSocket::bind(local);
  ++local.port;
  auto rtcp = rtp ? UdpSocket::bind(local) : std::nullopt;
  if (!rtcp && errno != EADDRINUSE && errno != EACCES) {
    bind_errno = errno;
    return Bound::failed;
  }
  if (!rtcp) {
    ++foreign_this_lap;
    return Bound::skipped;
  }
  fresh_ports.push_back(port);
  fresh.push_back(std::move(*rtp));
  fresh.push_back(std::move(*rtcp));
  return Bound::pair;
}

/// The pairs bound in this call join the pool. False if the kernel will not keep them for us.
bool Plane::Impl::keep_fresh() {
  const bool kept = !steering || steering->held.hold(fresh);
  if (!kept) bind_errno = errno;
  for (std::size_t i = 0; kept && i < fresh_ports.size(); ++i) {
    const std::uint16_t port = fresh_ports[i];
    Pair pair;
    for (std::size_t k = 0; k < 2; ++k) {
      UdpSocket& socket = fresh[2 * i + k];
      if (steering) {
        steering->kernel->hold(static_cast<std::uint16_t>(port + k));
        continue;
      }
      mark(socket.fd(), config.address.v6, config.dscp);
      mute(socket.fd());
      pair.fds[k] = socket.fd();
      sockets.push_back(std::move(socket));
    }
    pairs.emplace(port, pair);
    pool.add(port);
  }
  fresh_ports.clear();
  fresh.clear();
  return kept;
}

bool Plane::Impl::apply(const Command& command) {
  if (is_open(command)) return open(command);
  const auto found = streams.find(command.stream);
  if (found == streams.end() || found->second.closing) return false;
  Entry& entry = found->second;
  Worker& worker = *workers[entry.worker];
  entry.closing = command.kind == Command::Kind::close;
  if (!entry.closing && worker.backlog() >= k_backlog_per_worker) return false;
  worker.order({command, entry.stream.get(), nullptr});
  return true;
}

bool Plane::Impl::open(const Command& command) {
  const bool echo = command.kind == Command::Kind::open_echo;
  const std::size_t chosen =
      static_cast<std::size_t>(std::min_element(loads.begin(), loads.end()) - loads.begin());
  Pair* const a = idle_pair(command.ports[0]);
  Pair* const b = echo ? nullptr : idle_pair(command.ports[1]);
  if (a == nullptr || (!echo && b == nullptr) || a == b || streams.contains(command.stream) ||
      loads[chosen] >= config.max_streams || workers[chosen]->backlog() >= k_backlog_per_worker) {
    fail(command);
    return false;
  }
  Entry entry;
  entry.stream = std::make_unique<Stream>();
  entry.worker = chosen;
  entry.ports = command.ports;
  entry.relays = !echo && !command.opaque;
  Stream& stream = *entry.stream;
  stream.id = command.stream;
  stream.echo_ssrc = echo_ssrc(command.stream);
  for (const auto& [pair, side] : {std::pair{a, Side::a}, std::pair{b, Side::b}}) {
    if (pair == nullptr) continue;
    pair->busy = true;
    Face& face = stream.face(side);
    const std::uint16_t port = command.ports[index(side)];
    face.rtp.port = port;
    face.rtcp.port = static_cast<std::uint16_t>(port + 1);
    face.rtp.fd = pair->fds[0];
    face.rtcp.fd = pair->fds[1];
  }
  streams.emplace(command.stream, std::move(entry));
  ++loads[chosen];
  workers[chosen]->order({command, &stream, nullptr});
  return true;
}

Pair* Plane::Impl::idle_pair(std::uint16_t port) {
  const auto found = pairs.find(port);
  return found == pairs.end() || found->second.busy ? nullptr : &found->second;
}

void Plane::Impl::fail(const Command& command) {
  if (failures.size() >= k_failures) return;
  Event event;
  event.kind = Event::Kind::failed;
  event.stream = command.stream;
  failures.push_back(event);
  signal_fd(event_fd);
}

void Plane::Impl::forget(std::uint64_t id) {
  const auto found = streams.find(id);
  if (found == streams.end()) return;
  for (const std::uint16_t port : found->second.ports) {
    if (const auto pair = pairs.find(port); pair != pairs.end()) pair->second.busy = false;
  }
  --loads[found->second.worker];
  streams.erase(found);
}

/// Frees the sessions that the stream's worker has let go. True while it has some yet.
bool Plane::Impl::reap(std::uint64_t id) {
  const auto found = streams.find(id);
  if (found == streams.end()) return false;
  bool more = false;
  for (const Side side : {Side::a, Side::b}) {
    more |= found->second.security[index(side)].reap(found->second.stream->face(side).security);
  }
  return more;
}

Plane::Plane(const PlaneConfig& config, PortPool& pool) : impl_{std::make_unique<Impl>(config, pool)} {}

Plane::~Plane() { stop(); }

std::size_t Plane::replenish(std::int64_t now_ms) {
  Impl& plane = *impl_;
  for (const auto& worker : plane.workers) worker->wake();
  std::erase_if(plane.reaping, [&](std::uint64_t id) { return !plane.reap(id); });
  const std::size_t wanted = plane.pool.wanted(plane.config.spare_pairs, now_ms);
  if (wanted == 0 || now_ms < plane.next_lap_ms) return 0;
  std::size_t bound = 0;
  for (std::size_t i = 0; i < k_attempts_per_call && bound < wanted; ++i) {
    if (plane.cursor + 1 > plane.config.last_port) {
      plane.cursor = plane.config.first_port;
      plane.foreign_last_lap = std::exchange(plane.foreign_this_lap, 0);
      plane.next_lap_ms = now_ms + k_retry_ms;
      break;
    }
    const Impl::Bound result = plane.bind_next();
    if (result == Impl::Bound::pair) ++bound;
    if (result != Impl::Bound::failed) continue;
    plane.next_lap_ms = now_ms + k_retry_ms;
    break;
  }
  if (plane.keep_fresh()) return bound;
  plane.next_lap_ms = now_ms + k_retry_ms;
  return 0;
}

void Plane::apply(std::span<const Command> commands) {
  Impl& plane = *impl_;
  if (plane.workers.empty()) return;
  for (const Command& command : commands) {
    if (!plane.apply(command)) ++plane.refused;
  }
  for (const auto& worker : plane.workers) worker->wake();
}

const char* Plane::set_bridge(std::uint64_t stream, const BridgePlan* plan) {
  const auto found = impl_->streams.find(stream);
  if (found == impl_->streams.end() || found->second.closing) return nullptr;
  Entry& entry = found->second;
  if (!entry.relays) return "only a relay of RTP can become a bridge";
  std::unique_ptr<Bridge> bridge;
  if (plan != nullptr) {
    const char* objection = nullptr;
    bridge = Bridge::make(*plan, random_starts(), objection);
    if (!bridge) return objection;
  }
  Worker& worker = *impl_->workers[entry.worker];
  if (!entry.bridges.has_room(entry.stream->bridges_taken.load(std::memory_order_acquire)) || worker.backlog() >= k_backlog_per_worker) {
    ++impl_->refused;
    return "the media thread has not yet taken what it was given before";
  }
  Command command;
  command.kind = Command::Kind::set_bridge;
  command.stream = stream;
  worker.order({command, entry.stream.get(), entry.bridges.put(std::move(bridge))});
  worker.wake();
  return nullptr;
}

bool Plane::set_security(std::uint64_t stream, Side side, FaceSecurity security) {
  Impl& plane = *impl_;
  const auto found = plane.streams.find(stream);
  if (found == plane.streams.end() || found->second.closing || plane.workers.empty()) return false;
  Entry& entry = found->second;
  Worker& worker = *plane.workers[entry.worker];
  plane.reap(stream);
  FaceSecurity* const handed = worker.backlog() < k_backlog_per_worker ? entry.security[index(side)].hand_over(std::move(security)) : nullptr;
  if (handed == nullptr) {
    ++plane.refused;
    return false;
  }
  worker.order({Command::set_security(stream, side), entry.stream.get(), nullptr, handed});
  worker.wake();
  if (std::ranges::find(plane.reaping, stream) == plane.reaping.end()) plane.reaping.push_back(stream);
  return true;
}

const FaceSecurity* Plane::security(std::uint64_t stream, Side side) const {
  const auto found = impl_->streams.find(stream);
  return found == impl_->streams.end() ? nullptr : found->second.security[index(side)].latest();
}

int Plane::event_fd() const noexcept { return impl_->event_fd; }

void Plane::poll_events(std::vector<Event>& out) {
  Impl& plane = *impl_;
  clear_fd(plane.event_fd);
  out.insert(out.end(), plane.failures.begin(), plane.failures.end());
  plane.failures.clear();
  for (const auto& worker : plane.workers) {
    Event event;
    while (worker->poll(event)) {
      out.push_back(event);
      if (event.kind == Event::Kind::closed) plane.forget(event.stream);
    }
    worker->wake();
  }
}

std::optional<std::array<SideCounters, 2>> Plane::stats(std::uint64_t stream) const {
  const auto found = impl_->streams.find(stream);
  if (found == impl_->streams.end()) return std::nullopt;
  return found->second.stream->read_counters();
}

PlaneTotals Plane::totals() const {
  const Impl& plane = *impl_;
  PlaneTotals sums = plane.ended;
  for (const auto& worker : plane.workers) {
    const RelayTotals& each = worker->totals();
    sums.packets_relayed += each.packets.get();
    sums.packets_in_kernel += each.packets_in_kernel.get();
    sums.bytes_relayed += each.bytes.get();
    sums.unauthentic += each.unauthentic.get();
    sums.replayed += each.replayed.get();
    const SocketTotals& sockets = worker->socket_totals();
    sums.dropped += each.dropped.get() + sockets.kept_off.get();
    sums.late += sockets.late.get();
    sums.queue_full += sockets.queue_full.get();
    sums.wakeups += worker->wakeups();
    sums.events_lost += each.events_lost.get();
  }
  sums.commands_refused = plane.refused;
  sums.streams = plane.streams.size();
  sums.bind_errno = plane.bind_errno;
  sums.ports_bound = plane.pairs.size();
  sums.ports_foreign = std::max(plane.foreign_this_lap, plane.foreign_last_lap);
  return sums;
}

const net::Address& Plane::advertise() const noexcept {
  return impl_->config.advertise.is_unspecified() ? impl_->config.address : impl_->config.advertise;
}

SocketMode Plane::socket_mode() const noexcept { return impl_->config.sockets; }

std::string Plane::kernel_relay() const { return impl_->kernel ? impl_->kernel->where() : std::string{}; }

const std::string& Plane::kernel_relay_reason() const noexcept { return impl_->not_in_kernel; }

const std::string& Plane::socket_mode_reason() const noexcept { return impl_->not_steered; }

void Plane::stop() {
  Impl& plane = *impl_;
  for (const auto& worker : plane.workers) worker->stop();
  plane.ended = totals();
  plane.workers.clear();
  plane.streams.clear();
  plane.pairs.clear();
  plane.sockets.clear();
  plane.steering.reset();
  plane.kernel.reset();
}

}  // namespace sipfarm::rtp
