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

// Labels of plain octets are copied in blocks of 32; at the first other octet all begins anew, octet by octet.
unsigned write_policy_text(const std::byte* name, char* text) noexcept {
  const std::byte* label = name;
  unsigned at = 0;
  for (auto octets = std::to_integer<unsigned>(*label); octets != 0;
       octets = std::to_integer<unsigned>(*label)) {
    ++label;
    for (unsigned done = 0; done < octets; done += 32) {
      const auto block = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(label + done));
      const unsigned rest = octets - done;
      const std::uint32_t wanted = rest >= 32 ? ~0U : (1U << rest) - 1;
      if ((plain_octets(block) & wanted) != wanted) return scalar::write_policy_text(name, text);
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(text + at + done), block);
    }
    at += octets;
    text[at++] = '.';
    label += octets;
  }
  if (at == 0) return scalar::write_policy_text(name, text);
  return at - 1;
}

}  // namespace pharos::dataplane
