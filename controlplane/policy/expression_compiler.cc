#include "pharos/controlplane/policy/expression_compiler.hh"

#include "pharos/base/fd.hh"
#include "pharos/shared/policy_image.hh"

#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <hs/hs.h>
#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <new>
#include <optional>
#include <utility>

namespace pharos::controlplane {
namespace {

constexpr std::size_t errors_max = 100;
constexpr int watch_interval_ms = 5;
constexpr int child_nice = 5;
// An expression this long, or with repeat counts of this sum, is compiled alone first: the others cost a millisecond or two.
constexpr std::size_t suspicious_bytes = 300;
constexpr unsigned suspicious_repeats = 100;

// Where the child is, in memory shared with the parent.
struct Progress {
  // relaxed: one word, looked at every few milliseconds
  std::atomic<std::uint32_t> step{0};  // expressions begun; all of them together count as one more
  std::atomic<std::uint32_t> together{0};
};

// A piece of the child's report: bytes follow.
struct Piece {
  std::uint32_t is_database;  // 0: what is wrong with `expression`
  std::uint32_t expression;
  std::uint64_t bytes;
};

enum class Mode { all, each };  // each: every expression alone, to find the one that takes too long

// Lines: the packet path scans the names of a burst as one text (policy_database_flag::lines). A text without line ends
// matches the same. Not each expression once only: many of those lines may match one.
[[nodiscard]] unsigned flags_of(const Expression& expression) noexcept {
  return HS_FLAG_MULTILINE | HS_FLAG_ALLOWEMPTY | (expression.ignore_case ? HS_FLAG_CASELESS : 0U);
}

[[nodiscard]] hs_platform_info_t platform() noexcept {
  hs_platform_info_t lowest{};
  lowest.tune = HS_TUNE_FAMILY_GENERIC;
  lowest.cpu_features =
      HS_CPU_FEATURES_AVX2;  // what Pharos itself needs; more would bind an image to this CPU
  return lowest;
}

[[nodiscard]] bool is_suspicious(std::string_view text) noexcept {
  if (text.size() >= suspicious_bytes) return true;
  std::uint64_t repeats = 0, number = 0;
  bool inside = false;  // of braces that may hold repeat counts
  for (const char c : text) {
    if (c == '{') {
      inside = true;
      number = 0;
    } else if (inside && c >= '0' && c <= '9') {
      number = std::min<std::uint64_t>(number * 10 + static_cast<unsigned>(c - '0'), 1U << 20);
    } else {
      if (inside) repeats += std::exchange(number, 0);
      inside = inside && c == ',';
    }
  }
  return repeats >= suspicious_repeats;
}

// ---- the child ----

class Child {
 public:
  Child(std::span<const Expression> expressions, Progress& progress, int out) noexcept
      : expressions_(expressions), progress_(progress), out_(out) {}

  // The exit status: 0 where the report is whole.
  int run(Mode mode) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::setpriority(PRIO_PROCESS, 0, child_nice);
    // Sockets and locks of the parent would stay open with us.
    ::close_range(3, static_cast<unsigned>(out_) - 1, 0);
    ::close_range(static_cast<unsigned>(out_) + 1, ~0U, 0);
    for (std::size_t i = 0; i < expressions_.size() && errors_ < errors_max; ++i) {
      progress_.step.store(static_cast<std::uint32_t>(i + 1), std::memory_order_relaxed);
      if (!look_at(i)) continue;
      if (mode == Mode::each || is_suspicious(expressions_[i].text)) compile_alone(i);
    }
    if (mode == Mode::each || errors_ != 0) return failed_ ? 1 : 0;
    progress_.step.fetch_add(1, std::memory_order_relaxed);
    progress_.together.store(1, std::memory_order_relaxed);
    compile_together();
    return failed_ ? 1 : 0;
  }

 private:
  [[nodiscard]] bool look_at(std::size_t index) {
    const Expression& expression = expressions_[index];
    hs_expr_info_t* info = nullptr;
    hs_compile_error_t* error = nullptr;
    const auto code =
        hs_expression_info(expression.text.c_str(), flags_of(expression), &info, &error);
    std::free(info);  // NOLINT: Hyperscan's own allocator is malloc
    if (code == HS_SUCCESS) return true;
    report(index, error);
    return false;
  }

