#include "pharos/dataplane/io/burst.hh"

#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_pause.h>
#include <rte_prefetch.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace pharos::dataplane::io {

namespace {

// Of both sums a port says nothing, bad, good, or none: both bits, the field is unfinished and the bytes are known to be
// right (frames that never left the machine, virtio). Good and none have the good bit. Bad ones are left to software,
// which finds the same and counts it.
static_assert(RTE_MBUF_F_RX_IP_CKSUM_NONE ==
              (RTE_MBUF_F_RX_IP_CKSUM_GOOD | RTE_MBUF_F_RX_IP_CKSUM_BAD));
static_assert(RTE_MBUF_F_RX_L4_CKSUM_NONE ==
              (RTE_MBUF_F_RX_L4_CKSUM_GOOD | RTE_MBUF_F_RX_L4_CKSUM_BAD));
[[nodiscard]] std::uint8_t receive_flags_of(std::uint64_t mbuf_flags) noexcept {
  std::uint8_t flags = 0;
  if ((mbuf_flags & RTE_MBUF_F_RX_IP_CKSUM_GOOD) != 0) flags |= receive_flag::ipv4_checksum_good;
  if ((mbuf_flags & RTE_MBUF_F_RX_L4_CKSUM_GOOD) != 0) flags |= receive_flag::udp_checksum_good;
  return flags;
}

// Mbuf flags for each combination of transmit_flag. Without work left for the port it is told nothing.
constexpr auto mbuf_flags_of = [] {
  std::array<std::uint64_t, 8> table{};
  for (unsigned flags = 0; flags < table.size(); ++flags) {
    if ((flags & (transmit_flag::ipv4_checksum | transmit_flag::udp_checksum)) == 0) continue;
    table[flags] = (flags & transmit_flag::ipv6) != 0 ? RTE_MBUF_F_TX_IPV6 : RTE_MBUF_F_TX_IPV4;
    if ((flags & transmit_flag::ipv4_checksum) != 0) table[flags] |= RTE_MBUF_F_TX_IP_CKSUM;
    if ((flags & transmit_flag::udp_checksum) != 0) table[flags] |= RTE_MBUF_F_TX_UDP_CKSUM;
  }
  return table;
}();

[[nodiscard]] unsigned room_of(const rte_mbuf& mbuf, const QueueHandle& queue) noexcept {
  const unsigned behind_data = mbuf.buf_len - mbuf.data_off;
  const unsigned room = behind_data > query_slack_bytes ? behind_data - query_slack_bytes : 0;
  return std::min<unsigned>(room, queue.frame_bytes_max);
}

// Frames of several segments come from jumbo frames only (net_pcap, net_tap). What is behind the first segment is not
// looked at: a packet that goes on there contradicts its length and is dropped; mere padding goes here.
[[gnu::cold]] void cut_to_one_segment(rte_mbuf& mbuf) noexcept {
  rte_pktmbuf_free(mbuf.next);
  mbuf.next = nullptr;
  mbuf.nb_segs = 1;
}

void prepare(rte_mbuf& mbuf, const Frame& frame) noexcept {
  if (mbuf.nb_segs != 1) [[unlikely]]
    cut_to_one_segment(mbuf);
  mbuf.data_len = frame.length;
  mbuf.pkt_len = frame.length;
  mbuf.ol_flags = mbuf_flags_of[frame.transmit_flags & 7U];
  mbuf.tx_offload = rte_mbuf_tx_offload(frame.ip_offset, frame.ip_header_bytes, 0, 0, 0, 0, 0);
}

// Tries as often as is bounded; returns how many were taken. The others are still the caller's.
[[nodiscard]] unsigned transmit(const QueueHandle& queue, rte_mbuf** mbufs,
                                unsigned count) noexcept {
  unsigned taken = 0;
  for (unsigned tries = 0; taken < count && tries < transmit_tries_max; ++tries) {
    if (tries != 0) rte_pause();
    taken += rte_eth_tx_burst(queue.port, queue.queue, mbufs + taken,
                              static_cast<std::uint16_t>(count - taken));
  }
  return taken;
}

}  // namespace

unsigned receive_burst(const QueueHandle& queue, FrameBurst& frames, MbufBurst& mbufs) noexcept {
  frames.begin();
  const unsigned count =
      rte_eth_rx_burst(queue.port, queue.queue, mbufs.mbufs.data(), burst_frames_max);
  for (unsigned i = 0; i < count; ++i) rte_prefetch0(rte_pktmbuf_mtod(mbufs.mbufs[i], const void*));
  for (unsigned i = 0; i < count; ++i) {
    rte_mbuf& mbuf = *mbufs.mbufs[i];
    const std::uint8_t flags =
        queue.receive_checksum ? receive_flags_of(mbuf.ol_flags) : std::uint8_t{0};
    frames.add(rte_pktmbuf_mtod(&mbuf, std::byte*), mbuf.data_len, room_of(mbuf, queue), flags);
  }
  return count;
}

void transmit_burst(const QueueHandle& queue, FrameBurst& frames, MbufBurst& mbufs,
                    CoreCounters& counters) noexcept {
  std::array<rte_mbuf*, burst_frames_max> list;
  unsigned count = 0;
  for (const auto index : frames.releases()) list[count++] = mbufs.mbufs[index];
  for (const auto index : frames.exceptions()) list[count++] = mbufs.mbufs[index];
  if (count != 0) rte_pktmbuf_free_bulk(list.data(), count);

  count = 0;
  for (const auto index : frames.sends()) {
    rte_mbuf* mbuf = mbufs.mbufs[index];
    prepare(*mbuf, frames.frames[index]);
    list[count++] = mbuf;
  }
  const unsigned taken = transmit(queue, list.data(), count);
  count_sent(frames, taken, counters);
  if (taken < count) rte_pktmbuf_free_bulk(list.data() + taken, count - taken);
}

bool OutgoingBurst::add(ConstBytes frame) noexcept {
  constexpr std::size_t tag_bytes = 4;
  if (frame.size() > queue_.frame_bytes_max + tag_bytes) return false;
  rte_mbuf* mbuf = rte_pktmbuf_alloc(queue_.pool);
  if (mbuf == nullptr) return false;
  char* data = rte_pktmbuf_append(mbuf, static_cast<std::uint16_t>(frame.size()));
  if (data == nullptr) {
    rte_pktmbuf_free(mbuf);
    return false;
  }
  std::memcpy(data, frame.data(), frame.size());
  mbufs_[count_++] = mbuf;
  return true;
}

unsigned OutgoingBurst::send() noexcept {
  const unsigned count = std::exchange(count_, 0U);
  const unsigned taken = transmit(queue_, mbufs_.data(), count);
  if (taken < count) rte_pktmbuf_free_bulk(mbufs_.data() + taken, count - taken);
  return taken;
}

}  // namespace pharos::dataplane::io
