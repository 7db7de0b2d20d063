// DNS and ICMP: a question, and an answer that has to be to it.
#include "pharos/wire/dns.hh"
#include "pharos/wire/name_text.hh"

#include <netinet/icmp6.h>
#include <netinet/ip_icmp.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <vector>

#include "probes.hh"

namespace pharos::probe {
namespace {

using Buffer = std::array<std::byte, 4096>;

template <typename Number>
Number random_number() noexcept {
  Number number{};
  // Without randomness an off-path answer is a little easier; the probe still works.
  [[maybe_unused]] const auto got = ::getrandom(&number, sizeof number, 0);
  return number;
}

class DatagramProbe : public Probe {
 public:
  using Probe::Probe;
  void ready() override {
    Buffer buffer;
    while (!outcome_) {
      const auto got = ::recv(fd_.get(), buffer.data(), buffer.size(), 0);
      if (got < 0 && errno == EAGAIN) return;
      if (got < 0) return conclude(false, fail_errno("recv").error().text());
      judge(ConstBytes(buffer).first(static_cast<std::size_t>(got)));
    }
  }

 protected:
  // Concludes, or leaves it where the datagram is no answer to our question.
  virtual void judge(ConstBytes reply) = 0;
  void ask(ConstBytes question) {
    if (::send(fd_.get(), question.data(), question.size(), 0) !=
        static_cast<ssize_t>(question.size()))
      return conclude(false, fail_errno("send").error().text());
    events_ = EPOLLIN;
  }
};

class DnsProbe final : public DatagramProbe {
 public:
  explicit DnsProbe(const Target& target) : DatagramProbe(target) {
    const auto name = dns::parse_name(target.query_name);
    if (!name) {
      conclude(false, name.error().text());
      return;
    }
    query_.resize(dns::header_bytes);
    auto& header = *reinterpret_cast<dns::Header*>(query_.data());
    header.id = random_number<std::uint16_t>();
    header.question_count = std::uint16_t{1};
    std::ranges::copy(name->view(), std::back_inserter(query_));
    for (const auto field : {target.query_type, static_cast<std::uint16_t>(dns::Class::in)})
      std::ranges::copy(object_bytes(Be16(field)), std::back_inserter(query_));
    if (open_socket(SOCK_DGRAM, 0)) ask(query_);
  }

 private:
  void judge(ConstBytes reply) override {
    if (reply.size() < query_.size()) return;
    const auto& header = *reinterpret_cast<const dns::Header*>(reply.data());
    const auto& asked = *reinterpret_cast<const dns::Header*>(query_.data());
    // Our id and, byte by byte, our question: anything else is not from whom we asked.
    if (header.id != asked.id || (header.flags & dns::flag::qr) == 0) return;
    const auto question = ConstBytes(query_).subspan(dns::header_bytes);
    if (!std::ranges::equal(reply.subspan(dns::header_bytes, question.size()), question)) return;
    const unsigned rcode = header.flags & 0xfU;
    if (rcode != 0) return conclude(false, "rcode " + std::to_string(rcode));
    if (header.answer_count == 0) return conclude(false, "there are no records");
    if (!target_.expect || holds(reply, header.answer_count)) return conclude(true);
    conclude(false, target_.expect->text() + " is not among the answers");
  }

  // Whether an address record of the answer is the one expected.
  [[nodiscard]] bool holds(ConstBytes reply, unsigned records) const {
    std::size_t at = query_.size();
    constexpr std::size_t fixed_bytes = 10;
    const auto wanted = target_.expect->wire();
    for (; records > 0; --records) {
      while (at < reply.size()) {  // the owner: labels up to the root, or to a pointer
        const auto length = static_cast<std::uint8_t>(reply[at]);
        at += length >= 0xc0 ? 2 : std::size_t{1} + length;
        if (length == 0 || length >= 0xc0) break;
      }
      if (at + fixed_bytes > reply.size()) return false;
      const std::size_t bytes = load<Be16>(reply.data() + at + fixed_bytes - 2);
      at += fixed_bytes;
      if (at + bytes > reply.size()) return false;
      if (std::ranges::equal(reply.subspan(at, bytes), wanted)) return true;
      at += bytes;
    }
    return false;
  }

  std::vector<std::byte> query_;
};

// Ping sockets need no right where net.ipv4.ping_group_range has our group; raw ones need CAP_NET_RAW.
class IcmpProbe final : public DatagramProbe {
 public:
  explicit IcmpProbe(const Target& target) : DatagramProbe(target) {
    const int protocol = ipv4() ? int{IPPROTO_ICMP} : int{IPPROTO_ICMPV6};
    if (!open_socket(SOCK_DGRAM, protocol)) {
      outcome_.reset();
      raw_ = true;
      if (!open_socket(SOCK_RAW, protocol)) {
        outcome_->reason +=
            " (allow ping sockets by net.ipv4.ping_group_range, or give CAP_NET_RAW)";
        return;
      }
    }
    echo_[0] = static_cast<std::uint8_t>(ipv4() ? ICMP_ECHO : ICMP6_ECHO_REQUEST);
    const auto token = random_number<std::uint64_t>();
    store(echo_.data() + 4, random_number<std::uint32_t>());  // identifier and sequence
    store(echo_.data() + header_bytes, token);
    if (raw_ && ipv4()) store(echo_.data() + 2, checksum());
    ask(std::as_bytes(std::span(echo_)));
  }

 private:
  static constexpr std::size_t header_bytes = 8;

  [[nodiscard]] bool ipv4() const noexcept { return target_.to.address.is_ipv4(); }

  // RFC 1071, over the echo with a checksum of zero.
  [[nodiscard]] std::uint16_t checksum() const noexcept {
    std::uint32_t sum = 0;
    for (std::size_t i = 0; i < echo_.size(); i += 2) sum += load<std::uint16_t>(echo_.data() + i);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return static_cast<std::uint16_t>(~sum);
  }

  void judge(ConstBytes reply) override {
    // Raw sockets of IPv4 give the IP header as well.
    if (raw_ && ipv4()) {
      const std::size_t skip = reply.empty() ? 0 : (static_cast<std::size_t>(reply[0]) & 0xf) * 4;
      if (reply.size() < skip) return;
      reply = reply.subspan(skip);
    }
    if (reply.size() < echo_.size()) return;
    const auto type = static_cast<std::uint8_t>(reply[0]);
    if (type != (ipv4() ? ICMP_ECHOREPLY : ICMP6_ECHO_REPLY)) return;
    const auto token = std::as_bytes(std::span(echo_)).subspan(header_bytes);
    if (std::ranges::equal(reply.subspan(header_bytes, token.size()), token)) conclude(true);
  }

  std::array<std::uint8_t, header_bytes + 8> echo_{};
  bool raw_ = false;
};

}  // namespace

std::unique_ptr<Probe> start_dns(const Target& target) {
  return std::make_unique<DnsProbe>(target);
}
std::unique_ptr<Probe> start_icmp(const Target& target) {
  return std::make_unique<IcmpProbe>(target);
}

}  // namespace pharos::probe
