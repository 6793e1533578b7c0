"""What a process that runs a student's code may not do, and how that is made so.

Linux lets an ordinary user build a jail of several walls; each stands by itself, and those that a
system does not have are named by :func:`missing`:

- **namespaces**: no network, no other processes, and a view of the file system that holds the
  libraries, read-only, and a small folder in memory, and nothing else (user_namespaces(7));
- **landlock**: the same files out of reach once more, and no connections (Linux documentation,
  "Landlock: unprivileged access control");
- **seccomp**: no new processes, programs, sockets, mounts or tracing (package ``pyseccomp``);
- **limits** on memory, processor time, open files and file sizes (setrlimit(2)).

On other systems the process boundary and what there is of limits stay.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import platform
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

MOST_FILE = 32 << 20
MOST_FILES = 128
MOST_THREADS = 64
FOLDER_SIZE = "size=64m,nr_inodes=4096,mode=700"
ENVIRONMENT = {"HOME": "/tmp", "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "MPLBACKEND": "agg"}
_KEPT = ("OMP_NUM_THREADS", "NST_DEVICE", "NST_WEIGHTS", "TZ", "SYSTEMROOT")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")
_SYSTEM = (
    *("/usr", "/lib", "/lib64", "/lib32", "/bin", "/etc/ld.so.cache", "/etc/fonts"),
    *("/etc/localtime", "/etc/alternatives", "/nix/store"),
)

_SENTENCES = {
    "namespaces": "Workers are not in namespaces of their own (user namespaces are missing or "
    "switched off): they see other processes, and files they write are not limited in number.",
    "landlock": "Landlock is missing (Linux 5.13 and newer have it): files are protected by the "
    "private view of the file system alone.",
    "seccomp": "System calls are not filtered (package pyseccomp with libseccomp, on Linux): new "
    "processes are held back by limits alone.",
    "limits": "Memory, processor time and files are not limited on this system.",
}
_NOTHING_HIDDEN = (
    "Neither namespaces nor Landlock are there: an answer can read and change every file of the "
    "user who grades, and use the network. Grade on Linux, or in a container made for it."
)

# linux/sched.h, linux/mount.h, linux/prctl.h
_NEW_USERS, _NEW_PROCESSES = 0x10000000, 0x20000000
_NEW_MOUNTS, _NEW_NETWORK, _NEW_MESSAGES, _NEW_NAMES = 0x00020000, 0x40000000, 1 << 27, 1 << 26
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_BIND, _MS_REC, _MS_PRIVATE = 1, 2, 4, 4096, 16384, 1 << 18
_MNT_DETACH = 2
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_PDEATHSIG, _DUMPABLE, _CAPBSET_DROP, _NO_NEW_PRIVS = 1, 4, 24, 38
# Numbers of system calls that the C library has no function for; from 424 on they are the same
# everywhere.
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_MOUNT_SETATTR, _LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 442, 444, 445, 446


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


# --- what there is --------------------------------------------------------------------------------


@functools.cache
def protections() -> dict[str, bool]:
    """Return which walls this system has, by name; found out by building them once.

    Call it in a process without other threads: it forks.
    """
    if not hasattr(os, "fork"):
        return dict.fromkeys(_SENTENCES, False)
    with contextlib.suppress(ImportError, OSError, RuntimeError):
        import pyseccomp  # noqa: F401 - in the jail its library would not be found
    return {
        "namespaces": _succeeds(_try_namespaces),
        "landlock": _succeeds(lambda: _landlock([Path("/")], [], [])),
        "seccomp": _succeeds(_seccomp),
        "limits": _succeeds(lambda: _limits(1 << 30, 60.0)),
    }


def missing(there: dict[str, bool]) -> list[str]:
    """Return a sentence for each wall that is not there.

    Args:
        there: what :func:`protections` returned where the workers are.
    """
    sentences = [text for name, text in _SENTENCES.items() if not there[name]]
    if not there["namespaces"] and not there["landlock"]:
        sentences.append(_NOTHING_HIDDEN)
    return sentences


def _succeeds(attempt: Callable[[], object], fork: Callable[[], int] | None = None) -> bool:
    """Return whether a function returns normally in a process of its own."""
    child = (fork or os.fork)()
    if child == 0:
        code = 1
        try:
            attempt()
            code = 0
        finally:
            os._exit(code)
    return os.waitpid(child, 0)[1] == 0


def _try_namespaces() -> None:
    import tempfile

    folder = Path(tempfile.mkdtemp(prefix="nst-trial-"))
    try:
        _unshare_users()
        if not _succeeds(lambda: _try_view(folder)):
            raise OSError("processes cannot be set apart")
    finally:
        folder.rmdir()


def _try_view(folder: Path) -> None:
    if not _succeeds(lambda: _view(folder, [Path("/usr")], []), fork_apart):
        raise OSError("a private view of the file system cannot be made")


# --- the walls ------------------------------------------------------------------------------------


def readable(images: Iterable[Path] = ()) -> list[Path]:
    """Return what a worker has to read: Python, the libraries, and these folders of pictures."""
    import torch

    libraries = Path(torch.__file__).resolve().parents[1]
    prefixes = [sys.prefix, sys.base_prefix, sys.exec_prefix, libraries, *images, *_SYSTEM]
    found: dict[Path, None] = {}
    for path in map(Path, prefixes):
        for each in (path, path.resolve()):
            if each.exists() and each != Path("/"):
                found[each] = None
    return [path for path in found if not any(parent in found for parent in path.parents)]


def hidden() -> list[Path]:
    """Return what a worker must not read even where it lies among the libraries: this package."""
    package = Path(__file__).resolve().parents[1]
    return [path for path in package.iterdir() if path.name != "_images"]


def end_with_parent() -> None:
    """Let this process be killed when its parent ends, where the system can do that."""
    if sys.platform == "linux":
        _checked(_libc().prctl(_PDEATHSIG, signal.SIGKILL, 0, 0, 0))


def nest() -> bool:
    """Become able to fork children in namespaces of their own; return whether there are any.

    Call it before much is loaded: it forks, and the process that called it waits for the child,
    which goes on.
    """
    if not protections()["namespaces"]:
        return False
    _unshare_users()
    child = os.fork()
    if child:
        # Whoever talks to the child notices when it is gone.
        os.closerange(3, 1 << 16)
        os._exit(abs(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])))
    end_with_parent()
    return True


def _unshare_users() -> None:
    """Let this process be the owner of namespaces, and its next child the first of a new one."""
    user, group = os.getuid(), os.getgid()
    _checked(_libc().unshare(_NEW_USERS | _NEW_PROCESSES))
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{group} {group} 1")


def fork_apart() -> int:
    """Fork, after :func:`nest`; the child sees no process but those that it starts itself.

    It is process 1 of its namespace: when it ends, so does all that it started.
    """
    own = os.open("/proc/self/ns/pid", os.O_RDONLY)
    _checked(_libc().unshare(_NEW_PROCESSES))
    child = -1
    try:
        child = os.fork()
    finally:
        # A second one can be made only from where the first one was.
        if child != 0:
            _checked(_libc().setns(own, _NEW_PROCESSES))
        os.close(own)
    return child


def enter(
    folder: Path,
    *,
    readable: Iterable[str],
    hidden: Iterable[str],
    memory: int,
    seconds: float,
    separated: bool,
) -> None:
    """Build every wall there is around this process, for good.

    Args:
        folder: an empty folder of its own, the only one it may write to.
        readable: what it may read.
        hidden: what it may not read although it lies inside of that.
        memory: bytes of memory that it may take.
        seconds: of processor time.
        separated: whether it came from :func:`fork_apart`.
    """
    there = protections()
    paths, out_of_reach = [Path(path) for path in readable], [Path(path) for path in hidden]
    space = _address_space()
    end_with_parent()
    if separated:
        _view(folder, paths, out_of_reach)
        paths, out_of_reach, folder = [Path("/")], [], Path("/tmp")
    os.chdir(folder)
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    os.environ.clear()
    os.environ.update(ENVIRONMENT | kept | {"HOME": str(folder), "TMPDIR": str(folder)})
    _settle_temporary_folder(folder)
    if sys.platform == "linux":
        _drop_privileges(None if separated or there["landlock"] else folder)
    if there["landlock"]:
        devices = [path for path in map(Path, _DEVICES) if path.exists()]
        _landlock(paths, [folder, *devices], out_of_reach)
    if there["limits"]:
        _limits(space + memory, seconds, threads=separated)
    if there["seccomp"]:
        _seccomp(files=not separated)


def _settle_temporary_folder(folder: Path) -> None:
    import tempfile

    tempfile.tempdir = str(folder)


def _address_space() -> int:
    """Return how many bytes of addresses this process uses, which is far more than memory."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except OSError:
        return 16 << 30
    return pages * os.sysconf("SC_PAGE_SIZE")


