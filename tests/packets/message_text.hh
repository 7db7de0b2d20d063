// A DNS message as text, one line a part, for tests to compare. Written for being obviously right, not fast; shares no
// code with the packet path. A message that breaks the format ends in a line that begins with "BROKEN".
//
//   1234 NOERROR qr aa rd | 1 1 0 1
//   ? www.example. A IN
//   an www.example. 300 A 192.0.2.80
//   opt 1232 do | 10:0011223344556677
#pragma once

#include "pharos/wire/name_text.hh"
#include "pharos/wire/svc_params.hh"

#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "octets.hh"

namespace pharos::packets {

class MessageText {
 public:
  static std::vector<std::string> of(const Octets& message) {
    MessageText text(message);
    try {
      text.read();
    } catch (const std::exception& error) {
      text.lines_.push_back(std::string("BROKEN ") + error.what());
    }
    return std::move(text.lines_);
  }

 private:
  explicit MessageText(const Octets& message) : message_(message) {}

  unsigned get8() {
    if (at_ >= message_.size()) throw std::runtime_error("ends early");
    return std::to_integer<unsigned>(message_[at_++]);
  }
  unsigned get16() {
    const unsigned high = get8();
    return high << 8 | get8();
  }
  unsigned get32() {
    const unsigned high = get16();
    return high << 16 | get16();
  }

  // Pointers must lead backwards (RFC 1035, 4.1.4: "prior occurrence").
  std::string get_name() {
    std::string out;
    std::optional<std::size_t> resume;
    std::size_t lowest = at_;
    unsigned bytes = 1;
    for (;;) {
      const unsigned octet = get8();
      if (octet == 0) break;
      if ((octet & 0xc0) == 0xc0) {
        const std::size_t target = (octet & 0x3fU) << 8 | get8();
        if (target >= lowest || target < 12)
          throw std::runtime_error("a pointer that does not lead backwards");
        if (!resume) resume = at_;
        lowest = at_ = target;
        continue;
      }
      if (octet > 63) throw std::runtime_error("a label longer than 63");
      bytes += octet + 1;
      if (bytes > 255) throw std::runtime_error("a name longer than 255");
      for (unsigned i = 0; i < octet; ++i) {
        const unsigned c = get8();
        if (c == '.' || c == '\\' || c < 33 || c > 126) {
          out += '\\';
          out += static_cast<char>('0' + c / 100);
          out += static_cast<char>('0' + c / 10 % 10);
          out += static_cast<char>('0' + c % 10);
        } else {
          out += static_cast<char>(c);
        }
      }
      out += '.';
    }
    if (resume) at_ = *resume;
    return out.empty() ? "." : out;
  }

  static std::string rcode_text(unsigned rcode) {
    switch (rcode) {
      case 0:
        return "NOERROR";
      case 1:
        return "FORMERR";
      case 2:
        return "SERVFAIL";
      case 3:
        return "NXDOMAIN";
      case 4:
        return "NOTIMP";
      case 5:
        return "REFUSED";
      case 6:
        return "YXDOMAIN";
      case 23:
        return "BADCOOKIE";
      case 16:
        return "BADVERS";
      default:
        return "RCODE" + std::to_string(rcode);
    }
  }
  static std::string class_text(unsigned klass) {
    return klass == 1 ? "IN" : klass == 3 ? "CH" : "CLASS" + std::to_string(klass);
  }

  std::string get_hex(std::size_t count) {
    Octets bytes;
    for (std::size_t i = 0; i < count; ++i) put8(bytes, get8());
    return hex_text(bytes);
  }

