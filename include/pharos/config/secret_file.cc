// Secrets of the configuration: written in place, or on the first line of a file that its owner keeps to themselves.
#include "pharos/base/fd.hh"
#include "pharos/config/keys.hh"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>

namespace pharos::config {

namespace {

constexpr std::size_t line_bytes_max = 256;

[[nodiscard]] std::string_view first_line(std::string_view text) {
  text = text.substr(0, text.find('\n'));
  const auto last = text.find_last_not_of(" \t\r");
  return last == std::string_view::npos ? std::string_view() : text.substr(0, last + 1);
}

[[nodiscard]] std::string how_to_make(std::size_t bytes) {
  return bytes == 16 ? "pharosctl key generate --bytes 16 --bare makes one"
                     : "pharosctl key generate --bare makes one";
}

}  // namespace

bool read_secret(Reader& reader, const Node& node, std::string_view text,
                 std::span<std::uint8_t> to) {
  const auto parsed = parse_secret(text, to);
  if (!parsed) reader.mistake(node, parsed.error());
  return parsed.has_value();
}

bool read_secret_file(Reader& reader, const Node& node, const std::string& path,
                      std::span<std::uint8_t> to, SecretOwner owner) {
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file && errno == EACCES && owner == SecretOwner::other_process) return false;
  struct stat info{};
  std::array<char, line_bytes_max> bytes{};
  const bool regular = file && ::fstat(file.get(), &info) == 0 && S_ISREG(info.st_mode);
  const auto length = regular ? ::read(file.get(), bytes.data(), bytes.size()) : -1;
  if (length < 0) {
    reader.mistake(node, "key file '" + path + "' cannot be read", how_to_make(to.size()));
    return false;
  }
  if ((info.st_mode & S_IRWXO) != 0) {
    reader.mistake(node, "key file '" + path + "' is open to every user", "chmod o= " + path);
    return false;
  }
  const auto line = first_line({bytes.data(), static_cast<std::size_t>(length)});
  if (const auto parsed = parse_secret(line, to); !parsed) {
    reader.mistake(node, "key file '" + path + "': " + parsed.error().what, parsed.error().hint);
    return false;
  }
  return true;
}

}  // namespace pharos::config
