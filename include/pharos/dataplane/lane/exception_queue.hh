// ExceptionQueue: the frames of one queue of a port on their way between its worker and the lane, which has the exception
// interface of the port.
//
//   worker   give() ------ ring: frames for the kernel ------> take_from_worker()   lane
//            take_from_kernel() <- ring: the kernel's frames -- give_to_worker()
//
// Frames are copied, and no mbuf leaves its worker: a pool that lane and worker shared could make the worker wait for a lane that
// the scheduler has pushed aside in the middle of it. Rings that are full drop and never block; a side that sleeps
// is woken with one system call, a side that is awake with none.
#pragma once

#include "pharos/dataplane/lane/waker.hh"
#include "pharos/shared/spsc_ring.hh"

#include <memory>
#include <optional>

namespace pharos::dataplane {

class ExceptionQueue {
 public:
  static constexpr std::uint64_t ring_bytes = 256U
                                              << 10;  // about 150 full frames, or 2500 short ones

  // `lane`: wakes the lane; outlives the queue. Errors: unavailable.
  [[nodiscard]] static Result<std::unique_ptr<ExceptionQueue>> create(Waker& lane);

  // ---- worker ----
  // False: no room, or longer than ring_record_bytes_max.
  bool give(ConstBytes frame) noexcept {
    return to_kernel_in_.push(RingRecordKind::frame, frame, {});
  }
  // Behind the frames of a burst.
  void wake_lane() noexcept { lane_.wake(); }
  [[nodiscard]] bool has_kernel_frames() const noexcept { return !to_port_out_.empty(); }
  // The next frame to send out of the port; good until the next call.
  [[nodiscard]] std::optional<ConstBytes> take_from_kernel() noexcept { return take(to_port_out_); }
  void release_from_kernel() noexcept { to_port_out_.release(); }
  // Where the worker sleeps, if it does.
  [[nodiscard]] Waker& worker_waker() noexcept { return worker_; }

  // ---- lane ----
  [[nodiscard]] bool has_worker_frames() const noexcept { return !to_kernel_out_.empty(); }
  [[nodiscard]] std::optional<ConstBytes> take_from_worker() noexcept {
    return take(to_kernel_out_);
  }
  void release_from_worker() noexcept { to_kernel_out_.release(); }
  bool give_to_worker(ConstBytes frame) noexcept {
    return to_port_in_.push(RingRecordKind::frame, frame, {});
  }
  void wake_worker() noexcept { worker_.wake(); }

 private:
  explicit ExceptionQueue(Waker& lane) : lane_(lane) {}
  [[nodiscard]] static std::optional<ConstBytes> take(RingConsumer& ring) noexcept {
    const auto record = ring.pop();
    if (!record) return std::nullopt;
    return record->bytes;
  }

  Waker& lane_;
  Waker worker_;
  RingProducer to_kernel_in_, to_port_in_;
  RingConsumer to_kernel_out_, to_port_out_;
};

}  // namespace pharos::dataplane
