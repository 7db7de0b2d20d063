// The proof of one prepared answer. See answer.hh; the record form is that of RFC 1035, sections 3.2.1 and 4.1.4.
#include "pharos/shared/answer.hh"

namespace pharos {
namespace {

constexpr unsigned label_bytes_max = 63;
constexpr unsigned name_bytes_max = 255;
constexpr unsigned message_header_bytes = 12;
constexpr unsigned question_tail_bytes = 4;  // type and class
constexpr unsigned fixed_record_bytes = 10;  // type, class, TTL, RDLENGTH

// Walks body and relocations side by side. Relocations ascend strictly, so that each is passed once and no
// pointer is moved twice.
class Walk {
 public:
  Walk(ConstBytes body, const std::uint16_t* relocations, unsigned relocation_count) noexcept
      : body_(body), relocations_(relocations), relocations_left_(relocation_count) {}

  [[nodiscard]] unsigned at() const noexcept { return at_; }
  [[nodiscard]] bool at_end() const noexcept {
    return at_ == body_.size() && relocations_left_ == 0;
  }

  [[nodiscard]] bool pass_record() noexcept {
    if (!pass_owner() || body_.size() - at_ < fixed_record_bytes) return false;
    const unsigned rdata_bytes = load<Be16>(body_.data() + at_ + 8);
    at_ += fixed_record_bytes;
    if (body_.size() - at_ < rdata_bytes) return false;
    const unsigned end = at_ + rdata_bytes;
    while (relocations_left_ > 0 && next_relocation() < end) {
      if (next_relocation() < at_ || !pass_pointer(next_relocation(), end)) return false;
    }
    at_ = end;
    return true;
  }

 private:
  [[nodiscard]] unsigned next_relocation() const noexcept {
    return load<std::uint16_t>(relocations_) & ~unsigned{relocation_of_body};
  }

  // A name in full, or labels and one pointer, which must be listed: it moves whenever its base does.
  [[nodiscard]] bool pass_owner() noexcept {
    const unsigned start = at_;
    while (at_ < body_.size()) {
      const auto octet = std::to_integer<unsigned>(body_[at_]);
      if (octet >= 0xc0) {
        return relocations_left_ > 0 && next_relocation() == at_ &&
               pass_pointer(at_, static_cast<unsigned>(body_.size()));
      }
      if (octet > label_bytes_max) return false;
      at_ += 1 + octet;
      if (at_ - start > name_bytes_max) return false;
      if (octet == 0) return at_ <= body_.size();
    }
    return false;
  }

  // The pointer at `offset`, whole before `end`, and the relocation that lists it. Afterwards at_ is behind it.
  [[nodiscard]] bool pass_pointer(unsigned offset, unsigned end) noexcept {
    if (end < 2 || offset > end - 2) return false;
    const unsigned pointer = load<Be16>(body_.data() + offset);
    const unsigned target = pointer & 0x3fff;
    if (pointer < 0xc000 || target < message_header_bytes || target > pointer_target_max)
      return false;
    // Backwards only. How long the owner in front of the body is, is not known here: 255 at the most.
    const bool into_body = (load<std::uint16_t>(relocations_) & relocation_of_body) != 0;
    const unsigned behind_owner = message_header_bytes + name_bytes_max;
    if (target >= (into_body ? behind_owner + question_tail_bytes + offset : behind_owner))
      return false;
    ++relocations_;
    --relocations_left_;
    at_ = offset + 2;
    return true;
  }

  ConstBytes body_;
  const std::uint16_t* relocations_;
  unsigned relocations_left_;
  unsigned at_ = 0;
};

}  // namespace

std::uint16_t answer_checksum(ConstBytes body) noexcept {
  std::uint64_t sum = 0;
  std::size_t i = 0;
  for (; i + 2 <= body.size(); i += 2) sum += load<std::uint16_t>(body.data() + i);
  if (i < body.size()) sum += std::to_integer<std::uint64_t>(body[i]);  // low half of a native word
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<std::uint16_t>(sum);
}

bool answer_is_sound(const Answer* answer, std::uint64_t available_bytes) noexcept {
  if (available_bytes < sizeof(Answer)) return false;
  if (answer->body_bytes > answer_body_bytes_max || answer->required_bytes > answer->body_bytes ||
      answer_record_bytes(answer->body_bytes, answer->relocation_count) > available_bytes ||
      answer->required_additional_count > answer->additional_count) {
    return false;
  }
  const ConstBytes body(answer->body(), answer->body_bytes);
  if (answer_checksum(body) != answer->checksum) return false;

  Walk walk(body, answer->relocations(), answer->relocation_count);
  const unsigned required_records =
      unsigned{answer->answer_count} + answer->authority_count + answer->required_additional_count;
  const unsigned optional_records =
      unsigned{answer->additional_count} - answer->required_additional_count;
  for (unsigned i = 0; i < required_records; ++i) {
    if (!walk.pass_record()) return false;
  }
  if (walk.at() != answer->required_bytes) return false;
  for (unsigned i = 0; i < optional_records; ++i) {
    if (!walk.pass_record()) return false;
  }
  return walk.at_end();
}

}  // namespace pharos
