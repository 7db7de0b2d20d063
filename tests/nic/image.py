"""The guest's image: a Debian kernel and an initial RAM file system with all that the two daemons link and load.

Made once with mmdebstrap from the mirror that this machine's apt uses, kept in a cache folder under a name that is the
digest of what went into it, and found again by the next run. Nothing of Pharos is in it: programs, configuration and the
guest's agent travel in a second archive (machine.py), so a new build costs no new image.

Uncompressed on purpose: the guest's CPU is emulated, and inflating takes it longer than reading.
"""

import hashlib
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent.parent / "scripts"))

from world import _libc, _PR_SET_PDEATHSIG  # noqa: E402

SUITE = "bookworm"
UNFINISHED = "unfinished-"  # starts the names of folders that are not an image yet
KERNEL = "linux-image-amd64"
# What runs in the guest beside the daemons: the agent and scripts/nic (python3), addresses (iproute2), modules (kmod).
TOOLS = ["busybox-static", "python3", "iproute2", "kmod", KERNEL]
# DPDK's drivers are loaded by name from a folder, so that no program's list of libraries has them.
DRIVERS = ["librte-bus-pci23", "librte-bus-vdev23", "librte-mempool-ring23", "librte-net-e1000-23",
           "librte-net-virtio23", "librte-net-vmxnet3-23"]
MODULES = ["vfio-pci", "vfio_iommu_type1", "e1000", "e1000e", "vmxnet3", "virtio_net", "virtio_pci", "tun",
           "uio_pci_generic"]
# Never read in the guest, and two thirds of the bytes.
PRUNED = ["usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info", "usr/share/perl", "usr/share/zoneinfo",
          "usr/lib/x86_64-linux-gnu/perl", "usr/lib/x86_64-linux-gnu/perl-base", "usr/lib/x86_64-linux-gnu/gconv",
          "usr/lib/udev", "lib/udev", "usr/lib/klibc", "usr/lib/systemd", "lib/systemd", "var", "boot",
          "usr/share/initramfs-tools", "usr/share/misc", "usr/lib/python3.11/test", "usr/lib/python3.11/idlelib"]


