#include "sealing.hh"

#include "pharos/base/fd.hh"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <sodium.h>

#include <cerrno>

namespace pharos::controlplane {
namespace {

constexpr std::size_t nonce_bytes = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES;
constexpr std::size_t tag_bytes = crypto_aead_xchacha20poly1305_ietf_ABYTES;
static_assert(crypto_aead_xchacha20poly1305_ietf_KEYBYTES == 32);

const unsigned char* bytes_of(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

}  // namespace

Result<Sealer> Sealer::open(const std::string& path) {
  Sealer sealer;
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (fd) {
    struct stat info{};
    if (::fstat(fd.get(), &info) != 0) return fail_errno("fstat", path);
    if ((info.st_mode & (S_IRWXG | S_IRWXO)) != 0)
      return fail(ErrorCode::invalid, "the key of the history is open to others", path,
                  "chmod 0600 " + path);
    if (::read(fd.get(), sealer.key_.data(), sealer.key_.size()) !=
        static_cast<ssize_t>(sealer.key_.size()))
      return fail(ErrorCode::invalid, "the key of the history is too short", path,
                  "put the right one back, or move it and history.db away");
    return sealer;
  }
  if (errno != ENOENT) return fail_errno("open", path);
  randombytes_buf(sealer.key_.data(), sealer.key_.size());
  fd = UniqueFd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd ||
      ::write(fd.get(), sealer.key_.data(), sealer.key_.size()) !=
          static_cast<ssize_t>(sealer.key_.size()) ||
      ::fsync(fd.get()) != 0)
    return fail_errno("write", path);
  return sealer;
}

std::string Sealer::seal(std::string_view text, std::string_view purpose) const {
  std::string sealed(nonce_bytes + text.size() + tag_bytes, '\0');
  auto* to = reinterpret_cast<unsigned char*>(sealed.data());
  randombytes_buf(to, nonce_bytes);
  crypto_aead_xchacha20poly1305_ietf_encrypt(to + nonce_bytes, nullptr, bytes_of(text), text.size(),
                                             bytes_of(purpose), purpose.size(), nullptr, to,
                                             key_.data());
  return sealed;
}

Result<std::string> Sealer::unseal(std::string_view sealed, std::string_view purpose) const {
  if (sealed.size() < nonce_bytes + tag_bytes)
    return fail(ErrorCode::invalid, "a sealed column is too short", "history.db");
  std::string text(sealed.size() - nonce_bytes - tag_bytes, '\0');
  if (crypto_aead_xchacha20poly1305_ietf_decrypt(
          reinterpret_cast<unsigned char*>(text.data()), nullptr, nullptr,
          bytes_of(sealed) + nonce_bytes, sealed.size() - nonce_bytes, bytes_of(purpose),
          purpose.size(), bytes_of(sealed), key_.data()) != 0) {
    return fail(ErrorCode::invalid, "a sealed column cannot be opened with this key", "history.db",
                "put the history.key back that belongs to it");
  }
  return text;
}

std::string pack(std::string_view text) {
  auto size = ::compressBound(text.size());
  std::string packed(8 + size, '\0');
  const std::uint64_t bytes = text.size();
  std::memcpy(packed.data(), &bytes, sizeof bytes);
  ::compress2(reinterpret_cast<Bytef*>(packed.data() + 8), &size,
              reinterpret_cast<const Bytef*>(text.data()), text.size(), Z_BEST_SPEED);
  packed.resize(8 + size);
  return packed;
}

Result<std::string> unpack(std::string_view packed, std::size_t bytes_max) {
  std::uint64_t bytes = 0;
  if (packed.size() < sizeof bytes)
    return fail(ErrorCode::invalid, "a packed column is too short", "history.db");
  std::memcpy(&bytes, packed.data(), sizeof bytes);
  if (bytes > bytes_max)
    return fail(ErrorCode::invalid, "a packed column is too long", "history.db");
  std::string text(bytes, '\0');
  uLongf size = bytes;
  if (::uncompress(reinterpret_cast<Bytef*>(text.data()), &size,
                   reinterpret_cast<const Bytef*>(packed.data() + 8), packed.size() - 8) != Z_OK ||
      size != bytes)
    return fail(ErrorCode::invalid, "a packed column is damaged", "history.db");
  return text;
}

}  // namespace pharos::controlplane
