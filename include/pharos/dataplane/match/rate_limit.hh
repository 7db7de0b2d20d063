// Response rate limiting: how many replies one client prefix gets in each class of answers. One object a core.
//
// A virtual-scheduling account (GCRA, ITU-T I.371) for each (prefix, class, subject): one time stamp, the instant at
// which all replies so far are paid for. A reply costs 1/rate; it is within the limit while the account stays at most
// `window` ahead of the time. Accounts stand in a fixed table of cache lines, found by a keyed hash:
//
//   line (64 B)  | tag (24 bits), replies above the limit (8 bits): 8 x u32 | paid until: 8 x u32 |
//
// A new account takes the place of the one in its line that owes least, so that a flood from ever new prefixes cannot
// push out those that are limited, and starts with nothing owed: no prefix pays for another, but for the chance of
// 2^-21 that two share a line and a tag.
//
// Pure: bytes and time come in. No allocation after construction; an account costs one cache line and about 15 ns.
#pragma once

#include "pharos/base/clock.hh"
#include "pharos/base/ip_address.hh"

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace pharos::dataplane {

// What replies are counted by. Where a client can make up names without end, the subject is the zone, not the name:
// all of a flood of random labels shares an account.
enum class AnswerClass : std::uint8_t {
  positive,  // subject: the name
  wildcard,  // from a wildcard or a DNAME; subject: the zone
  nodata,    // subject: the zone
  nxdomain,  // subject: the zone
  referral,  // subject: the zone
  error,     // FORMERR, REFUSED, NOTIMP, BADVERS; no subject
};
inline constexpr unsigned answer_class_count = 6;

struct RateLimitOptions {
  std::array<double, answer_class_count> per_second{};  // 0: no limit
  double all_per_second = 0;    // of a prefix, all classes together; 0: no limit
  std::vector<double> classes;  // rate class n at n - 1
  Duration window = seconds(1);
  unsigned slip = 2;  // every n-th reply above the limit; 0: none
  bool dry_run = false;
  bool badcookie = true;
  unsigned ipv4_prefix_bits = 24;
  unsigned ipv6_prefix_bits = 56;
  std::uint64_t memory_bytes = std::uint64_t{1} << 20;  // at least 64; rounded up to a power of two
  std::vector<IpPrefix> exempt;
  std::array<std::byte, 32> key{};  // random

  // Whether anything is limited at all.
  [[nodiscard]] bool enabled() const noexcept;
};

// A set of prefixes, as disjoint ranges of addresses in order. Lookup halves: 12 steps of 4096 prefixes.
class PrefixSet {
 public:
  explicit PrefixSet(std::span<const IpPrefix> prefixes);
  [[nodiscard]] bool contains(const IpAddress& address) const noexcept;
  [[nodiscard]] bool empty() const noexcept { return ranges_[0].empty() && ranges_[1].empty(); }

 private:
  struct Range {
    unsigned __int128 first, last;
  };
  std::array<std::vector<Range>, 2> ranges_;  // IPv6, IPv4: ::/0 is no IPv4 address
};

class RateLimit {
 public:
  // 2^-20 s, modulo 2^32 (68 minutes): accounts are compared with the present only.
  using Ticks = std::uint32_t;
  [[nodiscard]] static Ticks ticks_of(Instant now) noexcept;

  explicit RateLimit(const RateLimitOptions& options);

  [[nodiscard]] bool enabled() const noexcept { return enabled_; }
  [[nodiscard]] bool dry_run() const noexcept { return dry_run_; }
  [[nodiscard]] bool badcookie() const noexcept { return badcookie_; }
  [[nodiscard]] bool is_exempt(const IpAddress& client) const noexcept {
    return !exempt_.empty() && exempt_.contains(client);
  }

  // Where a reply is counted.
  struct Account {
    std::uint64_t hash = 0;
    std::uint64_t hash_of_all = 0;  // of the prefix's account for all classes
    Ticks interval = 0;             // what one reply costs; 0: no limit
  };
  // `subject`: see AnswerClass. A rate class other than 0 takes the place of class and subject.
  [[nodiscard]] Account account_of(const IpAddress& client, AnswerClass answer_class,
                                   std::uint8_t rate_class, std::uint64_t subject) const noexcept;
  void prefetch(const Account& account) const noexcept;

  enum class Judgement : std::uint8_t { within, slip, drop };
  // Counts one reply. `slip`: above the limit, and the n-th so.
  [[nodiscard]] Judgement judge(const Account& account, Ticks now) noexcept;

 private:
  using Block = std::array<std::byte, 16>;
  static constexpr unsigned line_accounts = 8;
  struct alignas(64) Line {
    std::array<std::uint32_t, line_accounts> tags;  // tag << 8 | replies above the limit; 0: free
    std::array<Ticks, line_accounts> paid_until;
  };
  static_assert(sizeof(Line) == 64);

  [[nodiscard]] Line& line_of(std::uint64_t hash) const noexcept {
    return lines_[static_cast<std::uint32_t>(hash) & line_mask_];
  }
  [[nodiscard]] unsigned find(Line& line, std::uint32_t tag, Ticks now) const noexcept;
  [[nodiscard]] Judgement take(std::uint64_t hash, Ticks interval, Ticks now) noexcept;

  // Constant after construction.
  bool enabled_;
  bool dry_run_;
  bool badcookie_;
  unsigned slip_;
  Ticks window_;
  Ticks interval_of_all_;
  Ticks horizon_ = 0;  // no account is further ahead of the time
  std::array<Ticks, answer_class_count> intervals_{};
  std::vector<Ticks> class_intervals_;
  std::array<Block, 2> prefix_masks_;  // IPv4, IPv6
  std::array<Block, 2> keys_;
  PrefixSet exempt_;
  std::uint32_t line_mask_ = 0;

  // The core's own.
  std::unique_ptr<Line[]> lines_;
};

}  // namespace pharos::dataplane
