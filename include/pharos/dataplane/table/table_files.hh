// The last good tables on disk: image files, and the manifest that says which of them belong together.
//
//   <state>/tables/
//     manifest            which images are in use, and their version
//     manifest.previous   the same of the last set with another catalog, locale map or base
//     <kind>-<epoch>.<generation>-<checksum>.image
//
// Every file is written aside, synced and renamed; the manifest comes last. So a manifest only ever names images
// that were whole when it was written, whenever the process or the machine stops. Used by the saver's
// thread, and by the control thread before that one starts.
#pragma once

#include "pharos/base/error.hh"
#include "pharos/dataplane/table/root.hh"

#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace pharos::dataplane {

// The images of a root, shared with it.
struct TableSet {
  Version version;
  SharedImage catalog;
  SharedImage locale_map;
  std::vector<SharedImage> ranking;  // base, then deltas
};
[[nodiscard]] TableSet set_of(const TableRoot& root);

// A manifest's content. File names only, never paths.
struct Manifest {
  Version version;
  std::string catalog;
  std::string locale_map;
  std::vector<std::string> ranking;  // base, then deltas
  friend bool operator==(const Manifest&, const Manifest&) = default;

  [[nodiscard]] std::string text() const;
  // Errors: invalid (damaged, or not a manifest), unsupported.
  [[nodiscard]] static Result<Manifest> parse(std::string_view text);
  [[nodiscard]] bool same_base(const Manifest& other) const noexcept;
};

class TableFiles {
 public:
  // Makes the directory where it is absent. `seat_count`: see make_root(). Errors: unavailable.
  [[nodiscard]] static Result<TableFiles> open(std::string directory, unsigned seat_count = 1);

  // The newest set that proves sound, or null. Deltas behind a damaged one are left out; where a base, the catalog or
  // the locale map is damaged, the former set is tried. `notes` gets a line for each damage and for what was taken.
  [[nodiscard]] std::unique_ptr<const TableRoot> load(std::vector<std::string>& notes);

  // Writes what is not on disk yet, then the manifest, then takes away what no manifest names any more.
  [[nodiscard]] Status save(const TableSet& set);

 private:
  [[nodiscard]] Result<Manifest> read_manifest(const char* name) const;
  [[nodiscard]] std::unique_ptr<const TableRoot> load_set(const Manifest& manifest,
                                                          std::vector<std::string>& notes);
  [[nodiscard]] Result<SharedImage> load_image(const std::string& name);
  [[nodiscard]] Status write_file(const std::string& name, ConstBytes bytes);
  [[nodiscard]] Status write_manifest(const Manifest& manifest);
  void remove_unnamed();
  [[nodiscard]] std::string path_of(std::string_view name) const;

  std::string directory_;
  unsigned seat_count_ = 1;
  std::set<std::string> sound_;  // image files that were proven or written by us
  Manifest newest_;              // as on disk
};

}  // namespace pharos::dataplane
