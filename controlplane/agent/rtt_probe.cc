// A connected UDP socket for each responder, so that only its replies arrive; see rtt_probe.hh.
#include "pharos/controlplane/agent/rtt_probe.hh"

#include "pharos/controlplane/ingest/socket_address.hh"
#include "pharos/wire/dns.hh"

#include <sys/random.h>
#include <sys/socket.h>

#include <algorithm>

namespace pharos::agent {

Result<std::vector<std::byte>> make_probe_query(const std::string& name) {
  std::vector<std::byte> query(dns::header_bytes);
  reinterpret_cast<dns::Header*>(query.data())->question_count = std::uint16_t{1};
  std::string_view rest = name;
  if (rest.ends_with('.')) rest.remove_suffix(1);
  while (!rest.empty()) {
    const auto label = rest.substr(0, rest.find('.'));
    if (label.empty() || label.size() > dns::label_bytes_max) {
      return fail(ErrorCode::invalid, "'" + name + "' is not a domain name", "rtt_query_name",
                  "write a name like 'www.example.com.'");
    }
    query.push_back(static_cast<std::byte>(label.size()));
    std::ranges::copy(as_bytes(label), std::back_inserter(query));
    rest.remove_prefix(std::min(label.size() + 1, rest.size()));
  }
  query.push_back(std::byte{0});
  if (query.size() - dns::header_bytes > dns::name_bytes_max) {
    return fail(ErrorCode::invalid, "'" + name + "' is longer than 255 bytes", "rtt_query_name");
  }
  for (const auto field :
       {static_cast<std::uint16_t>(dns::Type::soa), static_cast<std::uint16_t>(dns::Class::in)}) {
    std::ranges::copy(object_bytes(Be16(field)), std::back_inserter(query));
  }
  return query;
}

RttProbe::RttProbe(Poller& poller, std::vector<std::byte> query)
    : poller_(poller), query_(std::move(query)) {}
RttProbe::~RttProbe() {
  close_socket();
}

void RttProbe::send(const config::SocketAddress& to, Instant at) {
  if (!socket_ || to != peer_) {
    close_socket();
    samples_.clear();
    sockaddr_storage system{};
    const auto length = controlplane::to_system(to, system);
    UniqueFd socket(::socket(system.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!socket || ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&system), length) != 0)
      return;
    if (!poller_.add(socket.get(), EPOLLIN, [this] { receive(); })) return;
    socket_ = std::move(socket);
    peer_ = to;
  }
  if (::getrandom(&id_, sizeof id_, 0) != sizeof id_) return;
  reinterpret_cast<dns::Header*>(query_.data())->id = id_;
  sent_at_ = at;
  waiting_ =
      ::send(socket_.get(), query_.data(), query_.size(), 0) == static_cast<ssize_t>(query_.size());
}

void RttProbe::receive() {
  const auto at = monotonic_now();
  std::array<std::byte, 2048> reply;
  for (;;) {
    const auto length = ::recv(socket_.get(), reply.data(), reply.size(), 0);
    if (length < 0) return;  // nothing more, or an ICMP error that the next send() will meet again
    if (!waiting_ || length < static_cast<ssize_t>(dns::header_bytes)) continue;
    const auto& header = *reinterpret_cast<const dns::Header*>(reply.data());
    if (header.id != id_ || (header.flags & dns::flag::qr) == 0) continue;
    waiting_ = false;
    if (samples_.size() == samples_max) samples_.erase(samples_.begin());
    samples_.push_back({at, static_cast<float>((at - sent_at_).ns) / 1000.0F});
  }
}

std::optional<float> RttProbe::rtt_us(Instant at) const {
  if (samples_.empty() || at - samples_.back().at > sample_age_max) return std::nullopt;
  std::vector<float> sorted;
  for (const auto& sample : samples_) sorted.push_back(sample.rtt_us);
  std::ranges::sort(sorted);
  return sorted[sorted.size() / 2];
}

void RttProbe::close_socket() {
  if (!socket_) return;
  poller_.remove(socket_.get());
  socket_.reset();
  waiting_ = false;
}

}  // namespace pharos::agent
