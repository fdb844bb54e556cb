#include "store/binding_writer.hpp"

#include <sys/eventfd.h>
#include <unistd.h>

#include <chrono>
#include <utility>

namespace sipfarm::store {

namespace {

using std::chrono::steady_clock;

constexpr std::size_t batch_max = 1'024;
constexpr auto gather = std::chrono::milliseconds{5};     // batches that follow each other closely are made one: each has its price
constexpr auto lock_wait = std::chrono::milliseconds{1'000};
constexpr auto lock_look = std::chrono::milliseconds{1};  // SQLite's own waiting sleeps up to 100 ms, long after the lock is free

constexpr std::string_view select_sql = "SELECT value FROM cell WHERE noun = 'registration' AND scope = ?1 AND name = ''";
constexpr std::string_view put_sql =
    "INSERT INTO cell (noun, scope, name, value, dead_at_wall_ms) VALUES ('registration', ?1, '', ?2, ?3) "
    "ON CONFLICT (noun, scope, name) DO UPDATE SET value = excluded.value, dead_at_wall_ms = excluded.dead_at_wall_ms";

std::int64_t now_ms() noexcept {
  return std::chrono::duration_cast<std::chrono::milliseconds>(steady_clock::now().time_since_epoch()).count();
}

std::vector<BindingOutcome> all_failed(const std::vector<BindingUpdate>& batch, const std::string& error) {
  std::vector<BindingOutcome> out;
  out.reserve(batch.size());
  for (const BindingUpdate& update : batch) out.push_back({update.ticket, {}, error});
  return out;
}

}  // namespace

BindingWriter::BindingWriter(const std::string& path) {
  prepare(path);
  if (!error_.empty()) return;
  event_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  thread_ = std::thread{[this] { work(); }};
}

BindingWriter::~BindingWriter() {
  close();
  if (event_ >= 0) ::close(event_);
}

void BindingWriter::prepare(const std::string& path) {
  sqlite3* opened = nullptr;
  const int code = sqlite3_open_v2(path.c_str(), &opened, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, nullptr);
  database_.reset(opened);
  const auto prepared = [&](Statement& statement, std::string_view sql) { return static_cast<bool>(statement = Statement{opened, sql}); };
  if (code == SQLITE_OK && sqlite3_exec(opened, "PRAGMA synchronous = NORMAL", nullptr, nullptr, nullptr) == SQLITE_OK &&
      prepared(select_, select_sql) && prepared(put_, put_sql) && prepared(begin_, "BEGIN IMMEDIATE") && prepared(commit_, "COMMIT") &&
      prepared(rollback_, "ROLLBACK")) {
    return;
  }
  error_ = opened != nullptr ? sqlite3_errmsg(opened) : "out of memory";
}

void BindingWriter::submit(BindingUpdate update) {
  bool wake = false;
  {
    const std::lock_guard lock{mutex_};
    submitted_.push_back(std::move(update));
    wake = waiting_;
  }
  if (wake) wake_.notify_one();
}

std::vector<BindingOutcome> BindingWriter::take() {
  std::uint64_t count = 0;
  static_cast<void>(!::read(event_, &count, sizeof count));  // nothing to read: nothing was told since
  const std::lock_guard lock{mutex_};
  return std::exchange(outcomes_, {});
}

void BindingWriter::close() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock{mutex_};
    closing_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

// --- on the thread

void BindingWriter::work() {
  auto ended = steady_clock::time_point{};
  while (true) {
    {
      std::unique_lock lock{mutex_};
      waiting_ = true;
      wake_.wait(lock, [this] { return closing_ || !submitted_.empty(); });
      waiting_ = false;
      if (submitted_.empty()) return;
    }
    if (steady_clock::now() - ended < gather) std::this_thread::sleep_for(gather);
    tell(perform(next_batch()));
    ended = steady_clock::now();
  }
}

std::vector<BindingUpdate> BindingWriter::next_batch() {
  const std::lock_guard lock{mutex_};
  if (submitted_.size() <= batch_max) return std::exchange(submitted_, {});
  const auto end = submitted_.begin() + batch_max;
  std::vector<BindingUpdate> batch{std::make_move_iterator(submitted_.begin()), std::make_move_iterator(end)};
  submitted_.erase(submitted_.begin(), end);
  return batch;
}

std::vector<BindingOutcome> BindingWriter::perform(const std::vector<BindingUpdate>& batch) {
  if (begin() != SQLITE_DONE) return all_failed(batch, sqlite3_errmsg(database_.get()));
  const std::int64_t begun_ms = now_ms();
  std::vector<BindingOutcome> outcomes;
  outcomes.reserve(batch.size());
  bool done = true;
  for (const BindingUpdate& update : batch) {
    BindingOutcome& outcome = outcomes.emplace_back(BindingOutcome{update.ticket, {}, {}});
    if (update.until_ms <= begun_ms) {
      outcome.error = "no answer in time";
    } else if (!apply(update, outcome)) {
      done = false;
      break;
    }
  }
  if (done && commit_.run() == SQLITE_DONE) return outcomes;
  const std::string error = sqlite3_errmsg(database_.get());
  if (sqlite3_get_autocommit(database_.get()) == 0) rollback_.run();
  return all_failed(batch, error);
}

/// Takes the write lock as soon as no other member has it.
int BindingWriter::begin() {
  const auto deadline = steady_clock::now() + lock_wait;
  while (true) {
    const int code = begin_.run();
    if ((code & 0xff) != SQLITE_BUSY || steady_clock::now() > deadline) return code;
    std::this_thread::sleep_for(lock_look);
  }
}

bool BindingWriter::apply(const BindingUpdate& update, BindingOutcome& outcome) {
  select_.text(1, update.aor);
  const int found = select_.step();
  if (found != SQLITE_ROW && found != SQLITE_DONE) {
    select_.reset();
    return false;
  }
  outcome.registered = apply_register(found == SQLITE_ROW ? select_.column(0) : std::string_view{}, update.update, update.wall_ms);
  select_.reset();
  if (!outcome.registered.changed) return true;
  put_.text(1, update.aor);
  put_.blob(2, outcome.registered.value);
  put_.integer(3, outcome.registered.dead_at_wall_ms);
  return put_.run() == SQLITE_DONE;
}

void BindingWriter::tell(std::vector<BindingOutcome> outcomes) {
  {
    const std::lock_guard lock{mutex_};
    if (outcomes_.empty()) {
      outcomes_ = std::move(outcomes);
    } else {
      outcomes_.insert(outcomes_.end(), std::make_move_iterator(outcomes.begin()), std::make_move_iterator(outcomes.end()));
    }
  }
  const std::uint64_t one = 1;
  static_cast<void>(!::write(event_, &one, sizeof one));  // full: it is readable already
}

}  // namespace sipfarm::store