  std::string get_rdata(unsigned type, unsigned bytes) {
    const std::size_t end = at_ + bytes;
    if (end > message_.size()) throw std::runtime_error("RDATA ends early");
    std::string out;
    if ((type == 1 && bytes == 4) || (type == 28 && bytes == 16)) {
      IpAddress address;
      if (type == 1) {
        address = IpAddress::from_ipv4(get32());
      } else {
        for (auto& b : address.bytes) b = static_cast<std::uint8_t>(get8());
      }
      out = address.text();
    } else if (type == 2 || type == 5 || type == 39 || type == 12) {
      out = get_name();
    } else if (type == 15) {
      out = std::to_string(get16()) + ' ';
      out += get_name();
    } else if (type == 33) {
      for (int i = 0; i < 3; ++i) out += std::to_string(get16()) + ' ';
      out += get_name();
    } else if (type == 64 || type == 65) {
      out = std::to_string(get16()) + ' ';
      out += get_name();
      out += dns::svc_params_text(ConstBytes(message_).subspan(at_, end - std::min(at_, end)));
      at_ = end;
    } else if (type == 6) {
      out = get_name() + ' ';
      out += get_name();
      for (int i = 0; i < 5; ++i) out += ' ' + std::to_string(get32());
    } else if (type == 16) {
      while (at_ < end) {
        out += out.empty() ? "\"" : " \"";
        for (unsigned left = get8(); left > 0; --left) out += static_cast<char>(get8());
        out += '"';
      }
    } else {
      out = get_hex(bytes);
    }
    if (at_ != end) throw std::runtime_error("RDATA does not fill its length");
    return out;
  }

  void read_opt(std::string& head, unsigned rcode) {
    const unsigned payload = get16();
    const unsigned extended = get8();
    const unsigned version = get8();
    const unsigned flags = get16();
    std::string line = "opt " + std::to_string(payload);
    if (version != 0) line += " version" + std::to_string(version);
    if ((flags & 0x8000) != 0) line += " do";
    if ((flags & 0x7fff) != 0) line += " z";
    const std::size_t bytes = get16();
    const std::size_t end = at_ + bytes;
    while (at_ < end) {
      const unsigned code = get16();
      const unsigned length = get16();
      line += " | " + std::to_string(code) + ':' + get_hex(length);
    }
    if (at_ != end) throw std::runtime_error("options do not fill OPT");
    if (extended != 0) head.replace(5, head.find(' ', 5) - 5, rcode_text(extended << 4 | rcode));
    lines_.push_back(line);
  }

  void read() {
    const std::string id = get_hex(2);
    const unsigned flags = get16();
    std::array<unsigned, 4> counts;
    for (auto& count : counts) count = get16();
    std::string head = id + ' ' + rcode_text(flags & 15);
    const unsigned rcode = flags & 15;
    if ((flags & 0x7800) != 0) head += " opcode" + std::to_string(flags >> 11 & 15);
    const std::pair<unsigned, const char*> bits[] = {{0x8000, "qr"}, {0x0400, "aa"}, {0x0200, "tc"},
                                                     {0x0100, "rd"}, {0x0080, "ra"}, {0x0040, "z"},
                                                     {0x0020, "ad"}, {0x0010, "cd"}};
    for (const auto& [bit, word] : bits) {
      if ((flags & bit) != 0) head += std::string(" ") + word;
    }
    head += " |";
    for (const unsigned count : counts) head += ' ' + std::to_string(count);
    lines_.push_back(head);
    for (unsigned i = 0; i < counts[0]; ++i) {
      std::string line = "? " + get_name() + ' ';
      line += dns::type_text(static_cast<std::uint16_t>(get16())) + ' ';
      line += class_text(get16());
      lines_.push_back(line);
    }
    const char* sections[] = {"an ", "ns ", "ar "};
    for (unsigned section = 0; section < 3; ++section) {
      for (unsigned i = 0; i < counts[section + 1]; ++i) {
        const std::string owner = get_name();
        const unsigned type = get16();
        if (type == 41) {
          read_opt(lines_[0], rcode);
          continue;
        }
        const unsigned klass = get16();
        const unsigned ttl = get32();
        const unsigned bytes = get16();
        std::string line = sections[section] + owner + ' ' + std::to_string(ttl) + ' ';
        if (klass != 1) line += class_text(klass) + ' ';
        line += dns::type_text(static_cast<std::uint16_t>(type)) + ' ';
        line += get_rdata(type, bytes);
        lines_.push_back(line);
      }
    }
    if (at_ != message_.size()) throw std::runtime_error("bytes behind the last record");
  }

  const Octets& message_;
  std::size_t at_ = 0;
  std::vector<std::string> lines_;
};

}  // namespace pharos::packets
