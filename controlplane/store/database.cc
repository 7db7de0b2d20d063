#include "pharos/controlplane/store/database.hh"

#include "pharos/base/directory.hh"

#include <fcntl.h>
#include <sys/stat.h>

#include <bit>
#include <filesystem>

namespace pharos::controlplane {
namespace {

ErrorCode kind_of(int code) noexcept {
  switch (code & 0xff) {
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_FORMAT:
      return ErrorCode::invalid;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return ErrorCode::conflict;
    default:
      return ErrorCode::unavailable;
  }
}

Status move_aside(const std::string& path, const std::string& to) {
  std::error_code error;
  std::filesystem::rename(path, to, error);
  if (error)
    return fail(ErrorCode::unavailable, "cannot move it to " + to + ": " + error.message(), path);
  // The log belongs to the damaged file: a new database must not replay it.
  for (const char* suffix : {"-wal", "-shm"}) {
    std::filesystem::rename(path + suffix, to + suffix, error);
    if (error) std::filesystem::remove(path + suffix, error);
  }
  return {};
}

}  // namespace

Statement::Statement(sqlite3* database, const char* sql, IdleStatements& idle) noexcept
    : idle_(&idle) {
  if (const auto at = idle.find(sql); at != idle.end() && at->second) {
    statement_ = std::move(at->second);
    return;
  }
  sqlite3_stmt* statement = nullptr;
  code_ = sqlite3_prepare_v3(database, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, nullptr);
  statement_.reset(statement);
}
Statement::~Statement() {
  if (!statement_) return;
  // Gives back locks and what it was bound to; its failure was told by row() or run().
  sqlite3_reset(statement_.get());
  sqlite3_clear_bindings(statement_.get());
  (*idle_)[sqlite3_sql(statement_.get())] = std::move(statement_);
}
Statement& Statement::bind(int index, std::int64_t value) noexcept {
  if (statement_) sqlite3_bind_int64(statement_.get(), index, value);
  return *this;
}
Statement& Statement::bind(int index, double value) noexcept {
  if (statement_) sqlite3_bind_double(statement_.get(), index, value);
  return *this;
}
Statement& Statement::bind(int index, std::string_view text) noexcept {
  if (statement_) {
    sqlite3_bind_text64(statement_.get(), index, text.data(), text.size(), SQLITE_TRANSIENT,
                        SQLITE_UTF8);
  }
  return *this;
}
Statement& Statement::bind(int index, ConstBytes blob) noexcept {
  if (!statement_) return *this;
  if (blob.empty()) {  // a null pointer would bind NULL, which is no blob
    sqlite3_bind_zeroblob(statement_.get(), index, 0);
  } else {
    sqlite3_bind_blob64(statement_.get(), index, blob.data(), blob.size(), SQLITE_TRANSIENT);
  }
  return *this;
}
bool Statement::row() noexcept {
  if (!statement_) return false;
  code_ = sqlite3_step(statement_.get());
  return code_ == SQLITE_ROW;
}
bool Statement::run() noexcept {
  if (!statement_) return false;
  code_ = sqlite3_step(statement_.get());
  return code_ == SQLITE_DONE;
}
std::int64_t Statement::integer(int column) const noexcept {
  return sqlite3_column_int64(statement_.get(), column);
}
std::uint64_t Statement::unsigned_integer(int column) const noexcept {
  return std::bit_cast<std::uint64_t>(integer(column));
}
double Statement::real(int column) const noexcept {
  return sqlite3_column_double(statement_.get(), column);
}
std::string Statement::text(int column) const {
  return std::string(as_text(blob(column)));
}
ConstBytes Statement::blob(int column) const noexcept {
  const auto* data = static_cast<const std::byte*>(sqlite3_column_blob(statement_.get(), column));
  const auto bytes = static_cast<std::size_t>(sqlite3_column_bytes(statement_.get(), column));
  return {data, data == nullptr ? 0 : bytes};
}

Status Database::execute(const char* sql) {
  const int code = sqlite3_exec(handle_.get(), sql, nullptr, nullptr, nullptr);
  if (code == SQLITE_OK) return {};
  return fail(kind_of(code), message(), path_);
}

Status Database::copy_to(const std::string& path) {
  std::error_code error;
  if (std::filesystem::exists(path, error))
    return fail(ErrorCode::conflict, "there is a file already", path, "name a new one");
  const auto mask = ::umask(0077);
  auto copy = prepare("VACUUM INTO ?1");
  const bool copied = copy.bind(1, std::string_view(path)).run();
  ::umask(mask);
  if (copied) return {};
  return fail(ErrorCode::unavailable, message(), path);
}

Status Database::check(const DatabaseKind& wanted) {
  auto integrity = prepare("PRAGMA quick_check(1)");
  const bool answered = integrity.row();
  if (!answered) return fail(kind_of(sqlite3_errcode(handle_.get())), message(), path_);
  if (integrity.text(0) != "ok") return fail(ErrorCode::invalid, integrity.text(0), path_);
  auto kind = prepare("SELECT * FROM pragma_application_id(), pragma_user_version()");
  if (!kind.row()) return fail(kind_of(sqlite3_errcode(handle_.get())), message(), path_);
  const auto application = kind.integer(0);
  const auto version = kind.integer(1);
  if (application == 0 && version == 0) return {};  // new
  if (application != wanted.application_id)
    return fail(ErrorCode::invalid, std::string("not ") + wanted.name, path_);
  if (version > wanted.version) {
    return fail(ErrorCode::unsupported, "written by a newer version of Pharos", path_,
                "start that version, or move the file away and lose what the operator set");
  }
  return {};
}

Result<Database> Database::open(const std::string& path, const DatabaseKind& kind) {
  Database database;
  database.path_ = path;
  sqlite3* handle = nullptr;
  const int code = sqlite3_open_v2(
      path.c_str(), &handle,
      SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW,
      nullptr);
  database.handle_.reset(handle);
  if (code != SQLITE_OK) {
    return fail(kind_of(code), handle == nullptr ? "out of memory" : database.message(), path);
  }
  sqlite3_busy_timeout(handle, 2000);
  if (auto checked = database.check(kind); !checked) return std::unexpected(checked.error());
  const auto schema = std::string("BEGIN IMMEDIATE;") + kind.schema +
                      "PRAGMA application_id = " + std::to_string(kind.application_id) +
                      "; PRAGMA user_version = " + std::to_string(kind.version) + "; COMMIT;";
  const char* synchronous =
      kind.durable ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL";
  // Before the first table: pages of what is forgotten go back to the file system.
  const char* vacuum = kind.durable ? "PRAGMA auto_vacuum = INCREMENTAL" : "";
  for (const char* sql : {vacuum, "PRAGMA journal_mode = WAL", synchronous, schema.c_str()}) {
    if (auto done = database.execute(sql); !done) return std::unexpected(done.error());
  }
  return database;
}

Result<Database> Database::open_in(const std::string& directory, const char* name,
                                   const DatabaseKind& kind, WallTime now, std::string& damage) {
  if (auto ready = prepare_directory(directory); !ready)
    return std::unexpected(std::move(ready.error()).in("state directory"));
  const auto path = directory + "/" + name;
  // Nobody else can put anything there between this look and SQLite's open: the directory is ours.
  for (const char* suffix : {"", "-wal", "-shm", "-journal"}) {
    if (auto ours = check_regular_or_absent(path + suffix); !ours)
      return std::unexpected(std::move(ours.error()));
  }
  const auto mask = ::umask(0077);  // keys and client addresses rest here
  auto database = open(path, kind);
  if (!database && database.error().code == ErrorCode::invalid) {
    const auto aside = path + ".damaged-" + std::to_string(now.ns / 1'000'000'000);
    damage = "was damaged (" + database.error().what + "): it is now " + aside;
    if (auto moved = move_aside(path, aside); moved)
      database = open(path, kind);
    else
      database = std::unexpected(std::move(moved).error());
  }
  ::umask(mask);
  return database;
}

Status restore_database(const std::string& from, const std::string& to, const DatabaseKind& kind,
                        WallTime now) {
  namespace fs = std::filesystem;
  const auto fresh = to + ".restoring";
  std::error_code error;
  fs::remove(fresh, error);
  const auto mask = ::umask(0077);
  fs::copy_file(from, fresh, error);
  ::umask(mask);
  if (error) return fail(ErrorCode::unavailable, "cannot be copied: " + error.message(), from);
  fs::permissions(fresh, fs::perms::owner_read | fs::perms::owner_write, error);
  {
    auto proven = Database::open(fresh, kind);
    // Opening one that is empty would make it one of ours.
    if (!proven || fs::file_size(from, error) == 0) {
      for (const char* suffix : {"", "-wal", "-shm"}) fs::remove(fresh + suffix, error);
      if (!proven) return std::unexpected(std::move(proven.error()).in(from));
      return fail(ErrorCode::invalid, "the file is empty", from);
    }
  }
  if (fs::exists(to, error)) {
    const auto aside = to + ".before-" + std::to_string(now.ns / 1'000'000'000);
    for (const char* suffix : {"", "-wal", "-shm"}) {
      if (!fs::exists(to + suffix, error)) continue;
      fs::rename(to + suffix, aside + suffix, error);
      if (error) return fail(ErrorCode::unavailable, "cannot be moved aside", to + suffix);
    }
  }
  fs::rename(fresh, to, error);
  if (error) return fail(ErrorCode::unavailable, "cannot be put in place: " + error.message(), to);
  return {};
}

}  // namespace pharos::controlplane
