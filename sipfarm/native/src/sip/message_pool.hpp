#pragma once

#include <utility>
#include <vector>

#include "sip/message.hpp"

namespace sipfarm::sip {

class MessagePool;

namespace detail {
struct PoolStock;

struct PooledMessage {
  Message message;
  PoolStock* stock = nullptr;
  std::size_t bytes = 0;  // as counted while it is out
  std::uint32_t references = 0;
};

/// Kept alive by the pool and by every message that is out, so that a message may outlive its pool.
struct PoolStock {
  static constexpr std::size_t kept_max = 4'096;
  static constexpr std::size_t kept_bytes_max = 8'192;  // a larger buffer is not worth keeping

  std::vector<PooledMessage*> free;
  std::size_t out = 0;
  std::size_t bytes = 0;
  bool open = true;

  void take_back(PooledMessage* pooled) noexcept {
    --out;
    bytes -= pooled->bytes;
    if (open && free.size() < kept_max && pooled->message.capacity_bytes() <= kept_bytes_max) {
      free.push_back(pooled);
      return;
    }
    delete pooled;
    if (!open && out == 0) delete this;
  }
};
}  // namespace detail

/// A shared, immutable reference to a pooled message; counted without atomics, so it stays on the control thread.
class MessageRef {
 public:
  MessageRef() = default;
  MessageRef(const MessageRef& other) noexcept : pooled_{other.pooled_} {
    if (pooled_ != nullptr) ++pooled_->references;
  }
  MessageRef(MessageRef&& other) noexcept : pooled_{std::exchange(other.pooled_, nullptr)} {}
  MessageRef& operator=(MessageRef other) noexcept {
    std::swap(pooled_, other.pooled_);
    return *this;
  }
  ~MessageRef() { reset(); }

  void reset() noexcept {
    detail::PooledMessage* const pooled = std::exchange(pooled_, nullptr);
    if (pooled != nullptr && --pooled->references == 0) pooled->stock->take_back(pooled);
  }

  explicit operator bool() const noexcept { return pooled_ != nullptr; }
  const Message& operator*() const noexcept { return pooled_->message; }
  const Message* operator->() const noexcept { return &pooled_->message; }

 private:
  friend class MessagePool;
  explicit MessageRef(detail::PooledMessage* pooled) noexcept : pooled_{pooled} {}

  detail::PooledMessage* pooled_ = nullptr;
};

/// Messages whose buffers keep their capacity from one packet to the next.
class MessagePool {
 public:
  MessagePool() : stock_{new detail::PoolStock} { stock_->free.reserve(detail::PoolStock::kept_max); }
  MessagePool(const MessagePool&) = delete;
  MessagePool& operator=(const MessagePool&) = delete;
  ~MessagePool() {
    stock_->open = false;
    for (detail::PooledMessage* pooled : stock_->free) delete pooled;
    stock_->free.clear();
    if (stock_->out == 0) delete stock_;
  }

  /// A reference to a message parsed from `wire`; `ok` tells what Message::parse answered.
  MessageRef parse(std::string_view wire, bool& ok) {
    detail::PooledMessage* pooled = nullptr;
    if (stock_->free.empty()) {
      pooled = new detail::PooledMessage;
      pooled->stock = stock_;
    } else {
      pooled = stock_->free.back();
      stock_->free.pop_back();
    }
    pooled->references = 1;
    ok = pooled->message.parse(wire);
    pooled->bytes = pooled->message.capacity_bytes();
    stock_->bytes += pooled->bytes;
    ++stock_->out;
    return MessageRef{pooled};
  }

  std::size_t out() const noexcept { return stock_->out; }
  /// Held by the messages that are out.
  std::size_t bytes() const noexcept { return stock_->bytes; }

 private:
  detail::PoolStock* stock_;
};

}  // namespace sipfarm::sip
