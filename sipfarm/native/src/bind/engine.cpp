#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <utility>

#include "bind/bind.hpp"
#include "bind/protect.hpp"
#include "net/udp_socket.hpp"
#include "sip/compose.hpp"
#include "sip/engine.hpp"
#include "sip/framing.hpp"

namespace sipfarm::bind {

namespace {

using sip::Engine;
using sip::Output;

sip::SipKey key_from(nb::bytes bytes) {
  sip::SipKey key{};
  if (bytes.size() != key.size()) throw nb::value_error("a key has 16 bytes");
  std::copy_n(reinterpret_cast<const std::uint8_t*>(bytes.c_str()), key.size(), key.begin());
  return key;
}

std::vector<sip::Listen> listens_from(nb::handle listens) {
  std::vector<sip::Listen> out;
  for (nb::handle given : listens) {
    const auto hop = nb::cast<net::Hop>(given[0]);  // transport and bound address
    out.push_back({hop.transport, hop.remote, nb::cast<std::string>(given[1]), nb::cast<std::uint16_t>(given[2])});
  }
  if (out.empty()) throw nb::value_error("a member needs a listening point");
  return out;
}

std::vector<sip::Target> targets_from(nb::handle targets) {
  std::vector<sip::Target> out;
  for (nb::handle given : targets) {
    sip::Target target;
    target.uri = to_text(given[0]);
    target.route = to_text(given[1]);
    nb::object hop = given[2];
    if (!hop.is_none()) target.hop = nb::cast<net::Hop>(hop);
    out.push_back(std::move(target));
  }
  return out;
}

sip::ForwardOptions options_from(bool relay, bool record_route, bool more, std::int64_t step_ms, nb::handle remove, nb::handle add) {
  sip::ForwardOptions options;
  options.relay = relay;
  options.record_route = record_route;
  options.more = more;
  options.step_ms = step_ms;
  for (nb::handle name : remove) options.remove.push_back(to_text(name));
  append_header_lines(options.add, add);
  return options;
}

nb::list stream_sends(const Output& self) {
  nb::list out;
  for (const sip::Send& send : self.sends) {
    if (send.hop.transport == net::Transport::udp || send.hop.member != 0) continue;
    out.append(nb::make_tuple(send.hop, to_bytes(self.bytes(send)), send.transaction, to_str(self.server(send))));
  }
  return out;
}

nb::list all_sends(const Output& self) {
  nb::list out;
  for (const sip::Send& send : self.sends) {
    if (send.length != 0) out.append(nb::make_tuple(send.hop, to_bytes(self.bytes(send)), send.transaction));
  }
  return out;
}

/// (member, payload) in order, the messages for one member together up to a bound.
nb::list take_frames(Output& self) {
  constexpr std::size_t payload_bytes_max = 256 * 1024;
  std::vector<std::pair<std::uint16_t, std::string>> payloads;
  for (const sip::BusFrame& frame : self.frames) {
    auto found = std::find_if(payloads.rbegin(), payloads.rend(), [&](const auto& entry) { return entry.first == frame.member; });
    if (found == payloads.rend() || found->second.size() + frame.length > payload_bytes_max) {
      payloads.emplace_back(frame.member, self.bytes(frame));
    } else {
      found->second += self.bytes(frame);
    }
  }
  self.frames.clear();
  nb::list out;
  for (const auto& [member, payload] : payloads) out.append(nb::make_tuple(member, to_bytes(payload)));
  return out;
}

bool has_stream_sends(const Output& self) noexcept {
  for (const sip::Send& send : self.sends) {
    if (send.hop.transport != net::Transport::udp && send.hop.member == 0) return true;
  }
  return false;
}

nb::list take_events(Output& self) {
  nb::list out;
  for (sip::Event& event : self.events) out.append(nb::cast(std::move(event)));
  self.events.clear();
  return out;
}

nb::list take_packets(Output& self) {
  nb::list out;
  for (const sip::PacketRecord& packet : self.packets) {
    const auto what = sip::fate_names[static_cast<std::size_t>(packet.fate.what)];
    const auto why = sip::drop_names[static_cast<std::size_t>(packet.fate.why)];
    out.append(nb::make_tuple(what, why, packet.from, packet.fate.member, packet.hop, to_bytes(self.bytes(packet))));
  }
  self.packets.clear();
  return out;
}

nb::dict counters_of(Engine& self) {
  const sip::Counters& counters = self.core().counters;
  nb::dict drops;
  for (std::size_t i = 1; i < sip::drop_count; ++i) drops[sip::drop_names[i]] = counters.drops[i];
  nb::dict out;
  out["received"] = counters.received;
  out["requests"] = counters.requests;
  out["responses"] = counters.responses;
  out["retransmissions"] = counters.retransmissions;
  out["forwarded"] = counters.forwarded;
  out["passed_on"] = counters.passed_on;
  out["from_bus"] = counters.from_bus;
  out["claims"] = counters.claims;
  out["placed"] = counters.placed;
  out["undelivered"] = counters.undelivered;
  out["directory"] = self.directory_size();
  out["waiting"] = self.waiting_count();
  out["drops"] = drops;
  out["bans"] = self.protect().counters().bans;
  out["sources_forgotten"] = self.protect().counters().forgotten;
  out["faults"] = faults_of(self);
  out["server_transactions"] = self.transactions().server_count();
  out["client_transactions"] = self.transactions().client_count();
  out["forks"] = self.forwarder().fork_count();
  out["calls"] = self.forwarder().calls().size();
  out["messages"] = self.core().messages.out();
  out["timers"] = self.core().wheel.size();
  return out;
}

nb::list calls_of(Engine& self, std::size_t limit, std::uint64_t after) {
  nb::list out;
  self.forwarder().calls().page(after, limit, [&](std::uint64_t handle, const sip::Call& call) {
    nb::dict told;
    told["handle"] = handle;
    told["call_id"] = to_str(call.call_id);
    told["caller"] = to_str(call.caller);
    told["callee"] = to_str(call.callee);
    told["answered"] = call.answered;
    told["started_ms"] = call.started_ms;
    told["answered_ms"] = call.answered_ms;
    nb::list streams;
    for (const sip::Leg& leg : call.legs) {
      for (const sip::RelayStream& stream : leg.relay.streams()) {
        if (stream.id != 0) streams.append(stream.id);
      }
    }
    told["streams"] = streams;
    out.append(told);
  });
  return out;
}

/// What Python sends of its own, and the text that it is read from.
class OutgoingText {
 public:
  OutgoingText(nb::str method, nb::str uri, nb::str route, nb::handle headers, nb::bytes body, nb::str call_id, nb::handle heard)
      : method_{to_text(method)}, uri_{to_text(uri)}, route_{to_text(route)}, call_id_{to_text(call_id)} {
    append_header_lines(headers_, headers);
    outgoing = {method_, uri_, route_, headers_, {body.c_str(), body.size()}, call_id_, std::nullopt};
    if (!heard.is_none()) outgoing.heard = nb::cast<net::Hop>(heard);
  }
  OutgoingText(const OutgoingText&) = delete;
  OutgoingText& operator=(const OutgoingText&) = delete;

