// A copied message as a dnstap frame: protocol buffers by protobuf-c, of the schema in dnstap.proto. The dnstap thread.
#pragma once

#include "pharos/dataplane/observe/watch.hh"

#include <cstdint>
#include <string>
#include <vector>

namespace pharos::dataplane {

inline constexpr const char* dnstap_content_type = "protobuf:dnstap.Dnstap";

// As which server messages are sent.
struct DnstapServer {
  std::string identity;
  std::string version;
};

// Encodes a record of a dnstap ring in place of what is in `frame`. False: no record.
[[nodiscard]] bool encode_dnstap(ConstBytes record, const DnstapServer& server,
                                 std::vector<std::uint8_t>& frame);

}  // namespace pharos::dataplane
