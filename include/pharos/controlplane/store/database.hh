// A SQLite connection and its statements, as owners that close themselves. One thread at a time: SQLite is told so, and
// takes no lock. A statement that ends is kept for the next of the same text, which so needs no parser: whoever writes
// half a million rows prepares one statement. Statements end before their database.
#pragma once

#include "pharos/base/bytes.hh"
#include "pharos/base/clock.hh"
#include "pharos/base/error.hh"

#include <sqlite3.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

namespace pharos::controlplane {

struct Finalize {
  void operator()(sqlite3_stmt* statement) const noexcept { sqlite3_finalize(statement); }
};
using StatementHandle = std::unique_ptr<sqlite3_stmt, Finalize>;
// Of one connection, those that nobody uses, by text.
using IdleStatements = std::unordered_map<std::string, StatementHandle>;

class Statement {
 public:
  // Takes one that is idle, or makes one.
  Statement(sqlite3* database, const char* sql, IdleStatements& idle) noexcept;
  Statement(Statement&& other) noexcept = default;
  Statement& operator=(Statement&&) = delete;
  ~Statement();  // puts it to the idle ones
  Statement& bind(int index, std::int64_t value) noexcept;
  Statement& bind(int index, double value) noexcept;
  Statement& bind(int index, std::string_view text) noexcept;
  Statement& bind(int index, ConstBytes blob) noexcept;
  // Whether there is a row; its columns are good until the next call. Failures end the rows and
  // stay in ok().
  [[nodiscard]] bool row() noexcept;
  [[nodiscard]] bool run() noexcept;  // for statements without rows
  [[nodiscard]] bool ok() const noexcept {
    return code_ == SQLITE_OK || code_ == SQLITE_ROW || code_ == SQLITE_DONE;
  }

  [[nodiscard]] std::int64_t integer(int column) const noexcept;
  [[nodiscard]] std::uint64_t unsigned_integer(int column) const noexcept;
  [[nodiscard]] double real(int column) const noexcept;
  [[nodiscard]] std::string text(int column) const;
  [[nodiscard]] ConstBytes blob(int column) const noexcept;

 private:
  IdleStatements* idle_;
  StatementHandle statement_;
  int code_ = SQLITE_OK;
};

struct DatabaseKind {
  int application_id = 0;
  int version = 1;
  const char* name = "";
  const char* schema = "";  // statements that may run again
  bool durable = false;     // a commit outlives the loss of power, not only of the process
};

class Database {
 public:
  // Opens or makes the file, proves it sound and brings its tables up. Errors: invalid (damaged, or
  // of another kind), unavailable, conflict (locked by another process).
  [[nodiscard]] static Result<Database> open(const std::string& path, const DatabaseKind& kind);

  // The same for a file of the state directory (made if absent), which only we may open. One that is damaged is moved
  // aside and a new one begun; `damage` then says so: "was damaged (why): it is now path.damaged-<seconds>".
  [[nodiscard]] static Result<Database> open_in(const std::string& directory, const char* name,
                                                const DatabaseKind& kind, WallTime now,
                                                std::string& damage);

  [[nodiscard]] Statement prepare(const char* sql) noexcept { return {handle_.get(), sql, *idle_}; }
  [[nodiscard]] Status execute(const char* sql);
  // All of it, into a new file that only we may open. Errors: conflict (there is a file), unavailable.
  [[nodiscard]] Status copy_to(const std::string& path);
  [[nodiscard]] std::string message() const { return sqlite3_errmsg(handle_.get()); }

 private:
  struct Close {
    void operator()(sqlite3* handle) const noexcept { sqlite3_close_v2(handle); }
  };
  [[nodiscard]] Status check(const DatabaseKind& wanted);
  std::unique_ptr<sqlite3, Close> handle_;
  // Finalized before the connection closes; at one place, wherever the database moves.
  std::unique_ptr<IdleStatements> idle_ = std::make_unique<IdleStatements>();
  std::string path_;
};

extern const DatabaseKind store_kind;    // store.hh
extern const DatabaseKind history_kind;  // history/history.hh

// Puts a copy of `from`, once proven sound and of this kind, in the place of `to`; what was there is moved aside. Nobody
// may have either open. Errors: invalid, unavailable; then `to` is as it was.
[[nodiscard]] Status restore_database(const std::string& from, const std::string& to,
                                      const DatabaseKind& kind, WallTime now);

}  // namespace pharos::controlplane