def end_with_parent():
    """In a child before its program: it is killed when its parent dies, however that may die."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class ImageError(Exception):
    """The image cannot be made; the text says which step failed and how."""


class Image:
    def __init__(self, kernel, archive):
        self.kernel = kernel    # path of a bzImage
        self.archive = archive  # path of a cpio archive


def libraries(programs):
    """Debian packages of the shared libraries that these programs link."""
    text = "".join(subprocess.run(["ldd", p], capture_output=True, text=True, check=True).stdout for p in programs)
    if missing := re.findall(r"(\S+) => not found", text):
        raise ImageError(f"libraries that this machine does not have: {', '.join(sorted(set(missing)))}")
    # Packages list files as they were before /lib became a link to /usr/lib.
    names = {path: {path, os.path.realpath(path)} for path in set(re.findall(r"(/\S+) \(0x", text))}
    for known in names.values():
        known |= {name.removeprefix("/usr") for name in known}
    # One question for all: each reads the whole of dpkg's lists.
    found = subprocess.run(["dpkg", "-S", *sorted(set().union(*names.values()))], capture_output=True, text=True,
                           check=False).stdout
    owner = {name: package.split(":")[0] for package, name in re.findall(r"(?m)^([^,\s]+): (/\S+)$", found)}
    owners = set()
    for path, known in names.items():
        packages = {owner[name] for name in known if name in owner}
        if not packages:
            raise ImageError(f"no Debian package has {path}, so the guest cannot have it")
        owners |= packages
    return sorted(owners)


def sources():
    """The file that names this machine's Debian mirror; none: mmdebstrap's own choice."""
    for name in ("/etc/apt/sources.list.d/debian.sources", "/etc/apt/sources.list"):
        path = pathlib.Path(name)
        if path.exists() and SUITE in path.read_text():
            return [name]
    return []


def obtain(cache, programs, say, timeout_s=900):
    """Finds or makes the image for these programs in the folder `cache`."""
    packages = sorted({*TOOLS, *DRIVERS, *libraries(programs)})
    recipe = pathlib.Path(__file__).read_bytes() + "\n".join(packages).encode()
    folder = pathlib.Path(cache) / hashlib.sha256(recipe).hexdigest()[:16]
    image = Image(folder / "vmlinuz", folder / "root.cpio")
    if image.archive.exists():
        return image
    folder.parent.mkdir(parents=True, exist_ok=True)
    clean(cache)
    say(f"making the guest's image from {len(packages)} packages and what they need ...")
    # Images of other recipes: one machine needs one.
    for stale in folder.parent.iterdir():
        shutil.rmtree(stale, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=UNFINISHED) as work:
        root = pathlib.Path(work) / "root"
        _bootstrap(root, packages, timeout_s)
        _prune(root)
        made = pathlib.Path(work) / "image"
        made.mkdir()
        kernel = max((root / "boot").glob("vmlinuz-*"))
        shutil.copyfile(kernel, made / "vmlinuz")
        _keep_modules(root, kernel.name.removeprefix("vmlinuz-"))
        shutil.rmtree(root / "boot")
        _finish(root)
        pack(root, made / "root.cpio")
        made.rename(folder)
    say(f"image: {image.archive.stat().st_size >> 20} MiB in {folder}")
    return image


def clean(cache):
    """Removes what a killed run has left of an image in the making."""
    for stale in pathlib.Path(cache).glob(f"{UNFINISHED}*"):
        shutil.rmtree(stale, ignore_errors=True)


def _run(command, timeout_s=300, **options):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=timeout_s, check=False,
                          **options)
    if done.returncode != 0:
        raise ImageError(f"{command[0]}: {(done.stderr or done.stdout).strip()[-2000:]}")
    return done.stdout


def _bootstrap(root, packages, timeout_s):
    """mmdebstrap in a namespace of processes, which end all at once where one of us is killed: apt would write on into a
    folder that the next run removes. On SIGTERM mmdebstrap itself first waits for it."""
    # `extract`: files only. No package's script runs, which is all that an image without a package manager needs.
    command = ["unshare", "--pid", "--fork", "--kill-child=KILL", "--mount-proc",
               "mmdebstrap", "--mode=root", "--variant=extract", "--format=directory", f"--include={','.join(packages)}",
               SUITE, str(root), *sources()]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                                   env={**os.environ, "TMPDIR": str(root.parent)},
                                   preexec_fn=end_with_parent)
        try:
            code = process.wait(timeout_s)
        except BaseException:
            process.kill()
            process.wait(10)
            raise
        if code != 0:
            log.seek(0)
            raise ImageError(f"mmdebstrap: {log.read().decode(errors='replace').strip()[-2000:]}")


def _prune(root):
    for path in PRUNED:
        if path != "boot":
            shutil.rmtree(root / path, ignore_errors=True)


def _keep_modules(root, version):
    """Leaves the modules that the guest loads, and what these need."""
    _run(["chroot", root, "/sbin/depmod", version])
    folder = root / "lib/modules" / version
    needs = {}
    for line in (folder / "modules.dep").read_text().splitlines():
        path, _, rest = line.partition(":")
        needs[path] = rest.split()
    by_name = {pathlib.Path(p).name.split(".")[0].replace("-", "_"): p for p in needs}
    built_in = {pathlib.Path(p).stem.replace("-", "_") for p in (folder / "modules.builtin").read_text().split()}
    kept = set()
    for module in MODULES:
        name = module.replace("-", "_")
        if name in by_name:
            kept |= {by_name[name], *needs[by_name[name]]}
        elif name not in built_in:
            raise ImageError(f"the kernel {version} has no module {module}")
    for path in needs:
        if path not in kept:
            (folder / path).unlink()
    _run(["chroot", root, "/sbin/depmod", version])


def _finish(root):
    for folder in ("dev", "proc", "sys", "run", "tmp", "var", "dev/hugepages", "root", "opt/pharos"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    # The kernel opens it before anything is mounted.
    console = root / "dev/console"
    if not console.exists():
        os.mknod(console, 0o600 | 0o020000, os.makedev(5, 1))


def pack(root, archive):
    """A folder as the cpio archive that a kernel unpacks; several may stand one behind the other."""
    names = subprocess.run(["find", ".", "-print0"], cwd=root, capture_output=True, check=True).stdout
    with open(archive, "wb") as out:
        done = subprocess.run(["cpio", "--null", "--create", "--format=newc", "--quiet", "--owner=0:0"], cwd=root,
                              input=names, stdout=out, stderr=subprocess.PIPE, check=False)
    if done.returncode != 0:
        raise ImageError(f"cpio: {done.stderr.decode()[-2000:]}")
