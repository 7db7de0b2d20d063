#include "pcapng.hh"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <string_view>

namespace pharos::controlplane::ctl {

namespace {

constexpr std::uint32_t section_block = 0x0a0d0d0a, interface_block = 1, statistics_block = 5,
                        frame_block = 6;
constexpr std::uint16_t option_end = 0, option_comment = 1, section_application = 4,
                        interface_name = 2, interface_resolution = 9, frame_flags = 2,
                        statistics_dropped = 5;
constexpr std::uint16_t link_ethernet = 1;
constexpr char nanoseconds_resolution = 9;
constexpr std::uint32_t flag_inbound = 1, flag_outbound = 2;
constexpr std::size_t buffer_bytes = 256U << 10;

// A block is built in host order, which its section header tells.
class Block {
 public:
  explicit Block(std::uint32_t type) {
    put(type);
    put(std::uint32_t{0});  // its length, in the end
  }
  template <typename T>
  void put(T value) {
    text_ += as_text(object_bytes(value));
  }
  void put_padded(std::string_view bytes) {
    text_ += bytes;
    text_.resize(round_up<std::size_t>(text_.size(), 4), '\0');
  }
  void option(std::uint16_t code, std::string_view value) {
    if (value.empty()) return;
    put(code);
    put(static_cast<std::uint16_t>(value.size()));
    put_padded(value);
  }
  template <typename T>
  void option_of(std::uint16_t code, T value) {
    option(code, as_text(object_bytes(value)));
  }
  [[nodiscard]] std::string take() {
    put(option_end);
    put(std::uint16_t{0});
    const auto length = static_cast<std::uint32_t>(text_.size() + sizeof(std::uint32_t));
    put(length);
    store(text_.data() + sizeof(std::uint32_t), length);
    return std::move(text_);
  }

 private:
  std::string text_;
};

void put_time(Block& block, std::int64_t time_ns) {
  const auto ns = static_cast<std::uint64_t>(time_ns);
  block.put(static_cast<std::uint32_t>(ns >> 32));
  block.put(static_cast<std::uint32_t>(ns));
}

[[nodiscard]] std::string file_head(const PcapngTarget& target) {
  Block section(section_block);
  section.put(std::uint32_t{0x1a2b3c4d});
  section.put(std::uint16_t{1});  // version 1.0
  section.put(std::uint16_t{0});
  section.put(std::int64_t{-1});  // as long as the file
  section.option(section_application, "pharosctl " PHAROS_VERSION);
  Block interface(interface_block);
  interface.put(link_ethernet);
  interface.put(std::uint16_t{0});
  interface.put(target.frame_bytes_max);
  interface.option(option_comment, target.comment);
  interface.option(interface_name, target.interface);
  interface.option_of(interface_resolution, nanoseconds_resolution);
  return section.take() + interface.take();
}

}  // namespace

Result<PcapngWriter> PcapngWriter::open(PcapngTarget target) {
  PcapngWriter writer(std::move(target));
  if (auto ok = writer.begin_file(); !ok) return std::unexpected(std::move(ok.error()));
  return writer;
}

Status PcapngWriter::begin_file() {
  if (target_.path == "-") {
    file_ = UniqueFd(::dup(STDOUT_FILENO));
  } else {
    file_ = UniqueFd(
        ::open(target_.path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  }
  if (!file_) return fail_errno("open", target_.path);
  buffer_ = file_head(target_);
  file_bytes_ = buffer_.size();
  return {};
}

// PATH becomes PATH.1, which becomes PATH.2 and so on; the last one goes.
Status PcapngWriter::rotate() {
  if (auto ok = flush(); !ok) return ok;
  file_.reset();
  const auto name = [&](unsigned n) {
    return n == 0 ? target_.path : target_.path + "." + std::to_string(n);
  };
  for (unsigned n = target_.files - 1; n > 0; --n) {
    if (::rename(name(n - 1).c_str(), name(n).c_str()) != 0 && errno != ENOENT)
      return fail_errno("rename", name(n - 1));
  }
  return begin_file();
}

Result<bool> PcapngWriter::write(const CapturedFrame& frame) {
  Block block(frame_block);
  block.put(std::uint32_t{0});  // of the only interface
  put_time(block, frame.time_ns);
  block.put(static_cast<std::uint32_t>(frame.bytes.size()));
  block.put(frame.wire_bytes);
  block.put_padded(frame.bytes);
  block.option_of(frame_flags, frame.out ? flag_outbound : flag_inbound);
  const auto text = block.take();
  if (target_.file_bytes_max != 0 && file_bytes_ + text.size() > target_.file_bytes_max) {
    if (target_.files < 2 || target_.path == "-") return false;
    if (auto ok = rotate(); !ok) return std::unexpected(std::move(ok.error()));
  }
  buffer_ += text;
  file_bytes_ += text.size();
  if (buffer_.size() >= buffer_bytes) {
    if (auto ok = flush(); !ok) return std::unexpected(std::move(ok.error()));
  }
  return true;
}

Status PcapngWriter::flush() {
  std::size_t written = 0;
  while (written < buffer_.size()) {
    const auto some = ::write(file_.get(), buffer_.data() + written, buffer_.size() - written);
    if (some < 0 && errno == EINTR) continue;
    if (some < 0) return fail_errno("write", target_.path);
    written += static_cast<std::size_t>(some);
  }
  buffer_.clear();
  return {};
}

Status PcapngWriter::finish(std::uint64_t dropped, std::int64_t time_ns) {
  Block block(statistics_block);
  block.put(std::uint32_t{0});
  put_time(block, time_ns);
  block.option_of(statistics_dropped, dropped);
  buffer_ += block.take();
  return flush();
}

}  // namespace pharos::controlplane::ctl
