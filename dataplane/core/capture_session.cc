#include "pharos/dataplane/core/capture_session.hh"

#include <utility>

namespace pharos::dataplane {

CaptureSession::CaptureSession(std::uint64_t id, CaptureOrder order, unsigned seat_count,
                               Instant now)
    : id_(id), order_(std::move(order)), last_read_(now) {
  auto seats = std::make_shared<std::vector<std::unique_ptr<CaptureSeat>>>();
  for (unsigned seat = 0; seat < seat_count; ++seat)
    seats->push_back(std::make_unique<CaptureSeat>(order_.ring_bytes));
  seats_ = std::move(seats);
}

CaptureWatch CaptureSession::watch() const {
  CaptureWatch watch;
  watch.port = order_.port;
  watch.dns_port = order_.dns_port;
  watch.frame_bytes_max = order_.frame_bytes_max;
  watch.filter = order_.filter;
  watch.mask = order_.mask;
  watch.seats = seats_;
  return watch;
}

bool CaptureSession::read(std::uint64_t bytes_max, Instant now, const Take& take) {
  last_read_ = now;
  std::uint64_t bytes = 0;
  for (const auto& seat : *seats_) {
    for (auto record = seat->ring.front(); !record.empty(); record = seat->ring.front()) {
      if (bytes >= bytes_max) return true;
      const auto frame = record.subspan(sizeof(CapturedHead));
      take(load<CapturedHead>(record.data()), frame);
      bytes += record.size();
      ++frames_;
      seat->ring.pop();
    }
  }
  return false;
}

std::uint64_t CaptureSession::dropped() const {
  std::uint64_t sum = 0;
  for (const auto& seat : *seats_) sum += seat->ring.dropped();
  return sum;
}

}  // namespace pharos::dataplane