  void compile_alone(std::size_t index) {
    const Expression& expression = expressions_[index];
    const auto lowest = platform();
    hs_database_t* database = nullptr;
    hs_compile_error_t* error = nullptr;
    if (hs_compile(expression.text.c_str(), flags_of(expression), HS_MODE_BLOCK, &lowest, &database,
                   &error) != HS_SUCCESS) {
      report(index, error);
    }
    hs_free_database(database);
  }

  void compile_together() {
    std::vector<const char*> texts;
    std::vector<unsigned> flags, ids;
    for (const Expression& expression : expressions_) {
      texts.push_back(expression.text.c_str());
      flags.push_back(flags_of(expression));
      ids.push_back(expression.rule);
    }
    const auto lowest = platform();
    hs_database_t* database = nullptr;
    hs_compile_error_t* error = nullptr;
    if (hs_compile_multi(texts.data(), flags.data(), ids.data(),
                         static_cast<unsigned>(texts.size()), HS_MODE_BLOCK, &lowest, &database,
                         &error) != HS_SUCCESS) {
      const bool one = error != nullptr && error->expression >= 0;
      return report(one ? static_cast<std::size_t>(error->expression) : 0, error);
    }
    char* bytes = nullptr;
    std::size_t count = 0;
    if (hs_serialize_database(database, &bytes, &count) != HS_SUCCESS) {
      failed_ = true;
      return;
    }
    put({1, 0, count}, bytes);
  }

  void report(std::size_t index, const hs_compile_error_t* error) {
    const char* message = error != nullptr ? error->message : "Hyperscan has no memory for it.";
    ++errors_;
    put({0, static_cast<std::uint32_t>(index), std::strlen(message)}, message);
  }

  void put(const Piece& piece, const char* bytes) {
    write_all(&piece, sizeof piece);
    write_all(bytes, piece.bytes);
  }
  void write_all(const void* bytes, std::size_t count) {
    const auto* at = static_cast<const char*>(bytes);
    while (count > 0 && !failed_) {
      const auto written = ::write(out_, at, count);
      if (written <= 0) {
        failed_ = true;
        return;
      }
      at += written;
      count -= static_cast<std::size_t>(written);
    }
  }

