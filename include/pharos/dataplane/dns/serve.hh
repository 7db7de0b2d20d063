// serve: DNS requests in, DNS replies out, in place. Knows bytes and tables, no ports and no rte_*.
//
// The worker loop, the kernel lane, tests, fuzzers and benchmarks all call `serve_burst`. It runs stage by
// stage over up to `burst_queries_max` queries: parse, locate, look up, limit, answer (DESIGN of the
// stages: dataplane/README.md). One table root serves the whole burst. It makes no allocation, lock,
// system call or log line.
#pragma once

#include "pharos/base/bytes.hh"
#include "pharos/base/ip_address.hh"
#include "pharos/dataplane/core/counters.hh"
#include "pharos/dataplane/table/root.hh"

#include <cstdint>
#include <memory>
#include <span>

namespace pharos::dataplane {

inline constexpr unsigned burst_queries_max = 64;
// Bytes that may be read behind a message (never used, never sent): the slack of the name kernels.
inline constexpr unsigned query_slack_bytes = 64;

enum class Transport : std::uint8_t { udp, tcp };

// One query and, after serve_burst, its reply. The caller owns the buffer.
struct Query {
  std::byte* message = nullptr;    // request in, reply out; at least `capacity` + query_slack_bytes readable
  std::uint16_t length = 0;        // of the request
  std::uint16_t capacity = 0;      // bytes that the reply may take at the most
  Transport transport = Transport::udp;
  std::uint16_t source_port = 0;   // host order
  IpAddress source;

  // Set by serve_burst:
  Verdict verdict = Verdict::answered;  // anything but `answered`: send nothing
  std::uint16_t reply_bytes = 0;
  std::uint16_t reply_checksum = 0;     // ones' complement sum of the reply as native words, folded, not inverted
};

// What steers answers beside the tables: constant for the life of a root swap, owned by the control thread.
struct ServeOptions {
  std::uint16_t udp_payload_max_bytes = dns::udp_payload_default_bytes;  // ours, in OPT and as a limit
  std::string nsid;                                  // empty: not answered
  bool ecs_enabled = true;
  std::array<std::byte, 16> cookie_secret{};
  std::array<std::byte, 16> slot_key{};              // keys the client-prefix hash; the same on all cores
};

// Working memory of one core: folded names, stage arrays. About 40 KiB; made once at start-up.
class ServeState {
 public:
  explicit ServeState(const ServeOptions& options);
  ~ServeState();
  ServeState(const ServeState&) = delete;
  ServeState& operator=(const ServeState&) = delete;

  struct Impl;
  [[nodiscard]] Impl& impl() noexcept { return *impl_; }

 private:
  std::unique_ptr<Impl> impl_;
};

// Answers all of `queries` (at most burst_queries_max) from `root`. Counts into `counters`.
void serve_burst(ServeState& state, const TableRoot& root, std::span<Query> queries, CoreCounters& counters) noexcept;

}  // namespace pharos::dataplane
