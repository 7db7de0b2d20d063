#include "pharos/dataplane/lane/exception_interface.hh"

#include "pharos/wire/frame.hh"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

namespace pharos::dataplane {

namespace {

constexpr unsigned frames_a_round = 64;
constexpr std::size_t macs_bytes = 12;
constexpr std::size_t tag_bytes = sizeof(frame::VlanTag);

}  // namespace

Bytes untag(Bytes frame, std::uint16_t vlan) noexcept {
  if (frame.size() < sizeof(frame::Ethernet) + tag_bytes) return frame;
  const auto type = load<Be16>(frame.data() + macs_bytes);
  const unsigned control = load<Be16>(frame.data() + macs_bytes + 2);
  const bool tagged = type == frame::ether_vlan || type == frame::ether_qinq;
  if (!tagged || (control & frame::vlan_id_mask) != vlan) return frame;
  std::memmove(frame.data() + tag_bytes, frame.data(), macs_bytes);
  return frame.subspan(tag_bytes);
}

Bytes tag(std::byte* buffer, std::size_t bytes, std::uint16_t vlan) noexcept {
  if (bytes < macs_bytes) return {buffer + tag_bytes, bytes};
  std::memmove(buffer, buffer + tag_bytes, macs_bytes);
  store(buffer + macs_bytes, Be16(frame::ether_vlan));
  store(buffer + macs_bytes + 2, Be16(vlan));
  return {buffer, bytes + tag_bytes};
}

ExceptionInterface::ExceptionInterface(Tap tap, std::vector<std::unique_ptr<ExceptionQueue>> queues,
                                       std::optional<std::uint16_t> vlan, CoreCounters& counters)
    : tap_(std::move(tap)), queues_(std::move(queues)), vlan_(vlan), counters_(counters) {}

bool ExceptionInterface::has_worker_frames() const noexcept {
  return std::ranges::any_of(queues_, [](const auto& q) { return q->has_worker_frames(); });
}

void ExceptionInterface::write(ConstBytes frame) noexcept {
  std::array<std::byte, ring_record_bytes_max> copy;
  if (vlan_) {
    std::ranges::copy(frame, copy.begin());
    frame = untag({copy.data(), frame.size()}, *vlan_);
  }
  // The kernel refuses what is no frame at all, and everything while the interface is down.
  if (::write(tap_.fd(), frame.data(), frame.size()) != static_cast<ssize_t>(frame.size()))
    counters_.count(Counter::exception_lost);
}

void ExceptionInterface::to_kernel() noexcept {
  for (auto& queue : queues_) {
    for (unsigned i = 0; i < frames_a_round; ++i) {
      const auto frame = queue->take_from_worker();
      if (!frame) break;
      write(*frame);
    }
    queue->release_from_worker();
  }
}

void ExceptionInterface::from_kernel() noexcept {
  std::array<std::byte, tag_bytes + ring_record_bytes_max> buffer;
  ExceptionQueue& queue = *queues_.front();
  bool given = false;
  for (unsigned i = 0; i < frames_a_round; ++i) {
    const auto got = ::read(tap_.fd(), buffer.data() + tag_bytes, ring_record_bytes_max);
    if (got <= 0) break;
    const auto bytes = static_cast<std::size_t>(got);
    const Bytes frame =
        vlan_ ? tag(buffer.data(), bytes, *vlan_) : Bytes(buffer.data() + tag_bytes, bytes);
    if (queue.give_to_worker(frame)) {
      given = true;
    } else {
      counters_.count(Counter::exception_lost);
    }
  }
  if (given) queue.wake_worker();
}

}  // namespace pharos::dataplane
