#include "sip/engine.hpp"

// Requests that did not arrive, as ICMP errors tell it (RFC 3261 §18.4). Anybody may have made such an error up: it counts where it quotes
// the branch that the request has, and was sent where the request was.

namespace sipfarm::sip {

namespace {

struct Quote {
  OwnerMark mark;
  std::string_view bytes;  // up to the end of the mark
};

/// What of our own requests is quoted, Via being their first header. An error may quote no more than the beginning, and something else
/// after it (RFC 4884).
std::optional<Quote> quote_of(std::string_view bytes) noexcept {
  constexpr std::string_view via = "\r\nVia: ";
  constexpr std::string_view branch = ";branch=z9hG4bK";
  const std::size_t line = bytes.find("\r\n");
  if (line == std::string_view::npos || !bytes.substr(line).starts_with(via)) return std::nullopt;
  const std::size_t end = bytes.find("\r\n", line + via.size());
  const std::size_t at = bytes.substr(0, end).find(branch, line);
  if (at == std::string_view::npos || bytes.size() < at + branch.size() + mark_chars) return std::nullopt;
  const auto mark = MarkKeys::read(bytes.substr(at + branch.size(), mark_chars));
  if (!mark) return std::nullopt;
  return Quote{*mark, bytes.substr(0, at + branch.size() + mark_chars)};
}

}  // namespace

void Engine::undelivered(const net::Batch& batch, std::int64_t now_ms, Output& out) {
  const Turn turn{*this, now_ms, out};
  for (const net::Batch::Item& item : batch.items()) {
    ++core_.counters.undelivered;
    const auto quote = quote_of(item.bytes);
    if (!quote) continue;
    if (core_.is_own(quote->mark)) {
      fail_undelivered(quote->mark.handle, item.hop, quote->bytes, now_ms, out);
    } else if (view_.is_live(quote->mark.member, quote->mark.epoch)) {  // the kernel tells one of those that share the address
      BusMessage message;
      message.kind = BusMessage::Kind::undelivered;
      message.hop = item.hop;
      message.bytes = quote->bytes;
      message.claim = quote->mark.handle;
      tell_member(quote->mark.member, message, out);
    }
  }
}

/// Once there was a response, what was sent has arrived.
void Engine::fail_undelivered(std::uint64_t handle, const net::Hop& hop, std::string_view quote, std::int64_t now_ms, Output& out) {
  const ClientTransaction* transaction = transactions_.find_client(handle);
  if (transaction == nullptr || (transaction->state != State::calling && transaction->state != State::trying)) return;
  if (transaction->hop.transport != net::Transport::udp || transaction->hop.remote != hop.remote) return;
  if (!std::string_view{transaction->request}.starts_with(quote)) return;
  fired_.clear();
  transactions_.transport_failed(handle, now_ms, out, fired_);
  tell(fired_, now_ms, out);
}

}  // namespace sipfarm::sip
