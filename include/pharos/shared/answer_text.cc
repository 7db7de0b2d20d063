#include "pharos/shared/answer_text.hh"

#include "pharos/base/ip_address.hh"
#include "pharos/wire/name_text.hh"
#include "pharos/wire/svc_params.hh"

#include <spdlog/fmt/fmt.h>

namespace pharos {
namespace {

// Reads records from a body laid behind a header and the question of its owner, where its pointers are right.
class RecordReader {
 public:
  RecordReader(const Answer& answer, ConstBytes owner)
      : message_(dns::header_bytes),
        at_(dns::header_bytes + owner.size() + dns::question_tail_bytes) {
    message_.insert(message_.end(), owner.begin(), owner.end());
    message_.resize(at_);
    message_.insert(message_.end(), answer.body(), answer.body() + answer.body_bytes);
  }

  [[nodiscard]] std::string record() {
    std::string line = name(message_.size());
    const unsigned type = number<Be16>();
    number<Be16>();  // class
    const std::uint32_t ttl_s = number<Be32>();
    const unsigned rdata_bytes = number<Be16>();
    const std::size_t end = std::min(at_ + rdata_bytes, message_.size());
    const auto typed = static_cast<std::uint16_t>(type);
    line += fmt::format(" {} {}{}", ttl_s, dns::type_text(typed), rdata(typed, end));
    at_ = end;
    return line;
  }

 private:
  template <typename T>
  std::uint32_t number() {
    if (at_ + sizeof(T) > message_.size()) return 0;
    const T value = load<T>(message_.data() + at_);
    at_ += sizeof(T);
    return value;
  }

  // The name at at_; moves behind it.
  std::string name(std::size_t end) {
    std::vector<std::byte> wire;
    std::size_t from = at_;
    bool moved = false;
    for (unsigned jumps = 0; jumps < dns::labels_max && from < end;) {
      const auto octet = static_cast<std::uint8_t>(message_[from]);
      if (octet >= 0xc0) {
        if (from + 2 > end) return "?";
        if (!moved) at_ = from + 2;
        moved = true;
        from = load<Be16>(message_.data() + from) & 0x3fffU;
        ++jumps;
        continue;
      }
      const std::size_t label_end = std::min(from + 1 + octet, message_.size());
      wire.insert(wire.end(), message_.begin() + static_cast<std::ptrdiff_t>(from),
                  message_.begin() + static_cast<std::ptrdiff_t>(label_end));
      from = label_end;
      if (octet == 0) {
        if (!moved) at_ = from;
        return dns::name_is_sound(wire) ? dns::name_text(wire) : "?";
      }
    }
    return "?";
  }

  std::string rdata(std::uint16_t type, std::size_t end) {
    switch (static_cast<dns::Type>(type)) {
      case dns::Type::a:
        return address<4>(end);
      case dns::Type::aaaa:
        return address<16>(end);
      case dns::Type::ns:
      case dns::Type::cname:
      case dns::Type::dname:
      case dns::Type::ptr:
        return " " + name(end);
      case dns::Type::mx: {
        const auto preference = number<Be16>();
        return fmt::format(" {} {}", preference, name(end));
      }
      case dns::Type::srv: {
        std::string text;
        for (int i = 0; i < 3; ++i) text += fmt::format(" {}", number<Be16>());
        return text + " " + name(end);
      }
      case dns::Type::svcb:
      case dns::Type::https: {
        const auto priority = number<Be16>();
        const auto target = name(end);
        return fmt::format(" {} {}{}", priority, target,
                           dns::svc_params_text(ConstBytes(message_).subspan(at_, end - at_)));
      }
      case dns::Type::soa: {
        std::string text = " " + name(end);
        text += " " + name(end);
        for (int i = 0; i < 5; ++i) text += fmt::format(" {}", number<Be32>());
        return text;
      }
      case dns::Type::txt:
        return strings(end);
      default:
        return hex(end);
    }
  }

  template <std::size_t bytes>
  std::string address(std::size_t end) const {
    if (end - at_ != bytes) return hex(end);
    if constexpr (bytes == 4) {
      return " " + IpAddress::from_ipv4(load<Be32>(message_.data() + at_)).text();
    } else {
      IpAddress address;
      std::memcpy(address.bytes.data(), message_.data() + at_, bytes);
      return " " + address.text();
    }
  }

  std::string strings(std::size_t end) const {
    std::string text;
    for (std::size_t at = at_; at < end;) {
      const std::size_t stop = std::min(end, at + 1 + static_cast<std::uint8_t>(message_[at]));
      text += " \"";
      while (++at < stop) {
        const auto c = static_cast<unsigned char>(message_[at]);
        if (c == '"' || c == '\\') text += '\\';
        text +=
            c < ' ' || c >= 0x7f ? fmt::format("\\{:03}", c) : std::string(1, static_cast<char>(c));
      }
      text += '"';
    }
    return text;
  }

  std::string hex(std::size_t end) const {
    std::string text = fmt::format(" \\# {}{}", end - at_, end > at_ ? " " : "");
    for (std::size_t at = at_; at < end; ++at)
      text += fmt::format("{:02x}", static_cast<unsigned>(message_[at]));
    return text;
  }

  std::vector<std::byte> message_;
  std::size_t at_;
};

}  // namespace

std::vector<std::string> answer_text(const Answer& answer, ConstBytes owner) {
  std::vector<std::string> lines;
  RecordReader reader(answer, owner);
  for (unsigned i = 0; i < answer.answer_count; ++i) lines.push_back("answer " + reader.record());
  for (unsigned i = 0; i < answer.authority_count; ++i)
    lines.push_back("authority " + reader.record());
  for (unsigned i = 0; i < answer.additional_count; ++i) {
    lines.push_back("additional " + reader.record());
  }
  return lines;
}

}  // namespace pharos
