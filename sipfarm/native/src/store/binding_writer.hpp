#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "store/batch_thread.hpp"
#include "store/registration.hpp"
#include "store/sqlite.hpp"

namespace sipfarm::store {

/// One update of an address-of-record, and by when it is worth doing.
struct BindingUpdate {
  std::uint64_t ticket = 0;
  std::string aor;
  std::string update;  // the stored form of a RegisterUpdate
  std::int64_t wall_ms = 0;
  std::int64_t until_ms = 0;  // of `monotonic_ms`: nobody waits for it any more
};
std::int64_t monotonic_ms() noexcept;

/// What became of an update.
struct BindingOutcome {
  BindingUpdate asked;
  Registered registered;
  std::string error;  // "" where it was done
};
using BindingOutbox = std::shared_ptr<Outbox<BindingOutcome>>;

/// Applies updates of bindings to the cells of a SQLite file, with a connection of its own. A batch is one transaction, and durable when it is told
/// of (DESIGN §5).
class BindingWriter {
 public:
  /// The file must have its schema. Look at `error` before anything else. `timeout_ms`: how long anybody waits for an update.
  BindingWriter(const std::string& path, std::int64_t timeout_ms);

  /// Why the file cannot be used, "" where it can.
  const std::string& error() const noexcept { return error_; }
  std::int64_t timeout_ms() const noexcept { return timeout_ms_; }
  /// What becomes of it is put into the outbox, this writer's own where none is given.
  void submit(BindingUpdate update) { thread_.submit(std::move(update), outbox_); }
  void submit(BindingUpdate update, const BindingOutbox& outbox) { thread_.submit(std::move(update), outbox); }
  /// Of the writer's own outbox.
  int descriptor() const noexcept { return outbox_->descriptor(); }
  std::vector<BindingOutcome> take() { return outbox_->take(); }
  void close() { thread_.close(); }

 private:
  std::vector<BindingOutcome> perform(std::vector<BindingUpdate> batch);
  int begin();
  bool apply(BindingOutcome& outcome);

  Database database_;
  Statement begin_, select_, put_, commit_, rollback_;
  std::string error_;
  std::int64_t timeout_ms_;
  BindingOutbox outbox_ = std::make_shared<Outbox<BindingOutcome>>();
  BatchThread<BindingUpdate, BindingOutcome> thread_;  // last: it ends before what it works with
};

}  // namespace sipfarm::store
