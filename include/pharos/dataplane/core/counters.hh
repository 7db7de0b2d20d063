// Counters of one core: one writer, plain increments, read by the control thread without a lock.
//
// PHAROS_VERDICTS and PHAROS_COUNTERS are the only lists. A Verdict is how a packet's way ended; every
// packet ends in exactly one. A counter counts something else that happened on the way. Names are those
// of `pharosctl stats` and of the metrics.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>

// name, help text
#define PHAROS_VERDICTS(V)                                                                    \
  V(answered, "DNS replies handed to the port")                                               \
  V(local_reply, "ARP, neighbour discovery and echo replies")                                 \
  V(beacon_forwarded, "beacon datagrams copied to the control plane")                         \
  V(beacon_ring_full, "beacon datagrams dropped because the control plane lags or is absent") \
  V(beacon_oversize, "beacon datagrams dropped for their length")                             \
  V(exception, "frames passed to the exception port")                                         \
  V(drop_frame_short, "frames shorter than their headers")                                    \
  V(drop_ether_type, "frames of another protocol, with no exception port")                    \
  V(drop_vlan, "frames with more than two VLAN tags or a tag that is not ours")               \
  V(drop_not_ours, "frames to another MAC or IP address")                                     \
  V(drop_ip_header, "IPv4 or IPv6 headers that contradict themselves")                        \
  V(drop_ip_checksum, "wrong IPv4 header checksums")                                          \
  V(drop_fragment, "IP fragments")                                                            \
  V(drop_extension, "IPv6 packets with extension headers")                                    \
  V(drop_protocol, "IP packets that are not UDP to us, with no exception port")               \
  V(drop_martian, "source addresses that no client can have")                                 \
  V(drop_udp_length, "UDP lengths that contradict the IP length")                             \
  V(drop_udp_checksum, "wrong UDP checksums")                                                 \
  V(drop_local, "ARP, neighbour discovery and echo requests that contradict themselves")      \
  V(drop_port, "UDP to a port that we do not serve, or from port 0")                          \
  V(drop_dns_short, "DNS messages shorter than a header")                                     \
  V(drop_dns_response, "DNS messages with QR set")                                            \
  V(drop_no_tables, "queries before the first tables")                                        \
  V(drop_rate_limited, "replies withheld by rate limiting")                                   \
  V(drop_policy, "queries dropped by a name policy")                                          \
  V(drop_no_room, "replies that did not fit the buffer")                                      \
  V(drop_tx_full, "replies that the port did not take")

