#include "pharos/dataplane/lane/tcp_stream.hh"

#include "pharos/base/assert.hh"

#include <algorithm>

namespace pharos::dataplane {

std::size_t TcpStream::room() const noexcept {
  return output().empty() ? input_bytes_max - pending_bytes() : 0;
}

void TcpStream::receive(ConstBytes segment) {
  ASSERT(segment.size() <= room());
  settle();
  input_.insert(input_.end(), segment.begin(), segment.end());
}

void TcpStream::settle() {
  if (taken_ == 0) return;
  // A copy and not an erase: what is left is mostly nothing, and never needs the memory that it came in.
  std::vector<std::byte> rest(input_.begin() + static_cast<std::ptrdiff_t>(taken_), input_.end());
  input_.swap(rest);
  taken_ = 0;
}

// Length of the next message by its prefix; only where the prefix is whole.
std::size_t TcpStream::announced_bytes() const noexcept {
  return load<Be16>(input_.data() + taken_);
}

bool TcpStream::has_message() const noexcept {
  if (pending_bytes() < prefix_bytes) return false;
  const auto bytes = announced_bytes();
  return bytes < dns::header_bytes || pending_bytes() >= prefix_bytes + bytes;
}

bool TcpStream::is_partial() const noexcept {
  return pending_bytes() != 0 && !has_message();
}

TcpStream::Next TcpStream::next(ConstBytes& message) noexcept {
  if (!output().empty()) return Next::none;
  if (!has_message()) return Next::none;
  const auto bytes = announced_bytes();
  if (bytes < dns::header_bytes) return Next::broken;
  message = ConstBytes(input_).subspan(taken_ + prefix_bytes, bytes);
  taken_ += prefix_bytes + bytes;
  return Next::message;
}

unsigned TcpStream::burst_messages(unsigned burst_max) const noexcept {
  const auto fits = burst_bytes_max / (prefix_bytes + reply_bytes_seen_max_);
  return static_cast<unsigned>(std::clamp<std::size_t>(fits, 1, burst_max));
}

void TcpStream::reply(ConstBytes message) {
  ASSERT(message.size() <= dns::message_bytes_max);
  reply_bytes_seen_max_ = std::max(reply_bytes_seen_max_, message.size());
  const Be16 prefix(static_cast<std::uint16_t>(message.size()));
  const auto bytes = object_bytes(prefix);
  output_.insert(output_.end(), bytes.begin(), bytes.end());
  output_.insert(output_.end(), message.begin(), message.end());
}

ConstBytes TcpStream::output() const noexcept {
  return ConstBytes(output_).subspan(sent_);
}

void TcpStream::sent(std::size_t bytes) noexcept {
  ASSERT(bytes <= output().size());
  sent_ += bytes;
  if (sent_ < output_.size()) return;
  std::vector<std::byte>().swap(output_);
  sent_ = 0;
}

}  // namespace pharos::dataplane
