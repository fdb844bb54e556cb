#include <nanobind/stl/string.h>

#include "bind/bind.hpp"
#include "net/udp_socket.hpp"
#include "sip/output.hpp"

namespace sipfarm::bind {

namespace {

net::Transport transport_from(const std::string& name) {
  for (int i = 0; i <= static_cast<int>(net::Transport::wss); ++i) {
    const auto transport = static_cast<net::Transport>(i);
    if (net::uri_text(transport) == name) return transport;
  }
  throw nb::value_error("unknown transport");
}

net::Hop make_hop(const std::string& transport, const std::string& host, std::uint16_t port, std::uint16_t local, std::uint32_t flow,
                  std::uint16_t member) {
  const auto remote = net::Address::parse(host, port);
  if (!remote) throw nb::value_error("a hop needs an IP literal");
  return {*remote, flow, member, local, transport_from(transport)};
}

/// Performs the UDP sends of one listening point; answers what the kernel refused as (client transaction, errno).
class UdpPort {
 public:
  UdpPort(int descriptor, std::uint16_t local) : socket_{descriptor, local}, local_{local} {}

  unsigned receive(net::Batch& batch) { return socket_.receive(batch); }
  unsigned receive_undelivered(net::Batch& batch) { return socket_.receive_undelivered(batch); }

  nb::list send(const sip::Output& out) {
    datagrams_.clear();
    transactions_.clear();
    for (const sip::Send& send : out.sends) {
      if (send.hop.transport != net::Transport::udp || send.hop.local != local_ || send.hop.member != 0) continue;
      datagrams_.push_back({send.hop.remote, out.bytes(send)});
      transactions_.push_back(send.transaction);
    }
    nb::list failed;
    socket_.send(datagrams_, [&](std::size_t index, int error) { failed.append(nb::make_tuple(transactions_[index], error)); });
    return failed;
  }

 private:
  net::UdpSocket socket_;
  std::uint16_t local_;
  std::vector<net::Datagram> datagrams_;
  std::vector<std::uint64_t> transactions_;
};

}  // namespace

void bind_net(nb::module_& module) {
  nb::class_<net::Hop>(module, "Hop", "Where a message came from or goes to: transport, far address, listening point, connection.")
      .def("__init__",
           [](net::Hop* self, const std::string& transport, const std::string& host, std::uint16_t port, std::uint16_t local,
              std::uint32_t flow, std::uint16_t member) { new (self) net::Hop(make_hop(transport, host, port, local, flow, member)); },
           nb::arg("transport"), nb::arg("host"), nb::arg("port"), nb::arg("local") = 0, nb::arg("flow") = 0, nb::arg("member") = 0)
      .def_prop_ro("transport", [](const net::Hop& self) { return to_str(net::uri_text(self.transport)); })
      .def_prop_ro("host", [](const net::Hop& self) { return to_str(self.remote.host()); })
      .def_prop_ro("port", [](const net::Hop& self) { return self.remote.port; })
      .def_prop_ro("local", [](const net::Hop& self) { return self.local; })
      .def_prop_ro("flow", [](const net::Hop& self) { return self.flow; })
      .def_prop_ro("member", [](const net::Hop& self) { return self.member; })
      .def("__eq__", [](const net::Hop& self, const net::Hop& other) { return self == other; })
      .def("__hash__", [](const net::Hop& self) { return static_cast<Py_hash_t>(net::AddressHash{}(self.remote) >> 1); })
      .def("__repr__", [](const net::Hop& self) {
        return std::string{net::uri_text(self.transport)} + ":" + self.remote.text() + (self.flow != 0 ? "#" + std::to_string(self.flow) : "");
      });

  nb::class_<net::Batch>(module, "Batch", "Datagrams or whole messages on their way into the engine.")
      .def(nb::init<>())
      .def("add", [](net::Batch& self, nb::bytes data, const net::Hop& hop) { self.add(hop, {data.c_str(), data.size()}); },
           nb::arg("data"), nb::arg("hop"))
      .def("clear", &net::Batch::clear)
      .def("__len__", [](const net::Batch& self) { return self.items().size(); });

  nb::class_<UdpPort>(module, "UdpPort", "A bound UDP socket driven with recvmmsg and sendmmsg; the descriptor stays the caller's.")
      .def(nb::init<int, std::uint16_t>(), nb::arg("descriptor"), nb::arg("local"))
      .def("receive", &UdpPort::receive, nb::arg("batch"), "Appends what is there, at most 64 datagrams; returns how many.")
      .def("receive_undelivered", &UdpPort::receive_undelivered, nb::arg("batch"),
           "Appends, with its destination, what an ICMP error says did not arrive, at most 64 datagrams; returns how many.")
      .def("send", &UdpPort::send, nb::arg("output"), "Sends this port's datagrams; returns (client transaction, errno) of the refused.");
}

}  // namespace sipfarm::bind
