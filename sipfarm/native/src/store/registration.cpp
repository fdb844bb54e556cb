#include "store/registration.hpp"

#include <algorithm>
#include <vector>

#include "store/record_reader.hpp"

namespace sipfarm::store {

namespace {

constexpr std::string_view wildcard_key = "*";  // stands for any contact

/// What tells a contact from another: a binding, a removal or a superseded contact.
struct Contact {
  std::string_view key;
  std::string_view instance_id;
  std::int64_t reg_id = 0;
};

struct Binding {
  std::string_view record;
  Contact contact;
  std::string_view call_id;
  std::int64_t cseq = 0;
  std::int64_t expires_at_wall_ms = 0;
  std::int64_t q = 0;
};

/// A (Call-ID, CSeq) that must not be applied to this contact any more.
struct Superseded {
  Contact contact;
  std::string_view call_id;
  std::int64_t cseq = 0;
  std::int64_t until_wall_ms = 0;
  bool removal = false;  // it was one; else a binding that was replaced or removed by another Call-ID
};

struct Update {
  std::string_view call_id;
  std::int64_t cseq = 0;
  std::vector<Binding> contacts;
  std::vector<Contact> removals;
  bool wildcard = false;
  std::int64_t max_bindings = 0;
};

/// How one contact of an update stands to what is known of it; the sum of several is a set.
enum Order : unsigned {
  neutral = 0,  // nothing known
  fresh = 1,    // newer than what is known
  repeat = 2,   // exactly what is known
  stale = 4     // older than what is known
};

/// Calls read() for each record of an array.
template <typename Read>
void each(RecordReader& reader, Read read) {
  for (std::uint32_t left = reader.array(); left > 0 && !reader.failed(); --left) read();
}

/// Calls read() for the `known` first fields of a record, and passes over those that a later release appended.
template <typename Read>
void read_record(RecordReader& reader, std::uint32_t known, Read read) {
  const std::uint32_t fields = reader.array();
  if (fields < known) {
    while (!reader.failed()) reader.skip();
    return;
  }
  read();
  for (std::uint32_t left = fields - known; left > 0 && !reader.failed(); --left) reader.skip();
}

Binding read_binding(RecordReader& reader) {
  Binding out;
  const char* begin = reader.here();
  read_record(reader, 10, [&] {
    reader.skip();  // the address-of-record
    reader.skip();  // the contact as it was written
    out.contact.key = reader.str();
    out.call_id = reader.str();
    out.cseq = reader.integer();
    out.expires_at_wall_ms = reader.integer();
    out.contact.instance_id = reader.str();
    out.contact.reg_id = reader.integer();
    reader.skip();  // the path
    out.q = reader.integer();
  });
  out.record = reader.since(begin);
  return out;
}

Superseded read_superseded(RecordReader& reader) {
  Superseded out;
  read_record(reader, 7, [&] {
    out.contact = {reader.str(), reader.str(), reader.integer()};
    out.call_id = reader.str();
    out.cseq = reader.integer();
    out.until_wall_ms = reader.integer();
    out.removal = reader.boolean();
  });
  return out;
}

Update read_update(RecordReader& reader) {
  Update out;
  read_record(reader, 7, [&] {
    reader.skip();  // the address-of-record
    out.call_id = reader.str();
    out.cseq = reader.integer();
    each(reader, [&] { out.contacts.push_back(read_binding(reader)); });
    each(reader, [&] {
      read_record(reader, 3, [&] { out.removals.push_back({reader.str(), reader.str(), reader.integer()}); });
    });
    out.wildcard = reader.boolean();
    out.max_bindings = reader.integer();
  });
  return out;
}

/// Whether two stand for one binding: by instance and reg-id where both have them (RFC 5626 §6), else by URI.
bool same(const Contact& one, const Contact& other) noexcept {
  if (one.reg_id != 0 && other.reg_id != 0 && !one.instance_id.empty() && !other.instance_id.empty()) {
    return one.reg_id == other.reg_id && one.instance_id == other.instance_id;
  }
  return one.key == other.key;
}

/// An address-of-record while an update is held against it.
class AddressOfRecord {
 public:
  AddressOfRecord(const Update& update, std::int64_t wall_ms) noexcept : update_{update}, wall_ms_{wall_ms} {}

