#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

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

/// A thread with a SQLite connection of its own, which applies updates of bindings: all that piled up while it was busy is one transaction, and
/// durable when it is told of. It needs no interpreter, so it neither waits for a busy event loop nor stops one; DESIGN §5.
class BindingWriter {
 public:
  /// The file must have its schema. Look at `error` before anything else.
  explicit BindingWriter(const std::string& path);
  ~BindingWriter();
  BindingWriter(const BindingWriter&) = delete;
  BindingWriter& operator=(const BindingWriter&) = delete;

  /// Why the file cannot be used, "" where it can.
  const std::string& error() const noexcept { return error_; }
  /// Readable when outcomes can be taken.
  int descriptor() const noexcept { return event_; }

  void submit(BindingUpdate update);
  std::vector<BindingOutcome> take();
  /// Finishes what was submitted, and ends the thread.
  void close();

 private:
  void prepare(const std::string& path);
  void work();
  std::vector<BindingUpdate> next_batch();
  std::vector<BindingOutcome> perform(const std::vector<BindingUpdate>& batch);
  int begin();
  bool apply(const BindingUpdate& update, BindingOutcome& outcome);
  void tell(std::vector<BindingOutcome> outcomes);

  Database database_;
  Statement begin_, select_, put_, commit_, rollback_;
  std::string error_;
  int event_ = -1;

  std::mutex mutex_;  // of the following
  std::condition_variable wake_;
  std::vector<BindingUpdate> submitted_;
  std::vector<BindingOutcome> outcomes_;
  bool waiting_ = false;  // the thread, for something to do
  bool closing_ = false;

  std::thread thread_;
};

}  // namespace sipfarm::store
