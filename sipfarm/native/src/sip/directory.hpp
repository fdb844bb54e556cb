#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <unordered_map>

namespace sipfarm::sip {

/// The part of the directory that this member is home of, or holds the copy of: transaction keys (RFC 3261 §17.2.3) and who owns them.
class Directory {
 public:
  struct Owner {
    std::uint16_t member = 0;
    std::uint32_t epoch = 0;
    friend bool operator==(const Owner&, const Owner&) = default;
  };

  explicit Directory(std::size_t limit) : limit_{limit} {}

  std::optional<Owner> find(std::uint64_t key, std::int64_t now_ms) const noexcept {
    const auto found = entries_.find(key);
    if (found == entries_.end() || found->second.until_ms <= now_ms) return std::nullopt;
    return found->second.owner;
  }

  /// Replaces what stood there. False at the limit.
  bool put(std::uint64_t key, Owner owner, std::int64_t until_ms) {
    const auto found = entries_.find(key);
    if (found != entries_.end()) {
      found->second = {owner, until_ms};  // its age stays in the row, and is looked at again there
      return true;
    }
    if (entries_.size() >= limit_) return false;
    entries_.emplace(key, Entry{owner, until_ms});
    ages_.push_back({key, until_ms});
    return true;
  }

  /// Forgets what is over; at most `count` entries a call, which is more than are put in between.
  void expire(std::int64_t now_ms, std::size_t count = 4'096) {
    for (; count > 0 && !ages_.empty() && ages_.front().until_ms <= now_ms; --count) {
      const Age age = ages_.front();
      ages_.pop_front();
      const auto found = entries_.find(age.key);
      if (found->second.until_ms > now_ms) {
        ages_.push_back({age.key, found->second.until_ms});  // put again since
      } else {
        entries_.erase(found);
      }
    }
  }
  /// When expire() has something to do; nothing where the directory is empty.
  std::optional<std::int64_t> next_deadline_ms() const noexcept {
    if (ages_.empty()) return std::nullopt;
    return ages_.front().until_ms;
  }

  std::size_t size() const noexcept { return entries_.size(); }

 private:
  struct Entry {
    Owner owner;
    std::int64_t until_ms = 0;
  };
  struct Age {
    std::uint64_t key;
    std::int64_t until_ms;
  };
  std::size_t limit_;
  std::unordered_map<std::uint64_t, Entry> entries_;
  std::deque<Age> ages_;  // one for each entry, about in the order in which they end
};

}  // namespace sipfarm::sip
