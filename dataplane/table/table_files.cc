// Saving and loading of tables. See table_files.hh.
#include "pharos/dataplane/table/table_files.hh"

#include <fcntl.h>
#include <sys/stat.h>

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <iterator>
#include <system_error>

namespace pharos::dataplane {
namespace {

constexpr const char* manifest_name = "manifest";
constexpr const char* previous_name = "manifest.previous";
constexpr std::string_view image_suffix = ".image";
constexpr std::string_view temporary_suffix = ".new";
constexpr std::string_view manifest_head = "pharos-tables 1";
constexpr std::size_t manifest_bytes_max = 64U << 10;

std::string file_name_of(const SharedImage& image) {
  const auto header = load<ImageHeader>(image->data());
  std::string kind(name_of(header.kind));
  std::ranges::replace(kind, ' ', '-');
  return fmt::format("{}-{}.{}-{:016x}{}", kind, header.version.epoch, header.version.generation,
                     header.checksum, image_suffix);
}

Manifest manifest_of(const TableSet& set) {
  Manifest manifest{set.version, file_name_of(set.catalog), file_name_of(set.locale_map), {}};
  std::ranges::transform(set.ranking, std::back_inserter(manifest.ranking), file_name_of);
  return manifest;
}

// A name as file_name_of() makes them: no way out of the directory.
bool is_image_name(std::string_view name) {
  return name.size() <= 128 && name.ends_with(image_suffix) && !name.starts_with('.') &&
         std::ranges::all_of(name, [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.';
         });
}

std::string digest_of(std::string_view text) {
  // FNV-1a: against a torn or edited file, not against attack.
  std::uint64_t digest = 0xcbf29ce484222325;
  for (const char c : text) digest = (digest ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return fmt::format("{:016x}", digest);
}

// Takes the text up to `delimiter` off the front.
std::string_view take_until(std::string_view& text, char delimiter) {
  const auto end = std::min(text.find(delimiter), text.size());
  const auto part = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return part;
}

bool parse_number(std::string_view text, std::uint64_t& number) {
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), number);
  return code == std::errc{} && end == text.data() + text.size();
}

Status write_all(int fd, ConstBytes bytes) {
  while (!bytes.empty()) {
    const auto written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return fail_errno("write");
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  return ::fdatasync(fd) == 0 ? Status{} : fail_errno("fdatasync");
}

Status sync_directory(const std::string& directory) {
  const UniqueFd fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd || ::fsync(fd.get()) != 0) return fail_errno("fsync", directory);
  return {};
}

}  // namespace

TableSet set_of(const TableRoot& root) {
  return {root.version, root.catalog_bytes, root.locale_bytes, root.ranking_bytes};
}

std::string Manifest::text() const {
  auto text = fmt::format("{}\nversion {}.{}\ncatalog {}\nlocale-map {}\n", manifest_head,
                          version.epoch, version.generation, catalog, locale_map);
  for (const auto& name : ranking) fmt::format_to(std::back_inserter(text), "ranking {}\n", name);
  return text + "digest " + digest_of(text) + "\n";
}

Result<Manifest> Manifest::parse(std::string_view text) {
  const auto whole = text;
  if (take_until(text, '\n') != manifest_head)
    return fail(ErrorCode::unsupported, "not a manifest of this version");
  Manifest manifest;
  bool has_version = false;
  while (!text.empty()) {
    const auto line_start = static_cast<std::size_t>(text.data() - whole.data());
    auto value = take_until(text, '\n');
    const auto key = take_until(value, ' ');
    if (key == "digest") {
      const bool good = value == digest_of(whole.substr(0, line_start)) && text.empty() &&
                        has_version && !manifest.catalog.empty() && !manifest.locale_map.empty() &&
                        !manifest.ranking.empty();
      if (good) return manifest;
      break;
    }
    if (key == "version") {
      const auto epoch = take_until(value, '.');
      has_version = parse_number(epoch, manifest.version.epoch) &&
                    parse_number(value, manifest.version.generation);
      continue;
    }
    if (!is_image_name(value)) break;
    if (key == "catalog") manifest.catalog = value;
    if (key == "locale-map") manifest.locale_map = value;
    if (key == "ranking") manifest.ranking.emplace_back(value);
  }
  return fail(ErrorCode::invalid, "damaged: its digest or a line is wrong");
}

bool Manifest::same_base(const Manifest& other) const noexcept {
  return catalog == other.catalog && locale_map == other.locale_map && !ranking.empty() &&
         !other.ranking.empty() && ranking.front() == other.ranking.front();
}

Result<TableFiles> TableFiles::open(std::string directory, unsigned seat_count) {
  std::error_code failure;
  std::filesystem::create_directories(directory, failure);
  if (failure) return fail(ErrorCode::unavailable, failure.message(), directory);
  if (::access(directory.c_str(), R_OK | W_OK | X_OK) != 0) return fail_errno("access", directory);
  TableFiles files;
  files.directory_ = std::move(directory);
  files.seat_count_ = seat_count;
  if (auto newest = files.read_manifest(manifest_name)) files.newest_ = std::move(*newest);
  return files;
}

std::string TableFiles::path_of(std::string_view name) const {
  return fmt::format("{}/{}", directory_, name);
}

Result<Manifest> TableFiles::read_manifest(const char* name) const {
  const auto path = path_of(name);
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!fd && errno == ENOENT) return fail(ErrorCode::not_found, "no such file", path);
  if (!fd) return fail_errno("open", path);
  std::string text(manifest_bytes_max, '\0');
  const auto got = ::pread(fd.get(), text.data(), text.size(), 0);
  if (got < 0) return fail_errno("pread", path);
  text.resize(static_cast<std::size_t>(got));
  auto manifest = Manifest::parse(text);
  if (!manifest) return std::unexpected(std::move(manifest).error().in(path));
  return manifest;
}

