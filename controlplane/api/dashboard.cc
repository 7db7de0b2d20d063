#include "pharos/controlplane/api/api_server.hh"

#include <sodium.h>

#include <array>

#include "dashboard_page.hh"

namespace pharos::controlplane {
namespace {

// The text of the one <script> or <style> of the page.
std::string_view inside(std::string_view page, std::string_view tag) {
  const auto open = "<" + std::string(tag) + ">";
  const auto close = "</" + std::string(tag) + ">";
  const auto from = page.find(open);
  const auto to = page.find(close);
  if (from == page.npos || to == page.npos) return {};
  return page.substr(from + open.size(), to - from - open.size());
}

std::string source_of(std::string_view text) {
  std::array<unsigned char, crypto_hash_sha256_BYTES> hash{};
  crypto_hash_sha256(hash.data(), reinterpret_cast<const unsigned char*>(text.data()), text.size());
  constexpr int variant = sodium_base64_VARIANT_ORIGINAL;
  std::string base64(sodium_base64_encoded_len(hash.size(), variant), '\0');
  sodium_bin2base64(base64.data(), base64.size(), hash.data(), hash.size(), variant);
  base64.pop_back();
  return "'sha256-" + base64 + "'";
}

}  // namespace

const std::string& dashboard_page() {
  static const std::string page(reinterpret_cast<const char*>(dashboard_bytes),
                                sizeof dashboard_bytes);
  return page;
}

const std::string& dashboard_policy() {
  static const std::string policy =
      "default-src 'none'; connect-src 'self'; img-src data:; script-src " +
      source_of(inside(dashboard_page(), "script")) + "; style-src " +
      source_of(inside(dashboard_page(), "style")) +
      "; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
  return policy;
}

}  // namespace pharos::controlplane
