#include "sip/compose.hpp"
#include "sip/engine.hpp"
#include "sip/route.hpp"
#include "sip/uri.hpp"

// What Python decides, and what it asks for.

namespace sipfarm::sip {

void Engine::retransmit(std::uint64_t transaction, std::int64_t now_ms, Output& out) {
  const Turn turn{*this, now_ms, out};
  transactions_.retransmit(transaction, out);
}

void Engine::finish(std::uint64_t transaction, std::int64_t now_ms, Output& out) {
  const Turn turn{*this, now_ms, out};
  forwarder_.finish(transaction, now_ms, out);
}

void Engine::resolved(std::uint64_t query, std::span<const net::Hop> found, std::int64_t now_ms, Output& out) {
  const Turn turn{*this, now_ms, out};
  forwarder_.resolved(query, found, now_ms, out);
}

void Engine::end_call(std::uint64_t call, std::string_view by, std::int64_t now_ms, Output& out) {
  const Turn turn{*this, now_ms, out};
  forwarder_.end_call(call, by, now_ms, out);
}

void Engine::hang_up(std::uint64_t call, std::string_view by, std::int64_t now_ms, Output& out) {
  const Turn turn{*this, now_ms, out};
  forwarder_.hang_up(call, by, now_ms, out);
}

bool Engine::respond(std::uint64_t handle, const Answer& answer, std::int64_t now_ms, Output& out) {
  const Turn turn{*this, now_ms, out};
  ServerTransaction* transaction = transactions_.find_server(handle);
  if (transaction == nullptr || !transaction->request) return false;
  if (answer.to_tag.empty() && transaction->to_tag.empty()) transaction->to_tag = mint_tag(transaction->request->call_id());
  if (!answer.to_tag.empty()) transaction->to_tag = answer.to_tag;
  scratch_.clear();
  append_response(scratch_, *transaction->request, transaction->source,
                  {answer.status, answer.reason, transaction->to_tag, answer.headers, answer.body});
  return transactions_.respond(handle, scratch_, answer.status, now_ms, out);
}

void Engine::answer_statelessly(std::uint64_t handle, const Answer& answer, std::int64_t now_ms, Output& out) {
  const Turn turn{*this, now_ms, out};
  const ServerTransaction* transaction = transactions_.find_server(handle);
  if (transaction == nullptr || !transaction->request) return;
  if (!may_be_strangers(*transaction)) {  // its client waits for a response, and repeats nothing
    respond(handle, answer, now_ms, out);
    return;
  }
  scratch_.clear();
  const std::string tag = stateless_tag(*transaction->request);
  append_response(scratch_, *transaction->request, transaction->source, {answer.status, answer.reason, tag, answer.headers, answer.body});
  transactions_.answer_statelessly(handle, scratch_, out);
}

void Engine::forward(std::uint64_t transaction, std::span<const Target> targets, const ForwardOptions& options, std::int64_t now_ms,
                     Output& out) {
  const Turn turn{*this, now_ms, out};
  forwarder_.forward(transaction, targets, options, now_ms, out);
}

bool Engine::send(std::uint64_t key, const Outgoing& outgoing, std::int64_t now_ms, Output& out) {
  const Turn turn{*this, now_ms, out};
  const auto onward = onward_of(outgoing.uri, outgoing.route);
  if (!onward) return false;
  OwnRequest own;
  own.key = key;
  own.method = method_of(outgoing.method);
  own.call_id = outgoing.call_id;
  own.next = onward->next;
  // Who stays in the path is reached by its Record-Route (RFC 3261 §12.2.1.1).
  if (outgoing.route.empty()) own.flow = outgoing.heard;
  own.text = outgoing.method;
  own.text += ' ';
  own.text += onward->request_uri;
  own.text += " SIP/2.0\r\nMax-Forwards: 70\r\n";
  if (!onward->route.empty()) own.text += "Route: " + onward->route + "\r\n";
  own.text += outgoing.headers;
  own.text += "Content-Length: ";
  append_number(own.text, outgoing.body.size());
  own.text += "\r\n\r\n";
  own.text += outgoing.body;
  return forwarder_.send_own(std::move(own), now_ms, out);
}

std::string Engine::mint_tag(std::string_view call_id) {
  std::string tag;
  core_.keys.append(tag, MarkKind::tag, core_.own_mark(next_tag_++ & OwnerMark::handle_max), call_id);
  return tag;
}

std::string Engine::stateless_tag(const Message& request) const {
  std::string tag;
  core_.keys.append(tag, MarkKind::tag, core_.own_mark(0), request.call_id());
  return tag;
}

std::string Engine::mint_flow(std::uint32_t flow, std::string_view far, std::uint16_t member) const {
  std::string text;
  OwnerMark mark = core_.own_mark(flow);
  if (member != 0 && member != mark.member) {
    const FarmMember* holder = view_.find(member);
    if (holder == nullptr) return text;
    mark.member = member;
    mark.epoch = holder->epoch;
  }
  core_.keys.append(text, MarkKind::path, mark, far);
  return text;
}

std::string Engine::mint_contact(std::string_view call_id, std::uint16_t local) const {
  const Listen& listen = core_.config.listens[local < core_.config.listens.size() ? local : 0];
  std::string uri = "sip:";
  core_.keys.append(uri, MarkKind::contact, core_.own_mark(0), call_id);
  uri += '@';
  uri += listen.host;
  uri += ':';
  append_number(uri, listen.port);
  if (listen.transport != net::Transport::udp) {
    uri += ";transport=";
    uri += net::uri_text(listen.transport);
  }
  return uri;
}

}  // namespace sipfarm::sip
