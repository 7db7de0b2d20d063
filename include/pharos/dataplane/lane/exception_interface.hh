// ExceptionInterface: carries frames between a port's rings and its tap device. The lane's thread, once it runs.
//
// On a port that takes one VLAN only, the tag is taken off on the way to the kernel and put on again on the way back: the
// kernel's interface is an ordinary one.
#pragma once

#include "pharos/dataplane/core/counters.hh"
#include "pharos/dataplane/lane/exception_queue.hh"
#include "pharos/dataplane/lane/tap.hh"

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

namespace pharos::dataplane {

class ExceptionInterface {
 public:
  // `queues`: one for each queue of the port, in their order; the kernel's frames leave by the first. `vlan`: the port's.
  ExceptionInterface(Tap tap, std::vector<std::unique_ptr<ExceptionQueue>> queues,
                     std::optional<std::uint16_t> vlan, CoreCounters& counters);

  [[nodiscard]] int fd() const noexcept { return tap_.fd(); }
  [[nodiscard]] ExceptionQueue& queue(unsigned index) const noexcept { return *queues_[index]; }

  // Up to a burst of each queue to the kernel.
  void to_kernel() noexcept;
  // Up to a burst of the kernel's frames to the worker.
  void from_kernel() noexcept;
  [[nodiscard]] bool has_worker_frames() const noexcept;

 private:
  void write(ConstBytes frame) noexcept;

  Tap tap_;
  std::vector<std::unique_ptr<ExceptionQueue>> queues_;
  std::optional<std::uint16_t> vlan_;
  CoreCounters& counters_;
};

// Takes off the outer tag where it is of `vlan`: moves the MAC addresses over it. Returns the shorter frame, in the same memory.
[[nodiscard]] Bytes untag(Bytes frame, std::uint16_t vlan) noexcept;
// Puts a tag in front of the type of the frame that stands at `buffer` + 4 and is `bytes` long. Returns the longer one,
// which begins at `buffer`. Frames too short for two addresses are returned as they are.
[[nodiscard]] Bytes tag(std::byte* buffer, std::size_t bytes, std::uint16_t vlan) noexcept;

}  // namespace pharos::dataplane
