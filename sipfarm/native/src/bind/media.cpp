#include <nanobind/stl/string.h>

#include "bind/bind.hpp"
#include "rtp/plane.hpp"
#include "rtp/port_pool.hpp"
#include "sip/output.hpp"

namespace sipfarm::bind {

namespace {

net::Address address_from(const std::string& host, std::uint16_t port) {
  const auto address = net::Address::parse(host, port);
  if (!address) throw nb::value_error("an IP literal is needed");
  return *address;
}

rtp::Remote remote_from(nb::handle rtp_address, nb::handle rtcp_address, bool mux) {
  rtp::Remote remote;
  if (!rtp_address.is_none()) remote.rtp = address_from(nb::cast<std::string>(rtp_address[0]), nb::cast<std::uint16_t>(rtp_address[1]));
  if (!rtcp_address.is_none()) {
    remote.rtcp = address_from(nb::cast<std::string>(rtcp_address[0]), nb::cast<std::uint16_t>(rtcp_address[1]));
  }
  remote.rtcp_mux = mux;
  return remote;
}

rtp::SocketMode socket_mode_from(const std::string& word) {
  if (word == "auto") return rtp::SocketMode::automatic;
  if (word == "per_port") return rtp::SocketMode::per_port;
  if (word == "steered") return rtp::SocketMode::steered;
  throw nb::value_error("sockets: auto, per_port or steered");
}

rtp::Side side_from(const std::string& word) {
  if (word == "a") return rtp::Side::a;
  if (word == "b") return rtp::Side::b;
  throw nb::value_error("side: a or b");
}

/// False, and nothing was changed, for a stream that is not there or whose thread is far behind.
bool set_security(rtp::Plane& plane, std::uint64_t stream, const std::string& side_word, const srtp::Keying* inbound,
                  const srtp::Keying* outbound, bool keep_inbound, bool keep_outbound, std::uint16_t replay_window,
                  std::uint16_t rocs_tried) {
  const rtp::Side side = side_from(side_word);
  const rtp::FaceSecurity* const before = plane.security(stream, side);
  srtp::SessionSettings settings;
  settings.replay_window = replay_window;
  settings.rocs_tried = rocs_tried;
  rtp::FaceSecurity next;
  if (keep_inbound && before != nullptr) {
    next.in = before->in;
  } else if (inbound != nullptr) {
    next.in = std::make_shared<srtp::Session>(*inbound, settings);
  }
  if (keep_outbound && before != nullptr) {
    next.out = before->out;
  } else if (outbound != nullptr) {
    next.out = std::make_shared<srtp::Session>(*outbound, settings);
  }
  return plane.set_security(stream, side, std::move(next));
}

nb::dict counters_of(const rtp::SideCounters& counters) {
  nb::dict out;
  out["packets_in"] = counters.packets_in;
  out["bytes_in"] = counters.bytes_in;
  out["packets_out"] = counters.packets_out;
  out["bytes_out"] = counters.bytes_out;
  out["strangers"] = counters.strangers;
  out["malformed"] = counters.malformed;
  out["flooded"] = counters.flooded;
  out["unsent"] = counters.unsent;
  out["unauthentic"] = counters.unauthentic;
  out["replayed"] = counters.replayed;
  out["last_in_ms"] = counters.last_in_ms;
  return out;
}

nb::list poll(rtp::Plane& plane) {
  constexpr const char* kinds[] = {"latched", "silence", "closed", "failed"};
  std::vector<rtp::Event> events;
  plane.poll_events(events);
  nb::list out;
  for (const rtp::Event& event : events) {
    nb::dict told;
    told["kind"] = kinds[static_cast<std::size_t>(event.kind)];
    told["stream"] = event.stream;
    told["side"] = event.side == rtp::Side::a ? "a" : "b";
    told["address"] = event.address.text();
    told["a"] = counters_of(event.counters[0]);
    told["b"] = counters_of(event.counters[1]);
    out.append(told);
  }
  return out;
}

}  // namespace

void bind_media(nb::module_& module) {
  nb::class_<rtp::PortPool>(module, "PortPool", "Even RTP ports that are bound already; a port rests before it is used again.")
      .def(nb::init<std::int64_t>(), nb::arg("rest_ms") = 5'000)
      .def("add", &rtp::PortPool::add, nb::arg("port"))
      .def("take",
           [](rtp::PortPool& self, std::int64_t now_ms) -> nb::object {
             const auto port = self.take(now_ms);
             return port ? nb::object(nb::int_(*port)) : nb::object(nb::none());
           },
           nb::arg("now_ms"))
      .def("give_back", &rtp::PortPool::give_back, nb::arg("port"), nb::arg("now_ms"))
      .def_prop_ro("free", &rtp::PortPool::free)
      .def_prop_ro("resting", &rtp::PortPool::resting)
      .def_prop_ro("taken", &rtp::PortPool::taken)
      .def_prop_ro("refused", &rtp::PortPool::refused);

  nb::class_<rtp::Plane> plane(module, "Plane", "The media plane's threads, as the control thread sees them.");
  plane.def("__init__",
           [](rtp::Plane* self, rtp::PortPool& pool, const std::string& address, const std::string& advertise, std::uint16_t first_port,
              std::uint16_t last_port, unsigned threads, std::size_t spare_pairs, std::int64_t silence_timeout_ms, const std::string& sockets, bool kernel_relay) {
             rtp::PlaneConfig config;
             config.address = address_from(address, 0);
             if (!advertise.empty()) config.advertise = address_from(advertise, 0);
             config.first_port = first_port;
             config.last_port = last_port;
             config.threads = threads;
             config.spare_pairs = spare_pairs;
             config.silence_timeout_ms = silence_timeout_ms;
             config.sockets = socket_mode_from(sockets);
             config.kernel_relay = kernel_relay;
             new (self) rtp::Plane(config, pool);
           },
           nb::arg("pool"), nb::arg("address"), nb::arg("advertise") = "", nb::arg("first_port") = 20'000, nb::arg("last_port") = 29'999,
           nb::arg("threads") = 1, nb::arg("spare_pairs") = 64, nb::arg("silence_timeout_ms") = 60'000,
           nb::arg("sockets") = "auto", nb::arg("kernel_relay") = true, nb::keep_alive<1, 2>())
      .def("replenish", &rtp::Plane::replenish, nb::arg("now_ms"), "Binds ports ahead; bounded work per call.")
      .def("apply", [](rtp::Plane& self, const sip::Output& out) { if (!out.media.empty()) self.apply(out.media); }, nb::arg("output"))
      .def("open_echo",
           [](rtp::Plane& self, std::uint64_t stream, std::uint16_t port, nb::handle rtp_address, nb::handle rtcp_address, bool mux) {
             const auto command = rtp::Command::open_echo(stream, port, remote_from(rtp_address, rtcp_address, mux));
             self.apply({&command, 1});
           },
           nb::arg("stream"), nb::arg("port"), nb::arg("rtp").none(), nb::arg("rtcp").none(), nb::arg("rtcp_mux"))
      .def("open_relay",
           [](rtp::Plane& self, std::uint64_t stream, std::uint16_t port_a, nb::handle rtp_a, std::uint16_t port_b, nb::handle rtp_b) {
             const auto command = rtp::Command::open_relay(stream, port_a, port_b, remote_from(rtp_a, nb::none(), false), remote_from(rtp_b, nb::none(), false));
             self.apply({&command, 1});
           },
           nb::arg("stream"), nb::arg("port_a"), nb::arg("rtp_a").none(), nb::arg("port_b"), nb::arg("rtp_b").none(),
           "A relay without a SIP engine.")
      .def("set_remote",
           [](rtp::Plane& self, std::uint64_t stream, nb::handle rtp_address, nb::handle rtcp_address, bool mux) {
             const auto command = rtp::Command::set_remote(stream, rtp::Side::a, remote_from(rtp_address, rtcp_address, mux));
             self.apply({&command, 1});
           },
           nb::arg("stream"), nb::arg("rtp").none(), nb::arg("rtcp").none(), nb::arg("rtcp_mux"))
      .def("set_held",
           [](rtp::Plane& self, std::uint64_t stream, bool held) {
             const auto command = rtp::Command::set_held(stream, held);
             self.apply({&command, 1});
           },
           nb::arg("stream"), nb::arg("held"))
      .def("set_security", &set_security, nb::arg("stream"), nb::arg("side"), nb::arg("inbound").none(), nb::arg("outbound").none(),
           nb::kw_only(), nb::arg("keep_inbound") = false, nb::arg("keep_outbound") = false, nb::arg("replay_window") = 128,
           nb::arg("rocs_tried") = 2,
           "Protects a side; a direction that is kept goes on with its session, one without a key carries nothing.")
      .def("clear_security",
           [](rtp::Plane& self, std::uint64_t stream, const std::string& side) {
             return self.set_security(stream, side_from(side), {nullptr, nullptr, true});
           },
           nb::arg("stream"), nb::arg("side"))
      .def("rollover",
           [](const rtp::Plane& self, std::uint64_t stream, const std::string& side) -> nb::object {
             const rtp::FaceSecurity* const security = self.security(stream, side_from(side));
             if (security == nullptr || !security->in) return nb::none();
             const auto rollover = security->in->rollover();
             return rollover ? nb::object(nb::make_tuple(rollover->ssrc, rollover->roc)) : nb::object(nb::none());
           },
           nb::arg("stream"), nb::arg("side"), "SSRC and rollover counter of what came last from there.")
      .def("close",
           [](rtp::Plane& self, std::uint64_t stream) {
             const auto command = rtp::Command::close(stream);
             self.apply({&command, 1});
           },
           nb::arg("stream"))
      .def_prop_ro("event_fd", &rtp::Plane::event_fd)
      .def("poll_events", &poll)
      .def("stats",
           [](const rtp::Plane& self, std::uint64_t stream) -> nb::object {
             const auto counters = self.stats(stream);
             if (!counters) return nb::none();
             return nb::make_tuple(counters_of((*counters)[0]), counters_of((*counters)[1]));
           },
           nb::arg("stream"))
      .def("totals",
           [](const rtp::Plane& self) {
             const rtp::PlaneTotals totals = self.totals();
             nb::dict out;
             out["packets_relayed"] = totals.packets_relayed;
             out["packets_in_kernel"] = totals.packets_in_kernel;
             out["bytes_relayed"] = totals.bytes_relayed;
             out["dropped"] = totals.dropped;
             out["unauthentic"] = totals.unauthentic;
             out["replayed"] = totals.replayed;
             out["late"] = totals.late;
             out["queue_full"] = totals.queue_full;
             out["wakeups"] = totals.wakeups;
             out["events_lost"] = totals.events_lost;
             out["commands_refused"] = totals.commands_refused;
             out["streams"] = totals.streams;
             out["ports_bound"] = totals.ports_bound;
             out["ports_foreign"] = totals.ports_foreign;
             out["bind_errno"] = totals.bind_errno;
             return out;
           })
      .def_prop_ro("socket_mode",
                   [](const rtp::Plane& self) {
                     const bool steered = self.socket_mode() == rtp::SocketMode::steered;
                     return nb::make_tuple(steered ? "steered" : "per_port", self.socket_mode_reason());
                   },
                   "What carries the packets of many ports, and why each port has a socket where steering was wanted.")
      .def_prop_ro("kernel_relay",
                   [](const rtp::Plane& self) { return nb::make_tuple(self.kernel_relay(), self.kernel_relay_reason()); },
                   "The interfaces at which the kernel relays, and why it does not where that was wanted.")
      .def_prop_ro("advertise", [](const rtp::Plane& self) { return self.advertise().host(); })
      .def("stop", &rtp::Plane::stop);
  bind_bridge(module, plane);
}

}  // namespace sipfarm::bind