  Engine::Outgoing outgoing;

 private:
  std::string method_;
  std::string uri_;
  std::string route_;
  std::string call_id_;
  std::string headers_;
};

void bind_events(nb::module_& module) {
  nb::enum_<sip::EventKind>(module, "EventKind", nb::is_arithmetic())
      .value("REQUEST", sip::EventKind::request)
      .value("ACK", sip::EventKind::ack)
      .value("CANCEL", sip::EventKind::cancel)
      .value("RESPONSE", sip::EventKind::response)
      .value("EXHAUSTED", sip::EventKind::exhausted)
      .value("CALL", sip::EventKind::call)
      .value("ORPHAN", sip::EventKind::orphan)
      .value("BANNED", sip::EventKind::banned)
      .value("RESOLVE", sip::EventKind::resolve);
  nb::class_<sip::Event>(module, "Event", "Something that Python decides on or is told of.")
      .def_prop_ro("kind", [](const sip::Event& self) { return static_cast<int>(self.kind); })
      .def_prop_ro("state",
                   [](const sip::Event& self) {
                     constexpr const char* names[] = {"ringing", "answered", "ended", "failed"};
                     return names[static_cast<std::size_t>(self.state)];
                   })
      .def_ro("id", &sip::Event::id)
      .def_ro("call", &sip::Event::call)
      .def_ro("status", &sip::Event::status)
      .def_ro("number", &sip::Event::number)
      .def_ro("chosen", &sip::Event::chosen)
      .def_prop_ro("text", [](const sip::Event& self) { return to_str(self.text); })
      .def_prop_ro("hop", [](const sip::Event& self) { return self.hop; })
      .def_prop_ro("message", [](const sip::Event& self) -> nb::object {
        if (!self.message) return nb::none();
        return nb::cast(ReceivedMessage{self.message, self.hop, self.id});
      });
}

}  // namespace

void bind_engine(nb::module_& module) {
  bind_protection(module);
  bind_events(module);
  module.def("siphash", [](nb::bytes key, nb::bytes data) { return sip::siphash(key_from(key), {data.c_str(), data.size()}); }, nb::arg("key"),
             nb::arg("data"), "SipHash-2-4 with a 16-byte key.");

  module.def("sent_by",
             [](nb::bytes response, const net::Hop& gone) -> nb::object {
               const auto found = sip::sent_by_of({response.c_str(), response.size()}, gone);
               return found ? nb::object(nb::make_tuple(found->hop, to_str(found->server), to_str(found->name), found->port)) : nb::object(nb::none());
             },
             nb::arg("response"), nb::arg("gone"),
             "(hop, server name, name to look up, its port) of a response whose connection is gone (RFC 3261 §18.2.2); None where no connection "
             "may be opened.");

  nb::class_<Output>(module, "Output", "What calls of the engine caused; performed by the driver and then cleared.")
      .def(nb::init<>())
      .def("take_events", &take_events)
      .def("stream_sends", &stream_sends, "(hop, bytes, client transaction, name that a TLS server there must prove) of what does not leave over UDP here.")
      .def("sends", &all_sends, "(hop, bytes, client transaction) of everything, in order.")
      .def_prop_ro("has_stream_sends", &has_stream_sends)
      .def("take_frames", &take_frames, "(member number, payload for its engine).")
      .def_prop_ro("has_frames", [](const Output& self) { return !self.frames.empty(); })
      .def_prop_ro("has_events", [](const Output& self) { return !self.events.empty(); })
      .def_prop_ro("media_commands", [](const Output& self) { return self.media.size(); })
      .def_rw("tracing", &Output::tracing, "Whether it collects what became of each packet.")
      .def("take_packets", &take_packets, "(what, why, from member, to member, hop, bytes) of each packet that came or left.")
      .def("clear", &Output::clear)
      .def("__len__", [](const Output& self) { return self.sends.size(); });

  nb::class_<Engine> engine{module, "Engine", "The SIP engine, sans-IO. What a call causes is added to the Output handed in."};
  bind_protection(engine);
  engine
      .def("__init__",
           [](Engine* self, rtp::PortPool& ports, nb::handle listens, std::uint16_t member, std::uint32_t epoch, nb::bytes mark_key,
              std::uint8_t mark_key_id, nb::handle previous_mark_key, std::uint8_t previous_mark_key_id, nb::bytes transaction_key,
              const std::string& media, std::int64_t now_ms, std::int64_t t1_ms, std::int64_t timer_c_ms, std::size_t transactions_max,
              std::size_t calls_max, bool claims, bool reply_via_receiver, nb::handle protect) {
             sip::EngineConfig config;
             config.listens = listens_from(listens);
             config.member = member;
             config.epoch = epoch;
             config.mark_key = {mark_key_id, key_from(mark_key)};
             if (!previous_mark_key.is_none()) {
               config.mark_key_previous = sip::MarkKey{previous_mark_key_id, key_from(nb::cast<nb::bytes>(previous_mark_key))};
             }
             config.transaction_key = key_from(transaction_key);
             const auto address = net::Address::parse(media, 0);
             if (!address) throw nb::value_error("media needs an IP literal");
             config.media = *address;
             config.timers.t1_ms = t1_ms;
             config.timer_c_ms = timer_c_ms;
             config.transactions_max = transactions_max;
             config.calls_max = calls_max;
             config.claims = claims;
             config.reply_via_receiver = reply_via_receiver;
             if (!protect.is_none()) config.protect = nb::cast<sip::ProtectConfig>(protect);
             new (self) Engine(std::move(config), ports, now_ms);
           },
           nb::arg("ports"), nb::kw_only(), nb::arg("listens"), nb::arg("member"), nb::arg("epoch"), nb::arg("mark_key"), nb::arg("mark_key_id") = 0,
           nb::arg("previous_mark_key") = nb::none(), nb::arg("previous_mark_key_id") = 1, nb::arg("transaction_key"), nb::arg("media"),
           nb::arg("now_ms"), nb::arg("t1_ms") = 500, nb::arg("timer_c_ms") = 185'000, nb::arg("transactions_max") = 400'000,
           nb::arg("calls_max") = 200'000, nb::arg("claims") = true,
           nb::arg("reply_via_receiver") = false, nb::arg("protect") = nb::none(), nb::keep_alive<1, 2>())
      .def("receive", &Engine::receive, nb::arg("batch"), nb::arg("now_ms"), nb::arg("out"))
      .def("next_deadline_ms",
           [](const Engine& self) -> nb::object {
             const auto deadline = self.next_deadline_ms();
             return deadline ? nb::object(nb::int_(*deadline)) : nb::object(nb::none());
           })
      .def("expire", &Engine::expire, nb::arg("now_ms"), nb::arg("out"))
      .def("respond",
           [](Engine& self, std::uint64_t transaction, int status, nb::str reason, nb::handle headers, nb::bytes body, nb::str to_tag,
              std::int64_t now_ms, Output& out) {
             const std::string reason_text = to_text(reason);
             const std::string tag = to_text(to_tag);
             std::string lines;
             append_header_lines(lines, headers);
             return self.respond(transaction, {status, reason_text, lines, {body.c_str(), body.size()}, tag}, now_ms, out);
           },
           nb::arg("transaction"), nb::arg("status"), nb::arg("reason"), nb::arg("headers"), nb::arg("body"), nb::arg("to_tag"),
           nb::arg("now_ms"), nb::arg("out"))
      .def("answer_statelessly",
           [](Engine& self, std::uint64_t transaction, int status, nb::str reason, nb::handle headers, nb::bytes body, std::int64_t now_ms,
              Output& out) {
             const std::string reason_text = to_text(reason);
             std::string lines;
             append_header_lines(lines, headers);
             self.answer_statelessly(transaction, {status, reason_text, lines, {body.c_str(), body.size()}, {}}, now_ms, out);
           },
           nb::arg("transaction"), nb::arg("status"), nb::arg("reason"), nb::arg("headers"), nb::arg("body"), nb::arg("now_ms"), nb::arg("out"))
      .def("retransmit", &Engine::retransmit, nb::arg("transaction"), nb::arg("now_ms"), nb::arg("out"))
      .def("set_view",
           [](Engine& self, nb::handle members, std::int64_t now_ms, Output& out) {
             std::vector<sip::FarmMember> view;
             for (nb::handle given : members) {
               sip::FarmMember member{nb::cast<std::uint16_t>(given[0]), nb::cast<std::uint32_t>(given[1]), nb::cast<bool>(given[2]),
                                      nb::cast<float>(given[3])};
               if (nb::len(given) > 4) {
                 member.edge = nb::cast<bool>(given[4]);
                 member.pbx = nb::cast<bool>(given[5]);
               }
               view.push_back(member);
             }
             self.set_view(view, now_ms, out);
           },
           nb::arg("members"), nb::arg("now_ms"), nb::arg("out"), "(number, epoch, ready, load 0..1, and if need be: edge, pbx) of each member that is not dead.")
      .def("receive_bus",
           [](Engine& self, std::uint16_t member, nb::bytes payload, std::int64_t now_ms, Output& out) {
             self.receive_bus(member, {payload.c_str(), payload.size()}, now_ms, out);
           },
           nb::arg("member"), nb::arg("payload"), nb::arg("now_ms"), nb::arg("out"))
      .def("bus_failed",
           [](Engine& self, nb::bytes payload, std::int64_t now_ms, Output& out) {
             self.bus_failed({payload.c_str(), payload.size()}, now_ms, out);
           },
           nb::arg("payload"), nb::arg("now_ms"), nb::arg("out"))
      .def("forward",
           [](Engine& self, std::uint64_t transaction, nb::handle targets, bool relay, bool record_route, bool more, std::int64_t step_ms,
              nb::handle remove, nb::handle add, std::int64_t now_ms, Output& out) {
             const auto chosen = targets_from(targets);
             self.forward(transaction, chosen, options_from(relay, record_route, more, step_ms, remove, add), now_ms, out);
           },
           nb::arg("transaction"), nb::arg("targets"), nb::arg("relay"), nb::arg("record_route"), nb::arg("more"), nb::arg("step_ms"),
           nb::arg("remove"), nb::arg("add"), nb::arg("now_ms"), nb::arg("out"))
      .def("finish", &Engine::finish, nb::arg("transaction"), nb::arg("now_ms"), nb::arg("out"))
      .def("take_as_user_agent", &Engine::take_as_user_agent, nb::arg("transaction"),
           "A user agent takes a request. False: it is at work on it already, by another way (RFC 3261 §8.2.2.2).")
      .def("request",
           [](Engine& self, std::uint64_t key, nb::str method, nb::str uri, nb::str route, nb::handle headers, nb::bytes body,
              nb::str call_id, nb::handle heard, std::int64_t now_ms, Output& out) {
             return self.send(key, OutgoingText{method, uri, route, headers, body, call_id, heard}.outgoing, now_ms, out);
           },
           nb::arg("key"), nb::arg("method"), nb::arg("uri"), nb::arg("route"), nb::arg("headers"), nb::arg("body"), nb::arg("call_id"),
           nb::arg("heard").none(), nb::arg("now_ms"), nb::arg("out"),
           "Sends a request to a target by its route set; False: nobody knows where to, or a limit is reached.")
      .def("send_ack",
           [](Engine& self, nb::str uri, nb::str route, nb::handle headers, nb::bytes body, nb::str call_id, nb::handle heard,
              std::int64_t now_ms, Output& out) {
             return self.send(0, OutgoingText{nb::str{"ACK"}, uri, route, headers, body, call_id, heard}.outgoing, now_ms, out);
           },
           nb::arg("uri"), nb::arg("route"), nb::arg("headers"), nb::arg("body"), nb::arg("call_id"), nb::arg("heard").none(),
           nb::arg("now_ms"), nb::arg("out"), "ACK to a 2xx.")
      .def("place_orphan",
           [](Engine& self, const ReceivedMessage& request, std::uint16_t member, std::int64_t now_ms, Output& out) {
             self.place_orphan(request.message, request.hop, member, now_ms, out);
           },
           nb::arg("request"), nb::arg("member"), nb::arg("now_ms"), nb::arg("out"),
           "The member that has the call of an orphan takes it; 0: nobody has that call (481).")
      .def("mint_tag", [](Engine& self, nb::str call_id) { return self.mint_tag(to_text(call_id)); }, nb::arg("call_id"))
      .def("mint_contact", [](Engine& self, nb::str call_id, std::uint16_t local) { return self.mint_contact(to_text(call_id), local); },
           nb::arg("call_id"), nb::arg("local") = 0)
      .def("mint_flow", 
           [](const Engine& self, std::uint32_t flow, nb::str far, std::uint16_t member) { return self.mint_flow(flow, to_text(far), member); },
           nb::arg("flow"), nb::arg("far"), nb::arg("member") = 0)
      .def("open_flow",
           [](const Engine& self, nb::str text, nb::str far) -> nb::object {
             const auto mark = self.open_flow(to_text(text), to_text(far));
             return mark ? nb::object(nb::make_tuple(mark->member, mark->epoch, mark->handle)) : nb::object(nb::none());
           },
           nb::arg("text"), nb::arg("far"), "(member, epoch, flow) of a flow mark; None for a forged one.")
      .def("resolved",
           [](Engine& self, std::uint64_t query, const std::vector<net::Hop>& found, std::int64_t now_ms, Output& out) {
             self.resolved(query, found, now_ms, out);
           },
           nb::arg("query"), nb::arg("found"), nb::arg("now_ms"), nb::arg("out"),
           "Where the name of a query is reached, best first, each by its own transport.")
      .def("transport_failed", &Engine::transport_failed, nb::arg("transaction"), nb::arg("now_ms"), nb::arg("out"))
      .def("undelivered", &Engine::undelivered, nb::arg("batch"), nb::arg("now_ms"), nb::arg("out"),
           "Datagrams of ours that ICMP errors quote, each with where it was sent to.")
      .def("end_call",
           [](Engine& self, std::uint64_t call, const std::string& by, std::int64_t now_ms, Output& out) { self.end_call(call, by, now_ms, out); },
           nb::arg("call"), nb::arg("by"), nb::arg("now_ms"), nb::arg("out"))
      .def("hang_up",
           [](Engine& self, std::uint64_t call, const std::string& by, std::int64_t now_ms, Output& out) { self.hang_up(call, by, now_ms, out); },
           nb::arg("call"), nb::arg("by"), nb::arg("now_ms"), nb::arg("out"), "Ends an answered call, with a BYE to both sides.")
      .def("silent_call",
           [](Engine& self, std::uint64_t stream) -> nb::object {
             const auto beside = self.forwarder().streams_beside(stream);
             if (beside.empty()) return nb::none();
             const auto handle = sip::StreamNames::call_of(stream);
             return nb::make_tuple(handle, to_str(self.forwarder().calls().find(handle)->call_id), beside);
           },
           nb::arg("stream"),
           "(call, Call-ID, streams) of the answered call that a stream is of; None where there is none, or it is on hold.")
      .def("calls", &calls_of, nb::arg("limit") = 1'000, nb::arg("after") = 0,
           "A snapshot of forwarded calls; `after` is the handle of the last one of the page before.")
      .def("counters", &counters_of);

  nb::class_<sip::StreamFramer>(module, "StreamFramer", "Splits a byte stream into SIP messages (RFC 3261 §18.3).")
      .def(nb::init<>())
      .def("feed",
           [](sip::StreamFramer& self, nb::bytes data) {
             nb::list out;
             self.feed({data.c_str(), data.size()});
             for (sip::Frame frame = self.next(); frame.kind != sip::Frame::Kind::none; frame = self.next()) {
               constexpr const char* kinds[] = {"none", "message", "crlf", "ping", "error"};
               const auto kind = kinds[static_cast<std::size_t>(frame.kind)];
               if (frame.kind == sip::Frame::Kind::error) {
                 out.append(nb::make_tuple(kind, to_bytes(frame.reason != nullptr ? frame.reason : "")));
                 break;
               }
               out.append(nb::make_tuple(kind, to_bytes(frame.bytes)));
             }
             return out;
           },
           nb::arg("data"), "The (kind, bytes) that became whole: message, ping (answer CRLF), crlf, error (close; bytes are the reason).");
}

}  // namespace sipfarm::bind
