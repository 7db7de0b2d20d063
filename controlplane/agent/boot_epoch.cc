// One number in one file, replaced atomically; see boot_epoch.hh.
#include "pharos/controlplane/agent/boot_epoch.hh"

#include <fcntl.h>
#include <sys/file.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <filesystem>
#include <optional>
#include <string_view>
#include <system_error>

namespace pharos::agent {

namespace {

// The stored number; nothing where there is no file yet.
Result<std::optional<std::uint64_t>> read_stored(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) {
    if (errno == ENOENT) return std::nullopt;
    return fail_errno("open", path);
  }
  std::array<char, 64> buffer{};
  const auto count = ::read(fd.get(), buffer.data(), buffer.size());
  if (count < 0) return fail_errno("read", path);
  std::uint64_t value = 0;
  const auto* end_of_text = buffer.data() + count;
  const auto [end, code] = std::from_chars(buffer.data(), end_of_text, value);
  const std::string_view rest(end, static_cast<std::size_t>(end_of_text - end));
  if (code != std::errc{} || rest.find_first_not_of('\n') != std::string_view::npos) {
    return fail(ErrorCode::invalid, "holds no boot epoch", path,
                "write a number larger than any before, such as the current time in ms, or remove "
                "the file where the "
                "clock is known to be right");
  }
  return value;
}

Status write_stored(const std::string& directory, const std::string& path, std::uint64_t value) {
  const auto text = std::to_string(value) + "\n";
  const auto temporary = path + ".new";
  ::unlink(temporary.c_str());  // left by a process that was killed
  const UniqueFd fd(
      ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!fd) return fail_errno("open", temporary);
  if (::write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    return fail_errno("write", temporary);
  }
  if (::fsync(fd.get()) != 0) return fail_errno("fsync", temporary);
  if (::rename(temporary.c_str(), path.c_str()) != 0) return fail_errno("rename", path);
  const UniqueFd folder(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder || ::fsync(folder.get()) != 0) return fail_errno("fsync", directory);
  return {};
}

}  // namespace

Result<BootEpoch> BootEpoch::begin(const std::string& state_directory, WallTime wall) {
  constexpr std::string_view hint =
      "the agent must be able to write there: choose another state_directory, or chown it";
  const auto add_hint = [&](Error error) {
    if (error.hint.empty()) error.hint = hint;
    return std::unexpected(std::move(error).in("state_directory"));
  };
  std::error_code code;
  std::filesystem::create_directories(state_directory, code);
  if (code)
    return add_hint(
        {ErrorCode::unavailable, "cannot be made: " + code.message(), state_directory, {}});
  const auto lock_path = state_directory + "/lock";
  UniqueFd lock(::open(lock_path.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!lock) return add_hint(fail_errno("open", lock_path).error());
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    return fail(ErrorCode::conflict, "another agent uses it", "state_directory: " + state_directory,
                "give each agent of this machine a state_directory of its own");
  }
  const auto path = state_directory + "/boot_epoch";
  const auto stored = read_stored(path);
  if (!stored) return add_hint(stored.error());
  const auto from_clock =
      static_cast<std::uint64_t>(std::max<std::int64_t>(wall.ns / 1'000'000, 1));
  const auto value = std::max(from_clock, stored->value_or(0) + 1);
  if (auto written = write_stored(state_directory, path, value); !written)
    return add_hint(written.error());
  return BootEpoch(std::move(lock), value);
}

}  // namespace pharos::agent
