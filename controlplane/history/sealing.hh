// Sealing of columns at rest (XChaCha20-Poly1305), and their packing. Private to this folder.
#pragma once

#include "pharos/base/bytes.hh"
#include "pharos/base/error.hh"

#include <array>
#include <string>
#include <string_view>

namespace pharos::controlplane {

class Sealer {
 public:
  // The key in `path`, closed to other users; made where it is missing. Errors: unavailable, invalid.
  [[nodiscard]] static Result<Sealer> open(const std::string& path);

  // `purpose` is bound to the text: a column cannot be moved into another.
  [[nodiscard]] std::string seal(std::string_view text, std::string_view purpose) const;
  // Errors: invalid (of another key or purpose, or damaged).
  [[nodiscard]] Result<std::string> unseal(std::string_view sealed, std::string_view purpose) const;

 private:
  std::array<unsigned char, 32> key_{};
};

// Deflated, quickly. `unpack` errors: invalid, also where it is more than `bytes_max`.
[[nodiscard]] std::string pack(std::string_view text);
[[nodiscard]] Result<std::string> unpack(std::string_view packed, std::size_t bytes_max);

}  // namespace pharos::controlplane
