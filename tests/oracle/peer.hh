// NSD, Knot and BIND as oracles: each started on a free loopback port with its files in a folder of its own, asked
// over UDP, and ended and cleaned up with the object.
#pragma once

#include "pharos/base/bytes.hh"
#include "pharos/base/error.hh"
#include "pharos/base/fd.hh"

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace pharos::oracle {

struct ZoneFile {
  std::string origin;  // "example.com."
  std::string path;
};

enum class PeerKind { nsd, knot, bind };

class Peer {
 public:
  // Waits until every zone is answered. With a cookie secret, in hexadecimal, NSD and Knot answer cookies. Errors: not_found
  // (not installed), unavailable.
  [[nodiscard]] static Result<Peer> start(PeerKind kind, std::span<const ZoneFile> zones,
                                          const std::string& cookie_secret = {});
  ~Peer();
  Peer(Peer&& other) noexcept;
  Peer& operator=(Peer&&) = delete;

  [[nodiscard]] const char* name() const noexcept {
    return kind_ == PeerKind::nsd ? "NSD" : kind_ == PeerKind::knot ? "Knot" : "BIND";
  }

  // The reply to a query, or nothing within 2 s.
  [[nodiscard]] std::vector<std::byte> ask(ConstBytes query) const;
  // The same over TCP, on a connection of its own.
  [[nodiscard]] std::vector<std::byte> ask_tcp(ConstBytes query) const;

 private:
  Peer(PeerKind kind, std::filesystem::path folder) : kind_(kind), folder_(std::move(folder)) {}
  [[nodiscard]] Status launch(const std::string& program, std::span<const ZoneFile> zones);
  [[nodiscard]] std::string nsd_configuration(std::span<const ZoneFile> zones) const;
  [[nodiscard]] std::string knot_configuration(std::span<const ZoneFile> zones) const;
  [[nodiscard]] std::string bind_configuration(std::span<const ZoneFile> zones) const;
  [[nodiscard]] Status wait_ready(std::span<const ZoneFile> zones);

  PeerKind kind_;
  std::filesystem::path folder_;
  std::string cookie_secret_;
  pid_t pid_ = -1;
  std::uint16_t port_ = 0;
  UniqueFd socket_;
};

// A query as it goes over the wire: id, name (wire form), type, and OPT with that payload size, none for 0.
[[nodiscard]] std::vector<std::byte> make_query(std::uint16_t id, ConstBytes name,
                                                std::uint16_t type, std::uint16_t payload_bytes);

}  // namespace pharos::oracle
