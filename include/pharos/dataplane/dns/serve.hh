// serve: DNS requests in, DNS replies out, in place. Knows bytes and tables, no ports and no rte_*.
//
// The worker loop, the kernel lane, tests, fuzzers and benchmarks all call `serve_burst`. It runs
// stage by stage over up to `burst_queries_max` queries: parse, locate, look up, limit, answer
// (DESIGN of the stages: dataplane/README.md). One table root serves the whole burst. It makes no
// allocation, lock, system call or log line.
#pragma once

#include "pharos/base/bytes.hh"
#include "pharos/base/clock.hh"
#include "pharos/base/ip_address.hh"
#include "pharos/dataplane/core/counters.hh"
#include "pharos/dataplane/dns/cookie.hh"
#include "pharos/dataplane/match/rate_limit.hh"
#include "pharos/dataplane/table/root.hh"
#include "pharos/shared/policy_sample.hh"

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace pharos::dataplane {

inline constexpr unsigned burst_queries_max = 64;
// Bytes behind `capacity` that may be read and overwritten with anything (never sent): the slack of
// the name kernels, which load a header and 64 bytes of however short a message, and of fixed-width copies.
inline constexpr unsigned query_slack_bytes = 80;

enum class Transport : std::uint8_t { udp, tcp };

// One query and, after serve_burst, its reply. The caller owns the buffer.
struct Query {
  // Request in, reply out; max(length, capacity) + query_slack_bytes are ours.
  std::byte* message = nullptr;
  std::uint16_t length = 0;    // of the request
  std::uint16_t capacity = 0;  // bytes that the reply may take at the most
  Transport transport = Transport::udp;
  std::uint16_t source_port = 0;  // host order
  IpAddress source;

  // Set by serve_burst:
  Verdict verdict = Verdict::answered;  // anything but `answered`: send nothing
  std::uint16_t reply_bytes = 0;
  // Ones' complement sum of the reply as native words, folded, not inverted.
  std::uint16_t reply_checksum = 0;
};

inline constexpr unsigned nsid_bytes_max = 128;  // so that question and OPT always fit 512 bytes
// version_text and server_id: one TXT string.
inline constexpr unsigned server_text_bytes_max = 255;

// What steers answers beside the tables: constant after start. Longer strings are cut to their
// limits.
struct ServeOptions {
  // Ours, in OPT and as a limit.
  std::uint16_t udp_payload_max_bytes = dns::udp_payload_default_bytes;
  std::string nsid;                     // empty: not answered; at most nsid_bytes_max
  std::string version_text;             // version.bind and version.server, class CH; empty: REFUSED
  std::string server_id;                // id.server and hostname.bind (RFC 4892); empty: REFUSED
  bool ecs_enabled = true;              // whether client subnets are answered at all
  std::vector<IpPrefix> ecs_resolvers;  // whose are heard by pools of EcsMode::listed
  std::vector<CookieSecret>
      cookie_secrets;          // the first makes cookies, all are accepted; none: zeros
  bool demand_sampled = true;  // dns/demand.hh
  RateLimitOptions rate_limit;
  // Answered to edns-tcp-keepalive over TCP (RFC 7828), in units of 100 ms; 0: not answered.
  std::uint16_t tcp_keepalive_ds = 0;
  // Number of this serving thread among those of the process: no two that run at the same time share one, and all are
  // below the seat count of the tables (match/policy_set.hh).
  unsigned seat = 0;
};

// Working memory of one core: folded names, stage arrays. About 40 KiB; made once at start-up.
class ServeState {
 public:
  explicit ServeState(const ServeOptions& options);
  ~ServeState();
  ServeState(const ServeState&) = delete;
  ServeState& operator=(const ServeState&) = delete;

  // Wall time for server cookies (RFC 9018), in seconds since 1970, and the time that rate limits
  // run by: any clock that never goes back and starts anywhere. Cheap: before every burst.
  void set_time(std::uint32_t wall_s, Instant now) noexcept;

  // Queries of the bursts since the last call that policies want logged; good until the next burst.
  [[nodiscard]] std::span<const PolicySample> take_samples() noexcept;

  struct Impl;
  [[nodiscard]] Impl& impl() noexcept { return *impl_; }

 private:
  std::unique_ptr<Impl> impl_;
};

// Answers all of `queries` (at most burst_queries_max) from `root`. Counts into `counters` what
// happened on the way and every verdict but `answered`, which the sender counts once the reply has
// left (count_sent).
void serve_burst(ServeState& state, const TableRoot& root, std::span<Query> queries,
                 CoreCounters& counters) noexcept;

}  // namespace pharos::dataplane
