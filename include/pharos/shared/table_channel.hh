// How tables cross: messages over a SOCK_SEQPACKET unix socket, images as sealed memfds beside them.
//
// The data plane listens at <run>/tables.sock, checks the peer's credentials and serves one control plane
// at a time (a newer connection replaces an older one). It speaks first:
//
//   data plane                                   control plane
//       Hello {version in use, ids} + ring fds  ->
//                                              <-  Publish {version, images} + image fds
//       Acknowledge {version, outcome, reason}  ->
//
// A Publish replaces the parts that it carries and keeps the others; the data plane proves the new parts,
// that all parts fit together, and that the version is newer than the one in use. Otherwise it
// refuses, says why, and nothing changes.
#pragma once

#include "pharos/base/error.hh"
#include "pharos/base/fd.hh"
#include "pharos/shared/image.hh"

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace pharos::table_channel {

inline constexpr std::uint32_t protocol_magic = 0x42545250;  // "PRTB"
inline constexpr std::uint16_t protocol_version = 1;
inline constexpr unsigned fds_max = 64;  // rings of one hello; images of a publish are at most 4

enum class MessageType : std::uint16_t { hello = 1, publish = 2, acknowledge = 3 };

struct MessageHeader {
  std::uint32_t magic;
  std::uint16_t protocol_version;
  MessageType type;
};
static_assert(sizeof(MessageHeader) == 8);

struct Hello {
  MessageHeader header;
  std::uint32_t worker_count;  // one ring fd for each comes with this message
  std::uint32_t reserved;
  std::uint64_t boot_id;  // random per start of the data plane
  Version in_use;         // 0.0: no tables yet
  Version ranking;        // of the newest ranking segment in use
  Version ranking_base;
  std::uint64_t pools_id;    // content_id of the catalog in use
  std::uint64_t locales_id;  // content_id of the locale map in use
  std::uint32_t ranking_segments;
  std::uint32_t reserved1;
};
static_assert(sizeof(Hello) == 96);

struct Publish {
  MessageHeader header;
  std::uint32_t image_count;  // 1-4, one fd each, in the order of `kinds`
  std::uint32_t reserved;
  Version version;  // of the root that results
  std::array<ImageKind, 4> kinds;
};
static_assert(sizeof(Publish) == 48);

enum class Outcome : std::uint32_t {
  adopted = 0,
  stale = 1,        // not newer than what is in use
  refused = 2,      // an image is not sound, or the parts do not fit together
  out_of_step = 3,  // a delta follows a version that is not in use: send a base
};

struct Acknowledge {
  MessageHeader header;
  Outcome outcome;
  std::uint32_t reserved;
  Version version;               // of the publish that this answers
  Version in_use;                // after it
  std::int64_t adopted_ns;       // CLOCK_MONOTONIC at the swap
  std::array<char, 256> reason;  // text, ends with a zero
};
static_assert(sizeof(Acknowledge) == 312);

using Message = std::variant<Hello, Publish, Acknowledge>;
struct Received {
  Message message;
  std::vector<UniqueFd> fds;
};

[[nodiscard]] MessageHeader header_for(MessageType type) noexcept;

// Listens at `path` without blocking, with mode 0600, or what lets a third user in whom accept_peer() knows, replacing a dead socket file (never another kind of file, nor
// one where somebody listens). Errors: unavailable, conflict, invalid (the path is too long for a socket).
[[nodiscard]] Result<UniqueFd> listen_at(const std::string& path, mode_t mode = 0600);
// Accepts one connection and checks that the peer's user is root, ours, or `allowed_uid`. Neither the call nor
// the connection blocks. Errors: exhausted (nobody waits), denied, unavailable.
[[nodiscard]] Result<UniqueFd> accept_peer(int listener, unsigned allowed_uid);
// A blocking connection. Errors: unavailable (hint: nobody listens there), invalid.
[[nodiscard]] Result<UniqueFd> connect_to(const std::string& path);

// One message with its fds; blocks as the socket does. Errors: unavailable, exhausted (would block).
[[nodiscard]] Status send(int socket, ConstBytes message, std::span<const int> fds);
// Errors: unavailable (closed: `what` is "closed by peer"), exhausted (would block), invalid, unsupported. After
// any of the last two the peer does not speak our protocol: close. Fds of a refused message are closed.
[[nodiscard]] Result<Received> receive(int socket);

// The proof of one message that came with `fd_count` descriptors; fuzzed. Errors: invalid, unsupported.
[[nodiscard]] Result<Message> parse_message(ConstBytes bytes, std::size_t fd_count);

// A publish of `kinds` (1-4) and the answer to one.
[[nodiscard]] Publish make_publish(Version version, std::span<const ImageKind> kinds) noexcept;
// `reason` is cut where it is too long.
[[nodiscard]] Acknowledge make_acknowledge(Outcome outcome, Version of, Version in_use,
                                           std::string_view reason) noexcept;
[[nodiscard]] std::string_view name_of(Outcome outcome) noexcept;

}  // namespace pharos::table_channel