  /// What is stored, without what has expired; false where it is no such record.
  bool read(std::string_view stored) {
    if (stored.empty()) return true;
    RecordReader reader{stored};
    read_record(reader, 2, [&] {
      each(reader, [&] {
        const Binding binding = read_binding(reader);
        if (binding.expires_at_wall_ms > wall_ms_) bindings_.push_back(binding);
      });
      each(reader, [&] {
        const Superseded mark = read_superseded(reader);
        if (mark.until_wall_ms > wall_ms_) superseded_.push_back(mark);
      });
    });
    return !reader.failed();
  }

  Registered apply() {
    const unsigned orders = is_closing() ? fresh : orders_of_update();
    if (orders >= stale || orders == (repeat | fresh)) return unchanged(RegisterStatus::out_of_order);
    if (orders == repeat) return unchanged(RegisterStatus::repeated);
    if (update_.contacts.empty() && update_.removals.empty() && !update_.wildcard) return unchanged(RegisterStatus::applied);
    const std::vector<Binding> after = after_update();
    const auto allowed = std::max<std::size_t>(static_cast<std::size_t>(update_.max_bindings), bindings_.size());
    if (after.size() > allowed) return unchanged(RegisterStatus::too_many);
    remember(after);
    bindings_ = after;
    Registered out = unchanged(RegisterStatus::applied);
    out.changed = true;
    write(out);
    return out;
  }

 private:
  // --- how the update stands to what is known

  bool is_closing() const noexcept { return update_.wildcard && update_.call_id.empty(); }
  bool is_of_update(const Superseded& mark) const noexcept { return mark.call_id == update_.call_id || mark.call_id.empty(); }

  unsigned orders_of_update() const noexcept {
    unsigned orders = neutral;
    for (const Binding& contact : update_.contacts) orders |= order_of_contact(contact.contact);
    for (const Contact& removal : update_.removals) orders |= order_of_removal(removal);
    if (update_.wildcard) orders |= order_of_wildcard();
    return orders;
  }

  bool names(const Contact& contact) const noexcept {
    return std::any_of(update_.contacts.begin(), update_.contacts.end(), [&](const Binding& of_update) { return same(of_update.contact, contact); });
  }

  unsigned order_of_contact(const Contact& contact) const noexcept {
    unsigned order = fresh;
    for (const Binding& other : bindings_) {
      if (other.call_id != update_.call_id) continue;
      if (update_.cseq == other.cseq && !names(other.contact)) return stale;  // one CSeq, two contents: not a repeat
      if (!same(contact, other.contact)) continue;
      if (update_.cseq < other.cseq) return stale;
      if (update_.cseq > other.cseq) continue;
      if (contact.key != other.contact.key) return stale;  // one CSeq, two contents: not a repeat
      order = repeat;
    }
    for (const Superseded& mark : superseded_) {
      if (!is_of_update(mark) || mark.cseq < update_.cseq) continue;
      if (mark.contact.key == wildcard_key || same(contact, mark.contact)) return stale;
    }
    return order;
  }

  unsigned order_of_removal(const Contact& removal) const noexcept {
    unsigned order = neutral;
    for (const Binding& other : bindings_) {
      if (!same(removal, other.contact)) continue;
      if (other.call_id == update_.call_id && update_.cseq <= other.cseq) return stale;
      order = fresh;
    }
    return std::max(order, order_by_marks(removal));
  }

  unsigned order_of_wildcard() const noexcept {
    const unsigned order = std::max<unsigned>(fresh, order_by_marks({wildcard_key, {}, 0}));
    if (order != fresh) return order;
    for (const Binding& other : bindings_) {
      if (other.call_id == update_.call_id && update_.cseq <= other.cseq) return stale;
    }
    return order;
  }

  unsigned order_by_marks(const Contact& removal) const noexcept {
    unsigned order = neutral;
    for (const Superseded& mark : superseded_) {
      if (!is_of_update(mark) || mark.cseq < update_.cseq) continue;
      if (mark.contact.key != wildcard_key && !same(removal, mark.contact)) continue;
      order = std::max<unsigned>(order, mark.cseq == update_.cseq && mark.removal ? repeat : stale);
    }
    return order;
  }

  // --- what it makes of it

