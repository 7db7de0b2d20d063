// Watch: what serving threads copy of their queries, and where to. Made by the control thread, RCU-published, and loaded once
// a burst: a null pointer is all that an unwatched packet path sees.
//
// Each serving thread has a seat, and at its seat a ring of its own: seats 0 to n-1 are the workers', n is the kernel
// lane's.
#pragma once

#include "pharos/base/ip_address.hh"
#include "pharos/dataplane/dns/serve.hh"
#include "pharos/dataplane/observe/capture.hh"
#include "pharos/dataplane/observe/client_mask.hh"
#include "pharos/dataplane/observe/record_ring.hh"

#include <cstdint>
#include <memory>
#include <optional>
#include <type_traits>
#include <vector>

namespace pharos::dataplane {

// By seat. Shared by the watch, whose threads fill them, and by who empties them.
using RingSet = std::vector<std::unique_ptr<RecordRing>>;

enum class CopyKind : std::uint8_t { query, response };

// In front of the message in a record of a dnstap ring.
struct CopyHead {
  std::int64_t query_ns = 0;        // wall time at which its burst came
  std::int64_t response_ns = 0;     // of a response: when its burst was answered
  IpAddress client{};               // masked
  std::uint32_t message_bytes = 0;  // 0: not handed on, since nobody knows what is in it
  CopyKind kind = CopyKind::query;
  Transport transport = Transport::udp;
  bool ipv4 = true;
  bool client_given = false;  // false: not even a prefix leaves
};
static_assert(sizeof(CopyHead) == 40 && std::is_trivially_copyable_v<CopyHead>);

struct DnstapWatch {
  unsigned every = 1;
  bool queries = true;
  bool responses = true;
  ClientMask mask;
  std::shared_ptr<const RingSet> rings;
};

struct Watch {
  std::optional<DnstapWatch> dnstap;
  std::optional<CaptureWatch> capture;

  // The capture of this port, or nullptr.
  [[nodiscard]] const CaptureWatch* capture_of(std::uint16_t port) const noexcept {
    return capture && capture->port == port ? &*capture : nullptr;
  }
};

}  // namespace pharos::dataplane
