#pragma once

#include <cstdint>
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
  std::int64_t until_ms = 0;  // monotonic: nobody waits for it any more
};

/// What became of an update.
struct BindingOutcome {
  std::uint64_t ticket = 0;
  Registered registered;
  std::string error;  // "" where it was done
};

/// Applies updates of bindings to the cells of a SQLite file, with a connection of its own. A batch is one transaction, and durable when it is told
/// of (DESIGN §5).
class BindingWriter {
 public:
  /// The file must have its schema. Look at `error` before anything else.
  explicit BindingWriter(const std::string& path);

  /// Why the file cannot be used, "" where it can.
  const std::string& error() const noexcept { return error_; }
  int descriptor() const noexcept { return thread_.descriptor(); }
  void submit(BindingUpdate update) { thread_.submit(std::move(update)); }
  std::vector<BindingOutcome> take() { return thread_.take(); }
  void close() { thread_.close(); }

 private:
  std::vector<BindingOutcome> perform(const std::vector<BindingUpdate>& batch);
  int begin();
  bool apply(const BindingUpdate& update, BindingOutcome& outcome);

  Database database_;
  Statement begin_, select_, put_, commit_, rollback_;
  std::string error_;
  BatchThread<BindingUpdate, BindingOutcome> thread_;  // last: it ends before what it works with
};

}  // namespace sipfarm::store