def _drop_privileges(folder: Path | None) -> None:
    """Give up all that root may do; and being root, where nothing else keeps root's files.

    Args:
        folder: what nobody is to own from now on; None stays who it is.
    """
    libc = _libc()
    libc.prctl(_DUMPABLE, 0, 0, 0, 0)
    for capability in range(64):
        libc.prctl(_CAPBSET_DROP, capability, 0, 0, 0)
    if os.getuid() == 0 and folder is not None:
        nobody = 65534
        os.chown(folder, nobody, nobody)
        os.setgroups([])
        os.setresgid(nobody, nobody, nobody)
        os.setresuid(nobody, nobody, nobody)
    # capset(2): version 3 of the header, and no capability in any of the sets.
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    _checked(libc.capset(header, (ctypes.c_uint32 * 6)()))
    _checked(libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0))
    end_with_parent()  # a change of identity forgets it


def _limits(memory: int, seconds: float, *, threads: bool = False) -> None:
    import resource

    wanted = {
        "RLIMIT_AS": memory,
        "RLIMIT_CPU": int(seconds) + 1,
        "RLIMIT_FSIZE": MOST_FILE,
        "RLIMIT_NOFILE": MOST_FILES,
        "RLIMIT_CORE": 0,
    }
    if threads:
        # Elsewhere it would count the processes of the user who grades. Root is never limited.
        wanted["RLIMIT_NPROC"] = MOST_THREADS
    for name, most in wanted.items():
        if hasattr(resource, name):
            kind = getattr(resource, name)
            ceiling = resource.getrlimit(kind)[1]
            if ceiling != resource.RLIM_INFINITY:
                most = min(most, ceiling)
            resource.setrlimit(kind, (most, most))
    # Writing too much raises an error instead of ending the process.
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)


