#include "pharos/controlplane/image/answer_writer.hh"

#include "pharos/shared/answer.hh"
#include "pharos/wire/dns.hh"
#include "pharos/wire/name_text.hh"

#include <algorithm>

namespace pharos::controlplane {
namespace {

using dns::Type;

// Names that later ones are compared with; more would cost time and gain nearly nothing.
constexpr std::size_t suffixes_max = 32;

[[nodiscard]] bool is_label_start(ConstBytes name, std::size_t offset) noexcept {
  std::size_t at = 0;
  while (at < offset) at += 1U + static_cast<std::uint8_t>(name[at]);
  return at == offset;
}

}  // namespace

void AnswerWriter::start(ConstBytes name, bool wildcard) {
  name_ = name;
  wildcard_ = wildcard;
  body_.clear();
  relocations_.clear();
  suffixes_.clear();
  counts_ = {};
  required_bytes_ = 0;
  required_additional_ = 0;
  marked_ = false;
}

void AnswerWriter::put_pointer(unsigned target, bool into_body) {
  const auto at = static_cast<std::uint16_t>(body_.size());
  relocations_.push_back(into_body ? static_cast<std::uint16_t>(at | relocation_of_body) : at);
  put(object_bytes(Be16(dns::pointer_to(target))));
}

bool AnswerWriter::points_to_owner(ConstBytes suffix) {
  if (suffix.size() > name_.size()) return false;
  const std::size_t offset = name_.size() - suffix.size();
  if (!is_label_start(name_, offset) || !dns::names_equal(name_.subspan(offset), suffix))
    return false;
  put_pointer(static_cast<unsigned>(dns::header_bytes + offset), false);
  return true;
}

bool AnswerWriter::points_to_body(ConstBytes suffix) {
  const auto known = std::ranges::find_if(
      suffixes_, [&](const Suffix& other) { return std::ranges::equal(other.name, suffix); });
  if (known == suffixes_.end()) return false;
  put_pointer(static_cast<unsigned>(dns::header_bytes + name_.size() + dns::question_tail_bytes +
                                    known->body_offset),
              true);
  return true;
}

// Labels until the rest of the name stands somewhere already (RFC 1035, 4.1.4).
void AnswerWriter::put_name(ConstBytes name, bool may_point_to_owner) {
  for (; name.size() > 1; name = dns::parent_of(name)) {
    if (may_point_to_owner && points_to_owner(name)) return;
    if (points_to_body(name)) return;
    const std::size_t position =
        dns::header_bytes + name_.size() + dns::question_tail_bytes + body_.size();
    if (position <= pointer_target_max && suffixes_.size() < suffixes_max) {
      suffixes_.push_back({name, static_cast<std::uint16_t>(body_.size())});
    }
    put(name.first(std::size_t{1} + static_cast<std::uint8_t>(name[0])));
  }
  body_.push_back(std::byte{0});
}

// Only the types of RFC 1035 may have their names compressed (RFC 3597, 4). A CNAME stays whole, because the packet
// path follows it.
void AnswerWriter::put_rdata(std::uint16_t type, ConstBytes rdata) {
  switch (static_cast<Type>(type)) {
    case Type::ns:
    case Type::ptr:
      put_name(rdata, !wildcard_);
      return;
    case Type::mx:
      put(rdata.first(2));
      put_name(rdata.subspan(2), !wildcard_);
      return;
    case Type::soa: {
      const ConstBytes primary = rdata.first(dns::name_bytes_at(rdata));
      const ConstBytes contact =
          rdata.subspan(primary.size()).first(dns::name_bytes_at(rdata.subspan(primary.size())));
      put_name(primary, !wildcard_);
      put_name(contact, !wildcard_);
      put(rdata.subspan(primary.size() + contact.size()));
      return;
    }
    default:
      put(rdata);
  }
}

bool AnswerWriter::add(Section section, ConstBytes owner, std::uint16_t type, std::uint32_t ttl_s,
                       ConstBytes rdata) {
  const auto bytes_before = body_.size();
  const auto relocations_before = relocations_.size();
  const auto suffixes_before = suffixes_.size();
  if (wildcard_ && owner.data() == name_.data()) {
    put_pointer(dns::header_bytes, false);
  } else {
    put_name(owner, !wildcard_);
  }
  put(object_bytes(Be16(type)));
  put(object_bytes(Be16(static_cast<std::uint16_t>(dns::Class::in))));
  put(object_bytes(Be32(ttl_s)));
  const auto length_at = body_.size();
  put(object_bytes(Be16(0)));
  put_rdata(type, rdata);
  auto& count = counts_[static_cast<unsigned>(section)];
  if (body_.size() > answer_body_bytes_max || count == 0xffff) {
    body_.resize(bytes_before);
    relocations_.resize(relocations_before);
    suffixes_.resize(suffixes_before);
    return false;
  }
  store(body_.data() + length_at, Be16(static_cast<std::uint16_t>(body_.size() - length_at - 2)));
  ++count;
  return true;
}

void AnswerWriter::mark_required() noexcept {
  required_bytes_ = body_.size();
  required_additional_ = count_of(Section::additional);
  marked_ = true;
}

void AnswerWriter::finish(std::vector<std::byte>& out) {
  if (!marked_) mark_required();
  const Answer answer{static_cast<std::uint16_t>(body_.size()),
                      static_cast<std::uint16_t>(required_bytes_),
                      Be16(counts_[0]),
                      Be16(counts_[1]),
                      Be16(counts_[2]),
                      required_additional_,
                      static_cast<std::uint16_t>(relocations_.size()),
                      answer_checksum(body_)};
  const auto append = [&out](ConstBytes bytes) {
    out.insert(out.end(), bytes.begin(), bytes.end());
  };
  append(object_bytes(answer));
  append(body_);
  if (body_.size() % 2 != 0) out.push_back(std::byte{0});
  append(std::as_bytes(std::span(relocations_)));
}

}  // namespace pharos::controlplane
