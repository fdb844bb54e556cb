#include "sip/compose.hpp"
#include "sip/forwarder.hpp"
#include "sip/headers.hpp"
#include "sip/text.hpp"

// What a branch sends (RFC 3261 §16.6).

namespace sipfarm::sip {

namespace {

bool creates_dialog(Method method) noexcept {
  return method == Method::invite || method == Method::subscribe || method == Method::refer || method == Method::notify;
}

void erase_named(Rewrite& rewrite, const Message& request, std::string_view name) {
  const Header header = header_of(name);
  if (header != Header::other) {
    rewrite.erase_all(header);
    return;
  }
  for (const Line& line : request.lines()) {
    if (text::iequals(request.name(line), name)) rewrite.erase(line);
  }
}

/// A header field that holds one number: its value, or a new line.
void set_number(Rewrite& rewrite, const Message& request, Header header, std::uint32_t number) {
  std::string text;
  if (const Line* line = request.find(header)) {
    append_number(text, number);
    rewrite.replace_value(*line, text);
    return;
  }
  text += text_of(header);
  text += ": ";
  append_number(text, number);
  text += "\r\n";
  rewrite.append(text);
}

void decrement_max_forwards(Rewrite& rewrite, const Message& request) {
  const int before = request.max_forwards();
  set_number(rewrite, request, Header::max_forwards, before < 0 ? 70U : static_cast<std::uint32_t>(before > 0 ? before - 1 : 0));
}

}  // namespace

void Forwarder::append_via(std::string& out, const net::Hop& hop, std::uint64_t client, std::string_view call_id,
                           std::uint64_t loop) const {
  append_via_begin(out, core_.config, hop);
  core_.keys.append(out, MarkKind::branch, core_.own_mark(client), call_id);
  out += '.';
  append_hex(out, loop, loop_chars);
  if (hop.transport == net::Transport::udp) out += ";rport";
  out += "\r\n";
}

void Forwarder::stamp_top_via(const Message& request, const net::Hop& source) {
  if (!via_needs_stamp(request.top_via(), source)) return;
  scratch_.clear();
  append_stamped_via(scratch_, request.top_via(), source);
  rewrite_.replace(request.top_via().value, scratch_);
}

void Forwarder::write_onward(const Onward& onward, int popped) {
  if (!onward.rewritten) {
    for (int i = 0; i < popped; ++i) rewrite_.erase_first_value(Header::route);
    return;
  }
  rewrite_.erase_all(Header::route);
  rewrite_.set_request_uri(onward.request_uri);
  if (!onward.route.empty()) rewrite_.append("Route: " + onward.route + "\r\n");
}

/// False where no media port is left, or the way on cannot be read.
bool Forwarder::compose(Fork& fork, Branch& branch, const ServerTransaction& server, const net::Hop& hop, std::uint64_t client,
                        std::int64_t now_ms, Output& out, std::string& wire) {
  if (!fork.in_dialog) return compose_new(fork, branch, server, hop, client, now_ms, out, wire);
  return compose_in_dialog(*server.request, server.source, {fork.route, fork.call, fork.leg, fork.from}, hop, client, now_ms, out, wire);
}

bool Forwarder::compose_new(Fork& fork, Branch& branch, const ServerTransaction& server, const net::Hop& hop, std::uint64_t client,
                            std::int64_t now_ms, Output& out, std::string& wire) {
  const Message& request = *server.request;
  const auto onward = onward_of(branch.target.uri, branch.target.route);
  if (!onward) return false;
  rewrite_.start(request);
  lines_.clear();
  append_via(lines_, hop, client, request.call_id(), fork.loop);
  if (fork.options.record_route && creates_dialog(request.method())) {
    std::string flow_a;
    std::string flow_b;
    if (needs_flow(request, server.source)) append_flow(flow_a, server.source, core_.config);
    if (branch.target.hop && branch.target.route.empty()) append_flow(flow_b, *branch.target.hop, core_.config);
    const bool twice = !flow_a.empty() || !flow_b.empty() || hop.local != server.source.local;
    if (twice) append_record_route(lines_, core_, hop.local, fork.call, request, flow_b);
    append_record_route(lines_, core_, server.source.local, fork.call, request, flow_a);
  }
  rewrite_.prepend(lines_);
  stamp_top_via(request, server.source);
  decrement_max_forwards(rewrite_, request);
  set_number(rewrite_, request, Header::max_breadth, branch.breadth);
  rewrite_.set_request_uri(onward->request_uri);
  write_onward(*onward, 0);
  for (const std::string& name : fork.options.remove) erase_named(rewrite_, request, name);
  if (!fork.options.add.empty()) rewrite_.append(fork.options.add);
  if (Call* call = calls_.find(fork.call); call != nullptr && fork.options.relay) {
    const bool again = call->legs[branch.leg].relayed;  // the same offer, to another address
    call->legs[branch.leg].relayed = true;
    const auto outcome =
        relay_sdp(fork.call, branch.leg, rtp::Side::a, again ? Media::again : Media::first, server.source, request, now_ms, out);
    fork.no_ports |= outcome == SdpOutcome::no_ports;
    if (outcome == SdpOutcome::no_ports) return false;
    if (outcome == SdpOutcome::rewritten) rewrite_.replace_body(body_);
  }
  wire.clear();
  rewrite_.write(wire);
  return true;
}

bool Forwarder::compose_in_dialog(const Message& request, const net::Hop& source, const InDialog& dialog, const net::Hop& hop,
                                  std::uint64_t client, std::int64_t now_ms, Output& out, std::string& wire) {
  const auto onward = onward_of(request, dialog.route);
  if (!onward) return false;
  rewrite_.start(request);
  lines_.clear();
  const auto unlike = SipHasher{core_.config.transaction_key}.add(request.top_via().value).add(std::uint64_t{request.cseq()}).finish();
  append_via(lines_, hop, client, request.call_id(), unlike);
  rewrite_.prepend(lines_);
  stamp_top_via(request, source);
  decrement_max_forwards(rewrite_, request);
  write_onward(*onward, dialog.route.popped);
  const bool offers = request.method() == Method::invite || request.method() == Method::update;
  const auto outcome =
      relay_sdp(dialog.call, dialog.leg, dialog.from, offers ? Media::tentative : Media::first, source, request, now_ms, out);
  if (outcome == SdpOutcome::no_ports) return false;
  if (outcome == SdpOutcome::rewritten) rewrite_.replace_body(body_);
  wire.clear();
  rewrite_.write(wire);
  return true;
}

}  // namespace sipfarm::sip