#define PHAROS_COUNTERS(C)                                                \
  C(received_packets, "frames received")                                  \
  C(received_bytes, "bytes received, without preamble and checksum")      \
  C(sent_packets, "frames sent")                                          \
  C(sent_bytes, "bytes sent")                                             \
  C(queries_ipv4, "queries over IPv4")                                    \
  C(queries_ipv6, "queries over IPv6")                                    \
  C(queries_tcp, "queries over TCP")                                      \
  C(queries_edns, "queries with an OPT record")                           \
  C(queries_ecs, "queries with a client subnet")                          \
  C(queries_ecs_ignored, "of them, not used: service or resolver")        \
  C(queries_cookie_valid, "queries with a valid server cookie")           \
  C(queries_cookie_invalid, "queries with a server cookie that is wrong") \
  C(type_a, "queries for A")                                              \
  C(type_aaaa, "queries for AAAA")                                        \
  C(type_other, "queries for other types")                                \
  C(answers_ranked, "answers from the ranking")                           \
  C(answers_static, "answers from zone data")                             \
  C(answers_referral, "referrals")                                        \
  C(answers_nodata, "NOERROR without data")                               \
  C(answers_truncated, "answers with TC")                                 \
  C(answers_wildcard, "answers from a wildcard")                          \
  C(answers_chained, "CNAME and DNAME steps followed")                    \
  C(rcode_noerror, "replies NOERROR")                                     \
  C(rcode_formerr, "replies FORMERR")                                     \
  C(rcode_servfail, "replies SERVFAIL")                                   \
  C(rcode_nxdomain, "replies NXDOMAIN")                                   \
  C(rcode_notimp, "replies NOTIMP")                                       \
  C(rcode_refused, "replies REFUSED")                                     \
  C(rcode_yxdomain, "replies YXDOMAIN")                                   \
  C(rcode_badvers, "replies BADVERS")                                     \
  C(rcode_badcookie, "replies BADCOOKIE")                                 \
  C(slipped, "replies cut to TC by rate limiting")                        \
  C(badcookies, "replies cut to BADCOOKIE by rate limiting")              \
  C(limited_positive, "answers above the limit of their name")            \
  C(limited_wildcard, "wildcard answers above the limit of their zone")   \
  C(limited_nodata, "NODATA above the limit of its zone")                 \
  C(limited_nxdomain, "NXDOMAIN above the limit of its zone")             \
  C(limited_referral, "referrals above the limit of their zone")          \
  C(limited_error, "errors above their limit")                            \
  C(limited_class, "replies above the limit of a policy's rate class")    \
  C(limit_dry_run, "replies above a limit that were sent: a dry run")     \
  C(limit_exempt, "replies to clients that are never limited")            \
  C(limit_exempt_cookie, "replies not limited for their valid cookie")    \
  C(tcp_accepted, "TCP connections accepted")                             \
  C(tcp_refused, "TCP connections over the limit of their client")        \
  C(tcp_closed_peer, "TCP connections that the client closed")            \
  C(tcp_closed_idle, "TCP connections closed as idle")                    \
  C(tcp_closed_slow, "TCP connections closed as slow")                    \
  C(tcp_closed_full, "TCP connections closed to make room")               \
  C(tcp_closed_broken, "TCP connections closed for what is no DNS")       \
  C(tcp_closed_error, "TCP connections that failed")                      \
  C(tcp_accept_errors, "TCP connections that the system refused")         \
  C(exception_lost, "frames lost to or from the exception port")          \
  C(exception_sent, "frames sent for the exception port")                 \
  C(dnstap_messages, "queries and responses copied for dnstap")           \
  C(dnstap_unreadable, "of them, without their bytes: not to be masked")  \
  C(dnstap_dropped, "queries and responses that dnstap had no room for")  \
  C(loops, "turns of the poll loop")                                      \
  C(loops_empty, "turns that received nothing")                           \
  C(sleeps, "times the core went to sleep on an idle port")

namespace pharos::dataplane {

enum class Verdict : std::uint8_t {
#define V(name, help) name,
  PHAROS_VERDICTS(V)
#undef V
};

enum class Counter : std::uint8_t {
#define C(name, help) name,
  PHAROS_COUNTERS(C)
#undef C
};

struct CounterText {
  std::string_view name;
  std::string_view help;
};
inline constexpr std::array verdict_texts = {
#define V(name, help) CounterText{#name, help},
    PHAROS_VERDICTS(V)
#undef V
};
inline constexpr std::array counter_texts = {
#define C(name, help) CounterText{#name, help},
    PHAROS_COUNTERS(C)
#undef C
};
inline constexpr std::size_t verdict_count = verdict_texts.size();
inline constexpr std::size_t counter_count = counter_texts.size();

// Written by one core. The control thread reads single values with relaxed loads: each is right by itself, a
// set of them is a snapshot that may tear between counters.
struct alignas(128) CoreCounters {
  std::array<std::uint64_t, verdict_count> verdicts{};
  std::array<std::uint64_t, counter_count> counters{};

  void count(Verdict verdict, std::uint64_t by = 1) noexcept {
    bump(verdicts[static_cast<std::size_t>(verdict)], by);
  }
  void count(Counter counter, std::uint64_t by = 1) noexcept {
    bump(counters[static_cast<std::size_t>(counter)], by);
  }
  [[nodiscard]] std::uint64_t read(Verdict verdict) const noexcept {
    return peek(verdicts[static_cast<std::size_t>(verdict)]);
  }
  [[nodiscard]] std::uint64_t read(Counter counter) const noexcept {
    return peek(counters[static_cast<std::size_t>(counter)]);
  }

 private:
  static void bump(std::uint64_t& value, std::uint64_t by) noexcept {
    // relaxed: one writer, and readers need no order; compiles to a plain add
    std::atomic_ref(value).store(value + by, std::memory_order_relaxed);
  }
  static std::uint64_t peek(const std::uint64_t& value) noexcept {
    return std::atomic_ref(const_cast<std::uint64_t&>(value)).load(std::memory_order_relaxed);
  }
};

}  // namespace pharos::dataplane
