#include "pharos/dataplane/observe/name_sampler.hh"

#include "pharos/wire/dns.hh"
#include "pharos/wire/name_text.hh"

#include <cstring>
#include <limits>
#include <utility>

namespace pharos::dataplane {

// Rounded up, so that there are never more than `per_second_` at a steady rate.
void NameSampler::follow(std::uint32_t second) noexcept {
  constexpr std::uint64_t every_max = std::numeric_limits<std::uint32_t>::max() / 4;
  const auto passed = std::exchange(passed_, 0);
  second_ = second;
  every_ = static_cast<unsigned>(
      std::clamp<std::uint64_t>((passed + per_second_ - 1) / per_second_, 1, every_max));
}

// The question stands where it stood: replies are made around it. What has none is no sample.
void NameSampler::take(const Query& query) noexcept {
  const auto bytes = std::max(query.length, query.reply_bytes);
  if (bytes <= dns::header_bytes) return;
  const auto header = load<dns::Header>(query.message);
  if (header.question_count == 0) return;
  const ConstBytes question(query.message + dns::header_bytes, bytes - dns::header_bytes);
  const unsigned name_bytes = dns::name_bytes_at(question);
  if (name_bytes == 0) return;
  std::byte* record = ring_->reserve(sizeof(NameSampleHead) + name_bytes);
  if (record == nullptr) return;
  const NameSampleHead head{
      .weight = every_,
      .rcode = static_cast<std::uint8_t>(header.flags & dns::flag::rcode_mask),
      .answered = query.verdict == Verdict::answered};
  store(record, head);
  std::memcpy(record + sizeof head, question.data(), name_bytes);
  ring_->commit();
}

}  // namespace pharos::dataplane