  std::vector<Binding> after_update() const {
    if (update_.wildcard) return {};
    std::vector<Binding> after = bindings_;
    const auto drop = [&after](const Contact& contact) {
      std::erase_if(after, [&](const Binding& binding) { return same(contact, binding.contact); });
    };
    for (const Contact& removal : update_.removals) drop(removal);
    for (const Binding& contact : update_.contacts) {
      drop(contact.contact);
      after.push_back(contact);
    }
    return after;
  }

  /// Adds what this update made void: what it removed, or replaced from another Call-ID.
  void remember(const std::vector<Binding>& after) {
    const std::int64_t until_wall_ms = wall_ms_ + superseded_ms;
    for (const Contact& removal : update_.removals) superseded_.push_back({removal, update_.call_id, update_.cseq, until_wall_ms, true});
    const std::int64_t cleared_until_wall_ms = is_closing() ? wall_ms_ + closed_ms : until_wall_ms;
    if (update_.wildcard) superseded_.push_back({{wildcard_key, {}, 0}, update_.call_id, update_.cseq, cleared_until_wall_ms, true});
    for (const Binding& old : bindings_) {
      const auto is_old = [&old](const Binding& binding) { return binding.record.data() == old.record.data(); };
      if (old.call_id == update_.call_id || std::any_of(after.begin(), after.end(), is_old)) continue;
      superseded_.push_back({old.contact, old.call_id, old.cseq, until_wall_ms, false});
    }
    if (superseded_.size() > superseded_max) superseded_.erase(superseded_.begin(), superseded_.end() - superseded_max);
  }

  // --- the records written

  static void append_array(std::string& out, std::size_t count) {
    if (count < 16) {
      out += static_cast<char>(0x90 | count);
    } else {
      out += '\xdc';
      append_number(out, count, 2);
    }
  }
  static void append_number(std::string& out, std::uint64_t number, int bytes) {
    for (int shift = (bytes - 1) * 8; shift >= 0; shift -= 8) out += static_cast<char>(number >> shift);
  }
  static void append_integer(std::string& out, std::int64_t number) {
    if (number < 0x80) {
      out += static_cast<char>(number);
    } else {
      out += '\xcf';
      append_number(out, static_cast<std::uint64_t>(number), 8);
    }
  }
  static void append_str(std::string& out, std::string_view text) {
    if (text.size() < 32) {
      out += static_cast<char>(0xa0 | text.size());
    } else {
      out += '\xdb';
      append_number(out, text.size(), 4);
    }
    out += text;
  }

  void write(Registered& out) const {
    out.dead_at_wall_ms = 0;
    append_array(out.value, 2);
    append_array(out.value, bindings_.size());
    for (const Binding& binding : bindings_) {
      out.value += binding.record;
      out.dead_at_wall_ms = std::max(out.dead_at_wall_ms, binding.expires_at_wall_ms);
    }
    append_array(out.value, superseded_.size());
    for (const Superseded& mark : superseded_) {
      append_array(out.value, 7);
      append_str(out.value, mark.contact.key);
      append_str(out.value, mark.contact.instance_id);
      append_integer(out.value, mark.contact.reg_id);
      append_str(out.value, mark.call_id);
      append_integer(out.value, mark.cseq);
      append_integer(out.value, mark.until_wall_ms);
      out.value += mark.removal ? '\xc3' : '\xc2';
      out.dead_at_wall_ms = std::max(out.dead_at_wall_ms, mark.until_wall_ms);
    }
  }

  Registered unchanged(RegisterStatus status) const {
    Registered out;
    out.status = status;
    out.as_asked = bindings_.size() == 1 && update_.contacts.size() == 1 && bindings_[0].record == update_.contacts[0].record;
    if (out.as_asked) return out;
    std::vector<Binding> ordered = bindings_;
    std::stable_sort(ordered.begin(), ordered.end(), [](const Binding& one, const Binding& other) { return one.q > other.q; });
    append_array(out.bindings, ordered.size());
    for (const Binding& binding : ordered) out.bindings += binding.record;
    return out;
  }

  const Update& update_;
  std::int64_t wall_ms_;
  std::vector<Binding> bindings_;
  std::vector<Superseded> superseded_;
};

}  // namespace

Registered apply_register(std::string_view stored, std::string_view update, std::int64_t wall_ms) {
  RecordReader reader{update};
  const Update asked = read_update(reader);
  AddressOfRecord aor{asked, wall_ms};
  if (reader.failed() || !aor.read(stored)) return {};
  return aor.apply();
}

}  // namespace sipfarm::store