# --- a private view of the file system ------------------------------------------------------------


class _MountAttributes(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "userns"))


def _mount(
    source: str, target: Path, kind: str | None, flags: int, data: str | None = None
) -> None:
    encoded = [None if text is None else str(text).encode() for text in (source, target, kind)]
    options = None if data is None else data.encode()
    _checked(_libc().mount(*encoded, ctypes.c_ulong(flags), options))


def _make_readonly(path: Path, *, recursive: bool = True, devices: bool = False) -> None:
    # mount_setattr(2): MOUNT_ATTR_RDONLY, NOSUID, NODEV.
    attributes = _MountAttributes(set=1 | 2 | (0 if devices else 4))
    size, flags = ctypes.sizeof(attributes), _AT_RECURSIVE if recursive else 0
    result = _libc().syscall(
        ctypes.c_long(_MOUNT_SETATTR),
        ctypes.c_int(_AT_FDCWD),
        str(path).encode(),
        ctypes.c_uint(flags),
        ctypes.byref(attributes),
        ctypes.c_size_t(size),
    )
    _checked(result)


def _view(folder: Path, readable: Iterable[Path], hidden: Iterable[Path]) -> None:
    """Leave this process a file system of these paths, read-only, and a /tmp in memory."""
    _checked(_libc().unshare(_NEW_MOUNTS | _NEW_NETWORK | _NEW_MESSAGES | _NEW_NAMES))
    _mount("none", Path("/"), None, _MS_REC | _MS_PRIVATE)
    _mount("tmpfs", folder, "tmpfs", _MS_NOSUID | _MS_NODEV, "size=1m,mode=755")
    for name in ("tmp", "old"):
        (folder / name).mkdir()
    # Before the others: a course in a folder below /tmp is seen there, too.
    _mount("tmpfs", folder / "tmp", "tmpfs", _MS_NOSUID | _MS_NODEV, FOLDER_SIZE)
    for path in readable:
        _bind(path, folder / path.relative_to("/"))
    for path in hidden:
        covered = folder / path.relative_to("/")
        if covered.is_dir():
            _mount("tmpfs", covered, "tmpfs", _MS_RDONLY, "size=4k,mode=755")
        elif covered.exists():
            _mount("/dev/null", covered, None, _MS_BIND)
    for path in map(Path, _DEVICES):
        _bind(path, folder / path.relative_to("/"), devices=True)
    pivot = _PIVOT_ROOT[platform.machine()]
    old = folder / "old"
    _checked(_libc().syscall(ctypes.c_long(pivot), str(folder).encode(), str(old).encode()))
    os.chdir("/")
    _checked(_libc().umount2(b"/old", _MNT_DETACH))
    Path("/old").rmdir()
    _make_readonly(Path("/"), recursive=False)


def _bind(path: Path, target: Path, *, devices: bool = False) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if path.is_symlink():
        target.symlink_to(path.readlink())
        return
    if path.is_dir():
        target.mkdir(exist_ok=True)
    else:
        target.touch()
    _mount(str(path), target, None, _MS_BIND | _MS_REC)
    _make_readonly(target, devices=devices)


# --- Landlock -------------------------------------------------------------------------------------

# linux/landlock.h: rights on files, and which version brought the last ones.
_READ = 1 << 0 | 1 << 2 | 1 << 3
_FILE_RIGHTS = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 14 | 1 << 15
_ALL_RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}


class _Ruleset(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint64) for name in ("files", "network", "scoped"))


