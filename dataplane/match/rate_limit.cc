#include "pharos/dataplane/match/rate_limit.hh"

#include "pharos/base/bytes.hh"

#include <immintrin.h>

#include <algorithm>
#include <bit>

namespace pharos::dataplane {

namespace {

constexpr double ticks_per_second = 1 << 20;
constexpr std::uint8_t all_classes = 0xff;  // no AnswerClass

[[nodiscard]] unsigned __int128 number_of(const IpAddress& address) noexcept {
  unsigned __int128 number = 0;
  for (const auto byte : address.bytes) number = number << 8 | byte;
  return number;
}

// At least one tick: a million replies a second; at most a third of the modulus. Cut, not rounded, so that a window
// holds what it earns.
[[nodiscard]] RateLimit::Ticks interval_of(double per_second) noexcept {
  if (per_second <= 0) return 0;
  const double longest = 0x5555'5555;
  return static_cast<RateLimit::Ticks>(std::clamp(ticks_per_second / per_second, 1.0, longest));
}

[[nodiscard]] std::array<std::byte, 16> mask_of(unsigned bits) noexcept {
  std::array<std::byte, 16> mask{};
  for (unsigned i = 0; i < bits && i < 128; ++i) mask[i / 8] |= std::byte{0x80} >> (i % 8);
  return mask;
}

}  // namespace

bool RateLimitOptions::enabled() const noexcept {
  const auto positive = [](double rate) { return rate > 0; };
  return positive(all_per_second) || std::ranges::any_of(per_second, positive) ||
         std::ranges::any_of(classes, positive);
}

PrefixSet::PrefixSet(std::span<const IpPrefix> prefixes) {
  std::array<std::vector<Range>, 2> all;
  for (const auto& prefix : prefixes) {
    const bool ipv4 = prefix.address.is_ipv4();
    const unsigned length = std::min(prefix.length + (ipv4 ? 96U : 0U), 128U);
    const auto ones = ~static_cast<unsigned __int128>(0);
    const auto host_bits = length == 0 ? ones : ~(ones << (128 - length));
    const auto first = number_of(prefix.address) & ~host_bits;
    all[ipv4 ? 1 : 0].push_back({first, first | host_bits});
  }
  // Prefixes nest or are apart: of a nest, the outermost is what counts.
  for (unsigned family = 0; family < all.size(); ++family) {
    std::ranges::sort(all[family], [](const Range& a, const Range& b) {
      return a.first != b.first ? a.first < b.first : a.last > b.last;
    });
    auto& ranges = ranges_[family];
    for (const auto& range : all[family]) {
      if (ranges.empty() || range.first > ranges.back().last) ranges.push_back(range);
    }
  }
}

bool PrefixSet::contains(const IpAddress& address) const noexcept {
  const auto number = number_of(address);
  const auto& ranges = ranges_[address.is_ipv4() ? 1 : 0];
  const auto behind = std::ranges::upper_bound(ranges, number, {}, &Range::first);
  return behind != ranges.begin() && number <= std::prev(behind)->last;
}

RateLimit::Ticks RateLimit::ticks_of(Instant now) noexcept {
  constexpr auto ticks_per_ns = static_cast<unsigned __int128>(1'152'921'505);  // 2^60 / 10^9
  return static_cast<Ticks>(static_cast<std::uint64_t>(now.ns) * ticks_per_ns >> 40);
}

RateLimit::RateLimit(const RateLimitOptions& options)
    : enabled_(options.enabled()),
      dry_run_(options.dry_run),
      badcookie_(options.badcookie),
      slip_(std::min(options.slip, 255U)),
      window_(static_cast<Ticks>(
          std::clamp(options.window.seconds() * ticks_per_second, 1.0, 64 * ticks_per_second))),
      interval_of_all_(interval_of(options.all_per_second)),
      prefix_masks_{mask_of(96 + std::min(options.ipv4_prefix_bits, 32U)),
                    mask_of(options.ipv6_prefix_bits)},
      keys_{load<Block>(options.key.data()), load<Block>(options.key.data() + 16)},
      exempt_(options.exempt) {
  std::ranges::transform(options.per_second, intervals_.begin(), interval_of);
  std::ranges::transform(options.classes, std::back_inserter(class_intervals_), interval_of);
  horizon_ = std::max({window_, interval_of_all_, *std::ranges::max_element(intervals_)});
  for (const Ticks interval : class_intervals_) horizon_ = std::max(horizon_, interval);
  if (!enabled_) return;
  const auto lines = std::bit_ceil(
      std::clamp<std::uint64_t>(options.memory_bytes / sizeof(Line), 1, std::uint64_t{1} << 31));
  lines_ = std::make_unique<Line[]>(lines);
  line_mask_ = static_cast<std::uint32_t>(lines - 1);
}

// Three rounds of AES under the first key mix the prefix, three under the second add class and subject. Both keys are
// random: nobody foresees who shares a line with whom.
RateLimit::Account RateLimit::account_of(const IpAddress& client, AnswerClass answer_class,
                                         std::uint8_t rate_class,
                                         std::uint64_t subject) const noexcept {
  const auto block = [](const auto& bytes) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes.data()));
  };
  const auto key0 = block(keys_[0]);
  const auto key1 = block(keys_[1]);
  const auto mask = block(prefix_masks_[client.is_ipv4() ? 0 : 1]);
  auto prefix = _mm_xor_si128(_mm_and_si128(block(client.bytes), mask), key0);
  for (int round = 0; round < 3; ++round) prefix = _mm_aesenc_si128(prefix, key0);
  const auto hash = [&](std::uint64_t what, std::uint64_t of) {
    auto state = _mm_xor_si128(
        prefix, _mm_set_epi64x(static_cast<long long>(of), static_cast<long long>(what)));
    for (int round = 0; round < 3; ++round) state = _mm_aesenc_si128(state, key1);
    return static_cast<std::uint64_t>(_mm_cvtsi128_si64(state));
  };
  Account account;
  if (rate_class != 0 && rate_class <= class_intervals_.size()) {
    account.interval = class_intervals_[rate_class - 1U];
    account.hash = hash(std::uint64_t{rate_class} << 8, 0);
  } else {
    account.interval = intervals_[static_cast<std::size_t>(answer_class)];
    account.hash = hash(static_cast<std::uint64_t>(answer_class), subject);
  }
  if (interval_of_all_ != 0) account.hash_of_all = hash(all_classes, 0);
  return account;
}