std::unique_ptr<const TableRoot> TableFiles::load(std::vector<std::string>& notes) {
  for (const char* name : {manifest_name, previous_name}) {
    const auto manifest = read_manifest(name);
    if (!manifest) {
      if (manifest.error().code != ErrorCode::not_found) notes.push_back(manifest.error().text());
      continue;
    }
    if (auto root = load_set(*manifest, notes)) {
      notes.push_back(fmt::format(
          "took {} as of {}: version {}.{}", path_of(name),
          root->ranking_bytes.size() == manifest->ranking.size() ? "written" : "its sound part",
          root->version.epoch, root->version.generation));
      // What was damaged must not become the former set that the next save keeps.
      if (name == previous_name)
        ::rename(path_of(previous_name).c_str(), path_of(manifest_name).c_str());
      newest_ = *manifest;
      return root;
    }
  }
  return nullptr;
}

Result<SharedImage> TableFiles::load_image(const std::string& name) {
  auto copy = read_image_file(path_of(name));
  if (!copy) return std::unexpected(std::move(copy).error());
  return std::make_shared<const Mapping>(std::move(*copy));
}

std::unique_ptr<const TableRoot> TableFiles::load_set(const Manifest& manifest,
                                                      std::vector<std::string>& notes) {
  const auto give_up = [&](const Error& error) {
    notes.push_back(error.text());
    return nullptr;
  };
  auto catalog = load_image(manifest.catalog);
  if (!catalog) return give_up(catalog.error());
  auto locale_map = load_image(manifest.locale_map);
  if (!locale_map) return give_up(locale_map.error());
  auto base = load_image(manifest.ranking.front());
  if (!base) return give_up(base.error());
  auto first =
      make_root(nullptr, manifest.version, {*catalog, *locale_map, *base, nullptr}, seat_count_);
  if (!first) return give_up(std::move(first).error().in(directory_));
  sound_.insert({manifest.catalog, manifest.locale_map, manifest.ranking.front()});

  auto root = std::make_unique<TableRoot>(**first);
  for (auto name = manifest.ranking.begin() + 1; name != manifest.ranking.end(); ++name) {
    const auto image = load_image(*name);
    auto ranking =
        image ? root->ranking.prove_delta((*image)->bytes()) : std::unexpected(image.error());
    if (!ranking) {
      notes.push_back(std::move(ranking).error().in(path_of(*name)).text());
      // The sound part is no newer than its images.
      root->version = std::max({root->catalog.header().version, root->locales.header().version,
                                root->ranking.version()});
      break;
    }
    root->ranking = std::move(*ranking);
    root->ranking_bytes.push_back(*image);
    sound_.insert(*name);
  }
  return root;
}

Status TableFiles::write_file(const std::string& name, ConstBytes bytes) {
  const auto path = path_of(name);
  const auto aside = path + std::string(temporary_suffix);
  ::unlink(aside.c_str());  // left by a process that was killed
  UniqueFd fd(::open(aside.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0640));
  if (!fd) return fail_errno("open", aside);
  auto written = write_all(fd.get(), bytes);
  if (written && ::rename(aside.c_str(), path.c_str()) != 0) written = fail_errno("rename");
  if (!written) {
    ::unlink(aside.c_str());
    return std::unexpected(std::move(written).error().in(aside));
  }
  return {};
}

Status TableFiles::write_manifest(const Manifest& manifest) {
  if (!manifest.same_base(newest_) && !newest_.catalog.empty()) {
    const auto previous = path_of(previous_name);
    ::unlink(previous.c_str());
    // A link, so that at no moment there is no manifest.
    if (::link(path_of(manifest_name).c_str(), previous.c_str()) != 0 && errno != ENOENT) {
      return fail_errno("link", previous);
    }
  }
  if (auto written = write_file(manifest_name, as_bytes(manifest.text())); !written) return written;
  newest_ = manifest;
  return sync_directory(directory_);
}

Status TableFiles::save(const TableSet& set) {
  const auto manifest = manifest_of(set);
  const auto write_image = [&](const std::string& name, const SharedImage& image) -> Status {
    if (sound_.contains(name)) return {};
    auto written = write_file(name, image->bytes());
    if (written) sound_.insert(name);
    return written;
  };
  auto written = write_image(manifest.catalog, set.catalog);
  if (written) written = write_image(manifest.locale_map, set.locale_map);
  for (std::size_t i = 0; written && i < set.ranking.size(); ++i) {
    written = write_image(manifest.ranking[i], set.ranking[i]);
  }
  if (written) written = sync_directory(directory_);
  if (written) written = write_manifest(manifest);
  if (written) remove_unnamed();
  return written;
}

// Failures here cost space only; the next save tries again.
void TableFiles::remove_unnamed() {
  std::set<std::string> named;
  for (const char* name : {manifest_name, previous_name}) {
    const auto manifest = read_manifest(name);
    if (!manifest) continue;
    named.insert({manifest->catalog, manifest->locale_map});
    named.insert(manifest->ranking.begin(), manifest->ranking.end());
  }
  std::error_code failure;
  std::vector<std::string> gone;
  for (std::filesystem::directory_iterator at(directory_, failure), end; !failure && at != end;
       at.increment(failure)) {
    const auto name = at->path().filename().string();
    const bool ours = is_image_name(name) ||
                      name.ends_with(std::string(image_suffix) + std::string(temporary_suffix));
    if (ours && !named.contains(name)) gone.push_back(name);
  }
  for (const auto& name : gone) {
    ::unlink(path_of(name).c_str());
    sound_.erase(name);
  }
}

}  // namespace pharos::dataplane