  std::span<const Expression> expressions_;
  Progress& progress_;
  int out_;
  std::size_t errors_ = 0;
  bool failed_ = false;
};

// ---- the parent ----

[[nodiscard]] std::uint64_t resident_bytes(const std::string& process) {
  std::ifstream file("/proc/" + process + "/statm");
  std::uint64_t total = 0, resident = 0;
  file >> total >> resident;
  return resident * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

struct Ending {
  enum class Kind { report, too_long, too_large, broken };
  Kind kind = Kind::broken;
  std::uint32_t step = 0;  // where the child was
  bool together = false;   // the fault is of all of them
};

// Waits for the child; ends it where it passes a limit.
class Watch {
 public:
  Watch(pid_t child, const Progress& progress, const CompileLimits& limits)
      : child_(child),
        progress_(progress),
        limits_(limits),
        pidfd_(static_cast<int>(::syscall(SYS_pidfd_open, child, 0))),
        base_bytes_(resident_bytes("self")) {}

  [[nodiscard]] Ending run() {
    for (;;) {
      pollfd ended{.fd = pidfd_.get(), .events = POLLIN, .revents = 0};
      ::poll(&ended, 1, watch_interval_ms);
      int status = 0;
      if (::waitpid(child_, &status, WNOHANG) == child_) {
        const bool whole = WIFEXITED(status) && WEXITSTATUS(status) == 0;
        return ending(whole ? Ending::Kind::report : Ending::Kind::broken);
      }
      if (const auto passed_limit = passed()) {
        ::kill(child_, SIGKILL);
        ::waitpid(child_, &status, 0);
        return *passed_limit;
      }
    }
  }

 private:
  [[nodiscard]] Ending ending(Ending::Kind kind) const noexcept {
    return {kind, progress_.step.load(std::memory_order_relaxed),
            progress_.together.load(std::memory_order_relaxed) != 0};
  }

  [[nodiscard]] std::optional<Ending> passed() {
    const auto used = processor_time();
    const auto at = ending(Ending::Kind::report);
    if (at.step != step_) {
      step_ = at.step;
      step_started_ = used;
    }
    if (!at.together && used - step_started_ > limits_.one) return ending(Ending::Kind::too_long);
    if (used > limits_.all) {
      // Whatever it was at: many steps took the time, not this one.
      auto all = ending(Ending::Kind::too_long);
      all.together = true;
      return all;
    }
    if (resident_bytes(std::to_string(child_)) > base_bytes_ + limits_.memory_bytes)
      return ending(Ending::Kind::too_large);
    return std::nullopt;
  }

  [[nodiscard]] Duration processor_time() const noexcept {
    clockid_t clock{};
    timespec used{};
    if (::clock_getcpuclockid(child_, &clock) != 0 || ::clock_gettime(clock, &used) != 0) return {};
    return nanoseconds(used.tv_sec * 1'000'000'000 + used.tv_nsec);
  }

  pid_t child_;
  const Progress& progress_;
  const CompileLimits& limits_;
  UniqueFd pidfd_;
  std::uint64_t base_bytes_;
  std::uint32_t step_ = 0;
  Duration step_started_{};
};

using Errors = std::vector<ExpressionError>;
using Compiled = std::expected<std::vector<std::byte>, Errors>;

[[nodiscard]] std::unexpected<Errors> one_error(std::size_t index, std::string what,
                                                std::string hint = {}) {
  return std::unexpected(Errors{{index, std::move(what), std::move(hint)}});
}

[[nodiscard]] std::vector<std::byte> read_all(int fd) {
  const auto end = ::lseek(fd, 0, SEEK_END);
  std::vector<std::byte> bytes(end > 0 ? static_cast<std::size_t>(end) : 0);
  std::size_t at = 0;
  while (at < bytes.size()) {
    const auto got = ::pread(fd, bytes.data() + at, bytes.size() - at, static_cast<off_t>(at));
    if (got <= 0) return {};
    at += static_cast<std::size_t>(got);
  }
  return bytes;
}

// Whether an expression may look for the ends of the whole text, or undo what the flags say: where it holds the letters
// of such a thing, whatever they mean there.
[[nodiscard]] bool looks_beyond_lines(std::string_view text) noexcept {
  for (const std::string_view mark : {"\\A", "\\z", "\\Z", "\\G", "\\Q", "(*"}) {
    if (text.find(mark) != std::string_view::npos) return true;
  }
  for (auto at = text.find("(?"); at != std::string_view::npos; at = text.find("(?", at + 1)) {
    if (text.substr(at + 2, 1) != ":") return true;
  }
  return false;
}

[[nodiscard]] std::vector<std::byte> section_of(ConstBytes database,
                                                std::span<const Expression> expressions) {
  catalog::PolicyDatabase head{};
  head.database_bytes = database.size();
  head.checksum = catalog::policy_checksum(database);
  head.expression_count = static_cast<std::uint32_t>(expressions.size());
  const bool lines = std::ranges::none_of(
      expressions, [](const Expression& e) { return looks_beyond_lines(e.text); });
  if (lines) head.flags = catalog::policy_database_flag::lines;
  std::strncpy(head.library.data(), hs_version(), head.library.size() - 1);
  std::vector<std::byte> section(sizeof head + database.size());
  store(section.data(), head);
  std::ranges::copy(database, section.begin() + sizeof head);
  return section;
}

// The child's report. It is our own code that wrote it, on which a limit of memory may have fallen.
[[nodiscard]] Compiled read_report(ConstBytes report, std::span<const Expression> expressions) {
  Errors errors;
  while (report.size() >= sizeof(Piece)) {
    const auto piece = load<Piece>(report.data());
    report = report.subspan(sizeof piece);
    if (piece.bytes > report.size() || piece.expression >= expressions.size()) break;
    const auto bytes = report.first(piece.bytes);
    report = report.subspan(piece.bytes);
    if (piece.is_database != 0) return section_of(bytes, expressions);
    errors.push_back(
        {piece.expression, {reinterpret_cast<const char*>(bytes.data()), bytes.size()}, {}});
  }
  if (errors.empty()) return one_error(0, "the compiler of expressions gave no report");
  return std::unexpected(std::move(errors));
}

struct Run {
  Ending ending;
  std::vector<std::byte> report;
};

[[nodiscard]] Result<Run> run_child(std::span<const Expression> expressions,
                                    const CompileLimits& limits, Mode mode) {
  const UniqueFd out(::memfd_create("pharos-expressions", MFD_CLOEXEC));
  if (!out) return fail_errno("memfd_create");
  void* shared =
      ::mmap(nullptr, sizeof(Progress), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) return fail_errno("mmap");
  const auto unmap = [](Progress* at) { ::munmap(at, sizeof(Progress)); };
  const std::unique_ptr<Progress, decltype(unmap)> progress(new (shared) Progress, unmap);
  const pid_t child = ::fork();
  if (child < 0) return fail_errno("fork");
  if (child == 0) {
    int status = 1;
    try {
      status = Child(expressions, *progress, out.get()).run(mode);
    } catch (...) {  // memory; the parent hears of it by the status
      status = 1;
    }
    ::_exit(status);
  }
  Run run;
  run.ending = Watch(child, *progress, limits).run();
  if (run.ending.kind == Ending::Kind::report) run.report = read_all(out.get());
  return run;
}

[[nodiscard]] std::unexpected<Errors> refuse(std::size_t index, Ending::Kind kind,
                                             const CompileLimits& limits) {
  if (kind == Ending::Kind::too_large) {
    return one_error(
        index,
        fmt::format("compiling it takes more than {} MiB of memory", limits.memory_bytes >> 20),
        "make its repeat counts smaller, or divide it");
  }
  return one_error(index,
                   fmt::format("compiling it takes longer than {:.1f} s", limits.one.seconds()),
                   "make its repeat counts smaller, or divide it");
}

// All of them together passed a limit. If one alone does, it is to blame.
[[nodiscard]] std::unexpected<Errors> blame(std::span<const Expression> expressions,
                                            Ending::Kind kind, const CompileLimits& limits) {
  CompileLimits each = limits;
  each.all = nanoseconds(limits.one.ns * static_cast<std::int64_t>(expressions.size() + 1));
  const auto run = run_child(expressions, each, Mode::each);
  const bool found =
      run && run->ending.step > 0 &&
      (run->ending.kind == Ending::Kind::too_long || run->ending.kind == Ending::Kind::too_large);
  if (found) return refuse(run->ending.step - 1, run->ending.kind, limits);
  if (kind == Ending::Kind::too_large) {
    return one_error(0,
                     fmt::format("{} expressions together take more than {} MiB to compile",
                                 expressions.size(), limits.memory_bytes >> 20),
                     "write plain patterns where they will do: they are not compiled");
  }
  return one_error(0,
                   fmt::format("{} expressions together take longer than {:.0f} s to compile",
                               expressions.size(), limits.all.seconds()),
                   "write plain patterns where they will do: they are not compiled");
}

}  // namespace

Compiled compile_expressions(std::span<const Expression> expressions, const CompileLimits& limits) {
  const auto run = run_child(expressions, limits, Mode::all);
  if (!run) return one_error(0, run.error().text());
  const Ending& ending = run->ending;
  switch (ending.kind) {
    case Ending::Kind::report:
      return read_report(run->report, expressions);
    case Ending::Kind::broken:
      break;
    case Ending::Kind::too_long:
    case Ending::Kind::too_large:
      if (ending.together) return blame(expressions, ending.kind, limits);
      return refuse(ending.step > 0 ? ending.step - 1 : 0, ending.kind, limits);
  }
  const bool one = !ending.together && ending.step > 0;
  return one_error(one ? ending.step - 1 : 0, "the compiler of expressions ended in disorder");
}

}  // namespace pharos::controlplane
