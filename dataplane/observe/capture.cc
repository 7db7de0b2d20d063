#include "pharos/dataplane/observe/capture.hh"

#include "pharos/base/clock.hh"
#include "pharos/wire/dns.hh"

#include <algorithm>
#include <bitset>
#include <cstring>

namespace pharos::dataplane {

namespace {

[[nodiscard]] ConstBytes copy_of(const CaptureSeat& seat, unsigned index) noexcept {
  return {seat.copies.get() + std::size_t{index} * capture_frame_bytes_max,
          std::min<std::size_t>(seat.lengths[index], capture_frame_bytes_max)};
}

[[nodiscard]] bool is_named(ConstBytes message, const dns::WireName& wanted,
                            CaptureFilter::Reach reach) noexcept {
  if (message.size() <= dns::header_bytes) return false;
  const auto question = message.subspan(dns::header_bytes);
  const unsigned bytes = dns::name_bytes_at(question);
  if (bytes == 0) return false;
  const auto name = question.first(bytes);
  if (dns::names_equal(name, wanted.view())) return reach != CaptureFilter::Reach::below;
  return reach != CaptureFilter::Reach::name && dns::is_at_or_below(name, wanted.view());
}

}  // namespace

void CaptureWatch::before(unsigned number, const FrameBurst& burst) const noexcept {
  CaptureSeat& seat = *(*seats)[number];
  seat.received_ns = wall_now().ns;
  for (unsigned i = 0; i < burst.frame_count; ++i) {
    const Frame& frame = burst.frames[i];
    seat.lengths[i] = frame.length;
    std::memcpy(seat.copies.get() + std::size_t{i} * capture_frame_bytes_max, frame.data,
                std::min<std::size_t>(frame.length, capture_frame_bytes_max));
  }
}

// Queries first with their replies, then all other frames.
void CaptureWatch::after(unsigned number, const FrameBurst& burst) const noexcept {
  CaptureSeat& seat = *(*seats)[number];
  const auto answered_ns = wall_now().ns;
  std::bitset<burst_frames_max> is_query;
  for (unsigned i = 0; i < burst.query_count; ++i) {
    const unsigned index = burst.query_frames[i];
    is_query.set(index);
    const Query& query = burst.query_slots[i];
    const Frame& frame = burst.frames[index];
    const auto offset = static_cast<std::size_t>(query.message - frame.data);
    const auto copy = copy_of(seat, index);
    const auto request = copy.subspan(std::min(offset, copy.size()));
    if (!takes(query, request.first(std::min<std::size_t>(request.size(), query.length)))) continue;
    give(seat, copy, seat.lengths[index], Direction::in, seat.received_ns);
    if (query.verdict != Verdict::answered) continue;
    give(seat, {frame.data, frame.length}, frame.length, Direction::out, answered_ns);
  }
  for (unsigned i = 0; i < burst.frame_count; ++i) {
    const auto copy = copy_of(seat, i);
    if (is_query.test(i) || !takes_other(copy, Direction::in)) continue;
    give(seat, copy, seat.lengths[i], Direction::in, seat.received_ns);
    const Frame& frame = burst.frames[i];
    if (frame.verdict == Verdict::local_reply)
      give(seat, {frame.data, frame.length}, frame.length, Direction::out, answered_ns);
  }
}

void CaptureWatch::sent(unsigned number, ConstBytes frame) const noexcept {
  if (!takes_other(frame, Direction::out)) return;
  give(*(*seats)[number], frame, static_cast<unsigned>(frame.size()), Direction::out,
       wall_now().ns);
}

bool CaptureWatch::takes_client(const IpAddress& client) const noexcept {
  return !filter.client || filter.client->contains(client);
}

// The question as it was asked; the RCODE as it is answered.
bool CaptureWatch::takes(const Query& query, ConstBytes request) const noexcept {
  if (!takes_client(query.source)) return false;
  if (filter.name && !is_named(request, *filter.name, filter.reach)) return false;
  if (!filter.rcode) return true;
  if (query.verdict != Verdict::answered) return false;
  const auto header = load<dns::Header>(query.message);
  return (header.flags & dns::flag::rcode_mask) == *filter.rcode;
}

bool CaptureWatch::takes_other(ConstBytes frame, Direction direction) const noexcept {
  if (filter.dns_only()) return false;
  if (!filter.client) return true;
  const auto peer = peer_of(frame, layout_of(frame), direction);
  return peer && takes_client(*peer);
}

// Masked where it lies in the ring, before anybody can see it. It is read whole for that, and then cut to what is kept.
void CaptureWatch::give(CaptureSeat& seat, ConstBytes frame, unsigned frame_bytes,
                        Direction direction, std::int64_t wall_ns) const noexcept {
  const auto copied = std::min<std::size_t>(frame.size(), capture_frame_bytes_max);
  std::byte* record = seat.ring.reserve(sizeof(CapturedHead) + copied);
  if (record == nullptr) return;  // the ring counts it
  const CapturedHead head{.wall_ns = wall_ns, .frame_bytes = frame_bytes, .direction = direction};
  store(record, head);
  std::byte* bytes = record + sizeof head;
  std::memcpy(bytes, frame.data(), copied);
  auto kept = static_cast<unsigned>(copied);
  if (mask) kept = mask_frame({bytes, copied}, direction, dns_port, *mask);
  kept = std::min(kept, frame_bytes_max);
  // Nothing of what was cut stays behind in the ring.
  std::memset(bytes + kept, 0, copied - kept);
  seat.ring.commit(sizeof head + kept);
}

}  // namespace pharos::dataplane
