#include "pharos/dataplane/match/policy_set.hh"

#include <immintrin.h>

#include <hs/hs.h>

#include <algorithm>

namespace pharos::dataplane {

Result<std::shared_ptr<PolicySet>> PolicySet::make(const catalog::PolicyView& policies,
                                                   unsigned seat_count) {
  std::shared_ptr<PolicySet> set(new PolicySet(policies.content_id()));
  set->seats_.resize(std::clamp(seat_count, 1U, policy_seats_max));
  for (auto& seat : set->seats_) seat.hits.resize(policies.rules().size());
  const auto* head = policies.database();
  if (head == nullptr) return set;

  const std::string_view written_by(head->library.data());
  if (written_by != hs_version()) {
    return fail(ErrorCode::unsupported,
                "the expressions were compiled by Hyperscan '" + std::string(written_by) +
                    "', and this is '" + hs_version() + "'",
                "catalog policies", "run both planes with the same library");
  }
  set->scans_lines_ = (head->flags & catalog::policy_database_flag::lines) != 0;
  const auto bytes = policies.database_bytes();
  const auto* data = reinterpret_cast<const char*>(bytes.data());
  if (const auto code = hs_deserialize_database(data, bytes.size(), &set->database_);
      code != HS_SUCCESS) {
    return fail(
        code == HS_NOMEM ? ErrorCode::unavailable : ErrorCode::unsupported,
        "Hyperscan does not take the compiled expressions (error " + std::to_string(code) + ")",
        "catalog policies");
  }
  for (auto& seat : set->seats_) {
    if (hs_alloc_scratch(set->database_, &seat.scratch) != HS_SUCCESS)
      return fail(ErrorCode::unavailable, "no scratch memory for expressions", "catalog policies");
  }
  return set;
}

PolicySet::~PolicySet() {
  for (auto& seat : seats_) hs_free_scratch(seat.scratch);
  hs_free_database(database_);
}

std::uint32_t PolicySet::scan(unsigned seat, const char* text, unsigned text_bytes) noexcept {
  if (database_ == nullptr) return 0;
  std::uint32_t verdict = 0;
  const auto keep_first = [](unsigned rule, unsigned long long, unsigned long long, unsigned,
                             void* to) noexcept {
    auto& first = *static_cast<std::uint32_t*>(to);
    first = catalog::first_verdict(first, rule + 1);
    return rule == 0 ? 1 : 0;  // nothing comes before the first rule
  };
  (void)hs_scan(database_, text, text_bytes, 0, seats_[seat].scratch, keep_first, &verdict);
  return verdict;
}

std::uint64_t PolicySet::scan_lines(unsigned seat, const char* text,
                                    std::span<const std::uint32_t> begins) noexcept {
  struct Marks {
    std::span<const std::uint32_t> begins;
    std::uint64_t all;
    std::uint64_t lines = 0;
  };
  const auto line_count = static_cast<unsigned>(begins.size() - 1);
  Marks marks{begins, line_count >= 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << line_count) - 1};
  const auto mark = [](unsigned, unsigned long long, unsigned long long end, unsigned,
                       void* to) noexcept {
    auto& found = *static_cast<Marks*>(to);
    const auto behind = std::ranges::upper_bound(found.begins, end);
    const auto line = static_cast<std::size_t>(behind - found.begins.begin()) - 1;
    if (line + 1 < found.begins.size()) found.lines |= std::uint64_t{1} << line;
    return found.lines == found.all ? 1 : 0;
  };
  (void)hs_scan(database_, text, begins.back(), 0, seats_[seat].scratch, mark, &marks);
  return marks.lines;
}

std::uint64_t PolicySet::hits(std::uint32_t rule) const noexcept {
  std::uint64_t sum = 0;
  for (const auto& seat : seats_) {
    // relaxed: a statistic
    sum += std::atomic_ref(const_cast<std::uint64_t&>(seat.hits[rule]))
               .load(std::memory_order_relaxed);
  }
  return sum;
}

namespace scalar {

unsigned write_policy_text(const std::byte* name, char* text) noexcept {
  constexpr std::string_view special = ".\\\"();@$";
  unsigned at = 0;
  for (auto octet = std::to_integer<unsigned>(*name); octet != 0;
       octet = std::to_integer<unsigned>(*name)) {
    ++name;
    for (unsigned i = 0; i < octet; ++i) {
      const auto c = std::to_integer<unsigned>(*name++);
      if (c <= ' ' || c >= 0x7f) {
        text[at++] = '\\';
        text[at++] = static_cast<char>('0' + c / 100);
        text[at++] = static_cast<char>('0' + c / 10 % 10);
        text[at++] = static_cast<char>('0' + c % 10);
      } else {
        if (special.find(static_cast<char>(c)) != std::string_view::npos) text[at++] = '\\';
        text[at++] = static_cast<char>(c);
      }
    }
    text[at++] = '.';
  }
  if (at == 0) {
    text[0] = '.';
    return 1;
  }
  return at - 1;
}

}  // namespace scalar

namespace {

// Bit i: byte i of the block is a letter, digit, '-' or '_': those that stand for themselves in nearly all names.
[[nodiscard]] std::uint32_t plain_octets(__m256i block) noexcept {
  const auto in = [&](char first, char last) {
    return _mm256_and_si256(
        _mm256_cmpgt_epi8(block, _mm256_set1_epi8(static_cast<char>(first - 1))),
        _mm256_cmpgt_epi8(_mm256_set1_epi8(static_cast<char>(last + 1)), block));
  };
  const auto is = [&](char c) { return _mm256_cmpeq_epi8(block, _mm256_set1_epi8(c)); };
  const auto plain = _mm256_or_si256(_mm256_or_si256(in('a', 'z'), in('0', '9')),
                                     _mm256_or_si256(is('-'), is('_')));
  return static_cast<std::uint32_t>(_mm256_movemask_epi8(plain));
}

}  // namespace

// Where all octets but the lengths of labels stand for themselves, the text is the name with dots for the lengths.
unsigned write_policy_text(const std::byte* name, unsigned name_bytes, const LabelMap& labels,
                           char* text) noexcept {
  if (labels.count == 0) return scalar::write_policy_text(name, text);
  const unsigned text_bytes = name_bytes - 2;  // without the first length and the root octet
  unsigned label = 1;
  for (unsigned at = 0; at < text_bytes; at += 32) {
    const auto block = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(name + 1 + at));
    std::uint32_t known = plain_octets(block);
    for (; label < labels.count && labels.offsets[label] - 1U < at + 32; ++label)
      known |= 1U << (labels.offsets[label] - 1U - at);
    const unsigned rest = text_bytes - at;
    const std::uint32_t wanted = rest >= 32 ? ~0U : (1U << rest) - 1;
    if ((known & wanted) != wanted) return scalar::write_policy_text(name, text);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(text + at), block);
  }
  for (label = 1; label < labels.count; ++label) text[labels.offsets[label] - 1] = '.';
  return text_bytes;
}

}  // namespace pharos::dataplane
