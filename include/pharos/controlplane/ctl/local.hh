// The commands of pharosctl that need no daemon: images, configuration and zones on disk, keys.
//
// Each prints its result and returns an Error where it did not work. One thread.
#pragma once

#include "pharos/base/error.hh"
#include "pharos/controlplane/ctl/terminal.hh"

#include <string>
#include <vector>

namespace pharos::controlplane::ctl {

// Proves image files. A ranking delta is proven on the base and deltas before it: give them in the order of publishing.
// `dump` prints their contents, too.
[[nodiscard]] Status image_command(const std::vector<std::string>& files, bool dump, bool json,
                                   const Terminal& terminal);

// Loads a configuration; the error holds every mistake, one a line.
[[nodiscard]] Status check_config(const std::string& file, bool json, const Terminal& terminal);

// Reads a zone file and checks what would be served from it.
[[nodiscard]] Status check_zone_file(const std::string& origin, const std::string& file, bool json,
                                     const Terminal& terminal);

struct NewKey {
  unsigned id = 1;      // of a key of beacons
  unsigned bytes = 32;  // 32: of beacons; 16: of cookies, or the client key
  bool bare = false;    // only the secret, for a key file
};
// A fresh token of the API, and the line of YAML that lets it in. The token is shown once, and kept nowhere.
[[nodiscard]] Status generate_token(const std::string& id, const std::string& role, bool json,
                                    const Terminal& terminal);
// A fresh key: a line of YAML, or the bare secret.
[[nodiscard]] Status generate_key(const NewKey& key, bool json, const Terminal& terminal);

}  // namespace pharos::controlplane::ctl