void RateLimit::prefetch(const Account& account) const noexcept {
  __builtin_prefetch(&line_of(account.hash), 1);
  if (interval_of_all_ != 0) __builtin_prefetch(&line_of(account.hash_of_all), 1);
}

// The account of `tag`, or the place of the one that owes least, made a new one.
unsigned RateLimit::find(Line& line, std::uint32_t tag, Ticks now) const noexcept {
  const auto tags = _mm256_load_si256(reinterpret_cast<const __m256i*>(line.tags.data()));
  const auto plain = _mm256_and_si256(tags, _mm256_set1_epi32(static_cast<int>(0xffffff00)));
  const auto equal = _mm256_cmpeq_epi32(plain, _mm256_set1_epi32(static_cast<int>(tag)));
  if (const auto hits = static_cast<unsigned>(_mm256_movemask_ps(_mm256_castsi256_ps(equal)));
      hits != 0)
    return static_cast<unsigned>(__builtin_ctz(hits));

  // Whoever is not ahead of the time, or further than anyone can be, owes nothing; free places too: rank 0.
  const auto paid = _mm256_load_si256(reinterpret_cast<const __m256i*>(line.paid_until.data()));
  const auto owed = _mm256_sub_epi32(paid, _mm256_set1_epi32(static_cast<int>(now)));
  const auto horizon = _mm256_set1_epi32(static_cast<int>(horizon_));
  const auto owes = _mm256_andnot_si256(_mm256_cmpeq_epi32(tags, _mm256_setzero_si256()),
                                        _mm256_cmpeq_epi32(_mm256_min_epu32(owed, horizon), owed));
  const auto rank = _mm256_and_si256(owed, owes);
  auto least = _mm256_min_epu32(rank, _mm256_permute2x128_si256(rank, rank, 1));
  least = _mm256_min_epu32(least, _mm256_shuffle_epi32(least, 0x4e));
  least = _mm256_min_epu32(least, _mm256_shuffle_epi32(least, 0xb1));
  const auto found = _mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpeq_epi32(rank, least)));
  const auto place = static_cast<unsigned>(__builtin_ctz(static_cast<unsigned>(found)));
  line.tags[place] = tag;
  line.paid_until[place] = now;
  return place;
}

RateLimit::Judgement RateLimit::take(std::uint64_t hash, Ticks interval, Ticks now) noexcept {
  const auto high = static_cast<std::uint32_t>(hash >> 32) & 0xffffff00;
  const std::uint32_t tag = high == 0 ? 0x100 : high;
  Line& line = line_of(hash);
  const unsigned place = find(line, tag, now);
  Ticks& paid_until = line.paid_until[place];
  // In the past, or older than the clock turns around: nothing is owed.
  if (paid_until - now > horizon_) paid_until = now;
  // A window shorter than one reply still lets one through.
  if (paid_until - now + interval <= std::max(window_, interval)) {
    paid_until += interval;
    return Judgement::within;
  }
  if (slip_ == 0) return Judgement::drop;
  const std::uint32_t above = (line.tags[place] & 0xff) + 1;
  line.tags[place] = tag | (above >= slip_ ? 0 : above);
  return above >= slip_ ? Judgement::slip : Judgement::drop;
}

// Of the class first: what it withholds is not counted for the prefix.
RateLimit::Judgement RateLimit::judge(const Account& account, Ticks now) noexcept {
  if (account.interval != 0) {
    const auto judgement = take(account.hash, account.interval, now);
    if (judgement != Judgement::within) return judgement;
  }
  return interval_of_all_ == 0 ? Judgement::within
                               : take(account.hash_of_all, interval_of_all_, now);
}

}  // namespace pharos::dataplane
