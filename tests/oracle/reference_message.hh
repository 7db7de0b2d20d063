// DNS messages for the reference responder: requests read and replies written octet by octet, with nothing of the
// packet path's code. Names are labels; a reply compresses none and knows no limit of size.
#pragma once

#include "pharos/base/ip_address.hh"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace pharos::oracle {

using Octets = std::vector<std::byte>;
// Labels, the first one first; folded where it is a key.
using Name = std::vector<std::string>;

// Names by their ancestors, so that all below a name follow it.
struct AncestorsFirst {
  bool operator()(const Name& a, const Name& b) const;
};

struct Record {
  Name owner;
  std::uint16_t type = 0;
  std::uint16_t klass = 1;
  std::uint32_t ttl_s = 0;
  std::string rdata;
};

inline constexpr unsigned noerror = 0, formerr = 1, nxdomain = 3, notimp = 4, refused = 5,
                          yxdomain = 6, badvers = 16;
inline constexpr std::uint16_t type_opt = 41;

void put(Octets& out, const void* bytes, std::size_t count);
void put(Octets& out, const std::string& text);
void put16(Octets& out, std::size_t value);
[[nodiscard]] std::string name_wire(const Name& name);

// Reads with bounds; `good` falls where it ends early.
struct Cursor {
  const Octets& bytes;
  std::size_t at = 0;
  bool good = true;

  unsigned get8();
  unsigned get16();
  Octets take(std::size_t count);
  Name get_name();  // uncompressed, at most 255 octets
  // An owner, which may end in a pointer, passed over. Says whether it is the root, written out.
  bool pass_owner();
};

// What a request says, and the RCODE that reading it found.
struct ReferenceRequest {
  std::uint16_t id = 0;
  std::uint16_t flags = 0;
  Octets question;  // as it came; empty while none could be read
  Name name;        // case as asked
  std::uint16_t type = 0;
  std::uint16_t klass = 0;
  bool edns = false;
  bool dnssec_ok = false;
  bool wants_nsid = false;
  std::optional<Octets> subnet;  // the option's content
  std::optional<Octets> cookie;
  IpAddress source;
  unsigned rcode = noerror;

  // At least a header, QR clear.
  void read(const Octets& message);
  // Who is answered (RFC 7871, 7.2.1).
  [[nodiscard]] IpAddress client() const;

 private:
  bool read_options(const Octets& options);
  void read_additional(Cursor& cursor, unsigned count);
};

struct ReferenceReply {
  std::uint16_t id = 0;
  std::uint16_t flags = 0;
  unsigned rcode = 0;
  bool ranked = false;  // by a service: the order of the answer says something
  Octets question;
  std::vector<Record> answer, authority;
  std::vector<Record> required, optional;  // additional
  std::optional<Octets> opt;               // with the upper bits of the RCODE in place

  // As a message, with the optional additional records or without.
  [[nodiscard]] Octets wire(bool with_optional) const;
};

}  // namespace pharos::oracle