class _PathRule(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


def _landlock(readable: Iterable[Path], writable: Iterable[Path], hidden: Iterable[Path]) -> None:
    """Let this process read and write these paths and no others, and connect to nothing."""
    system = _libc().syscall
    version = _checked(system(ctypes.c_long(_LANDLOCK_CREATE), None, ctypes.c_size_t(0), 1))
    rights = _ALL_RIGHTS[max(known for known in _ALL_RIGHTS if known <= version)]
    ruleset = _Ruleset(rights, 3 if version >= 4 else 0, 3 if version >= 6 else 0)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    created = system(
        ctypes.c_long(_LANDLOCK_CREATE), ctypes.byref(ruleset), ctypes.c_size_t(size), 0
    )
    rules = _checked(created)
    _checked(_libc().prctl(_NO_NEW_PRIVS, 1, 0, 0, 0))
    allowed = [(path, _READ) for each in readable for path in _without(each, list(hidden))]
    for path, wanted in [*allowed, *((path, rights) for path in writable)]:
        with contextlib.suppress(FileNotFoundError, PermissionError):
            _allow(rules, path, wanted & rights)
    _checked(system(ctypes.c_long(_LANDLOCK_RESTRICT), ctypes.c_int(rules), 0))
    os.close(rules)


def _allow(rules: int, path: Path, rights: int) -> None:
    descriptor = os.open(path, os.O_PATH)
    try:
        rule = _PathRule(rights if path.is_dir() else rights & _FILE_RIGHTS, descriptor)
        kind = 1  # LANDLOCK_RULE_PATH_BENEATH
        added = _libc().syscall(
            ctypes.c_long(_LANDLOCK_ADD), ctypes.c_int(rules), kind, ctypes.byref(rule), 0
        )
        _checked(added)
    finally:
        os.close(descriptor)


def _without(path: Path, hidden: list[Path]) -> Iterator[Path]:
    """Yield what together is a folder without the hidden parts of it."""
    resolved = path.resolve()
    if resolved in hidden:
        return
    if not any(resolved in each.parents for each in hidden):
        yield path
        return
    for inner in path.iterdir():
        yield from _without(inner, hidden)


# --- seccomp --------------------------------------------------------------------------------------

_REFUSED = (
    *("execve", "execveat", "fork", "vfork", "socket", "socketpair", "connect", "bind", "listen"),
    *("accept", "accept4", "ptrace", "process_vm_readv", "process_vm_writev", "process_madvise"),
    *("mount", "umount2", "pivot_root", "chroot", "unshare", "setns", "mount_setattr", "fsopen"),
    *("fsmount", "fsconfig", "move_mount", "open_tree", "name_to_handle_at", "open_by_handle_at"),
    *("bpf", "perf_event_open", "userfaultfd", "io_uring_setup", "io_uring_enter"),
    *("io_uring_register", "add_key", "request_key", "keyctl", "kexec_load", "init_module"),
    *("finit_module", "pidfd_open", "pidfd_getfd", "pidfd_send_signal", "rt_sigqueueinfo"),
    *("rt_tgsigqueueinfo", "tkill", "memfd_create", "memfd_secret", "mq_open", "shmget", "msgget"),
    *("semget", "personality", "setpriority", "sched_setscheduler", "prlimit64_set", "quotactl"),
    *("swapon", "reboot", "acct", "settimeofday", "clock_settime", "sethostname", "mknod"),
    "mknodat",
)
# Landlock does not guard who owns a file, when it was changed and who may read it.
_REFUSED_FILES = (
    *("chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "fchown", "lchown", "fchownat"),
    *("utime", "utimes", "utimensat", "futimesat", "setxattr", "lsetxattr", "fsetxattr"),
    *("removexattr", "lremovexattr", "fremovexattr"),
)
_CLONE_THREAD = 0x10000


def _seccomp(*, files: bool = False) -> None:
    """Refuse system calls that no answer needs; threads still work."""
    import errno

    import pyseccomp as seccomp

    refuse = seccomp.ERRNO(errno.EPERM)
    rules = seccomp.SyscallFilter(defaction=seccomp.ALLOW)
    for name in _REFUSED + (_REFUSED_FILES if files else ()):
        with contextlib.suppress(ValueError, OSError):  # not a call of this machine
            rules.add_rule(refuse, name)
    no_thread = seccomp.Arg(0, seccomp.MASKED_EQ, _CLONE_THREAD, 0)
    rules.add_rule(refuse, "clone", no_thread)
    # Its flags lie in memory, where no filter looks; the C library then uses clone.
    rules.add_rule(seccomp.ERRNO(errno.ENOSYS), "clone3")
    for name in ("kill", "tgkill"):
        rules.add_rule(refuse, name, seccomp.Arg(0, seccomp.NE, os.getpid()))
    rules.load()
