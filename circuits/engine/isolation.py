"""Walls around an engine child, for models that come from strangers.

A child reads the interpreter, its libraries and the files that its call names; it writes its own
scratch folder; it starts no program, opens no socket, looks into no other process. Each wall
stands by itself where the kernel offers it, and ``standing`` says which do
(docs/decisions/0010-isolation.md says what is left):

* ``network``: a network namespace of the fork server's own, with nothing in it;
* ``files``: Landlock, over the whole file system;
* ``calls``: a seccomp filter, by libseccomp;
* and always: no new privileges, limits, a clean environment, no inherited descriptors.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import resource
import signal
import struct
import sys
import sysconfig
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
_CLONE_NEWUSER, _CLONE_NEWNET, _CLONE_NEWIPC = 0x10000000, 0x40000000, 0x08000000
_CLONE_THREAD = 0x00010000

#: What children may know of their parent's environment: nothing of ours, no credentials.
_KEPT = {"PATH", "LANG", "LANGUAGE", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV"}
_KEPT_PREFIXES = ("LC_", "PYTHON", "RAYON_", "OPENBLAS_", "OMP_", "MKL_", "ORT_", "RUST_", "HALO2_")

#: Beside the interpreter's own folders: what libc, Rust and onnxruntime look at.
_READ = (
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/usr/share/zoneinfo",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/proc/self",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/sys/vm/overcommit_memory",
    "/sys/devices/system",
    "/sys/fs/cgroup",
)
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")

#: System calls that no engine call makes: refused with EPERM.
_REFUSED = """
    socket connect bind listen accept accept4 execve execveat fork vfork ptrace process_vm_readv
    process_vm_writev process_madvise pidfd_open pidfd_getfd pidfd_send_signal kcmp unshare
    setns mount umount2 move_mount open_tree fsopen fsmount fspick mount_setattr pivot_root
    chroot open_by_handle_at name_to_handle_at bpf perf_event_open add_key request_key keyctl
    io_uring_setup io_uring_enter io_uring_register userfaultfd personality acct quotactl swapon
    swapoff reboot kexec_load kexec_file_load init_module finit_module delete_module
    clock_settime clock_adjtime settimeofday adjtimex sethostname setdomainname syslog shmget
    shmat shmctl semget semop semctl msgget msgsnd msgrcv msgctl mq_open mq_unlink setpriority
    sched_setscheduler sched_setattr sched_setparam ioprio_set migrate_pages move_pages chmod
    fchmodat fchmodat2 chown lchown fchownat setxattr lsetxattr removexattr lremovexattr
    fanotify_init lookup_dcookie nfsservctl vhangup iopl ioperm mknod mknodat setuid setgid
    setreuid setregid setresuid setresgid setgroups rt_sigqueueinfo rt_tgsigqueueinfo
"""


def clean_environment(given: Mapping[str, str]) -> dict[str, str]:
    """The part of an environment that an engine child may see."""
    return {k: v for k, v in given.items() if k in _KEPT or k.startswith(_KEPT_PREFIXES)}


def without_network() -> bool:
    """Moves this process, which must have one thread, into a network namespace with no way out.
    Whether the kernel let it. Its uid and gid stay."""
    if sys.platform != "linux":
        return False
    uid, gid = os.geteuid(), os.getegid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET | _CLONE_NEWIPC) != 0:
        return False
    with contextlib.suppress(OSError):
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
        Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
    return True


def limit(*, memory_bytes: int, cpu_s: float, cores: int) -> None:
    """Limits on this process. ``RLIMIT_DATA`` counts what is really allocated; the address space
    holds reservations too (stacks and arenas of threads), so that its limit is wider."""
    reserved = (8 << 30) + cores * (256 << 20)
    seconds = int(cpu_s) + 60
    for what, soft, hard in (
        (resource.RLIMIT_CORE, 0, 0),
        (resource.RLIMIT_DATA, memory_bytes, memory_bytes),
        (resource.RLIMIT_AS, 2 * memory_bytes + reserved, 2 * memory_bytes + reserved),
        (resource.RLIMIT_CPU, seconds, seconds + 5),
        (resource.RLIMIT_FSIZE, max(memory_bytes, 1 << 28), max(memory_bytes, 1 << 28)),
    ):
        highest = resource.getrlimit(what)[1]
        most = sys.maxsize if highest == resource.RLIM_INFINITY else highest
        resource.setrlimit(what, (min(soft, most), min(hard, most)))


def close_descriptors(keep: Iterable[int]) -> None:
    """Closes every other descriptor of this process."""
    low = 0
    for number in sorted(keep):
        if low < number:  # of an empty range from 0 on, CPython makes all descriptors
            os.closerange(low, number)
        low = number + 1
    os.closerange(low, 1 << 20)


def die_with_parent() -> None:
    """Asks the kernel to kill this process when its parent dies (Linux; elsewhere nothing)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def wall_in(reads: Iterable[str], writes: Iterable[str]) -> dict[str, bool]:
    """Raises the walls around this process, for good; which of them stand.

    ``reads`` are files and folders that it may read, ``writes`` those it may also write, each
    with all that is below. What does not exist is left out.
    """
    if sys.platform != "linux":
        return {"files": False, "calls": False}
    filters = _refusing()
    ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    files = _landlock([*_interpreter(), *_READ, *reads], [*_DEVICES, *writes])
    if filters is not None:
        filters.load()
    return {"files": files, "calls": filters is not None}


@cache
def _interpreter() -> tuple[str, ...]:
    """Folders of Python, of installed packages and of this one."""
    named = sysconfig.get_paths()
    found = {named[n] for n in ("stdlib", "platstdlib", "purelib", "platlib")}
    found |= {str(Path(sys.base_prefix) / "lib"), str(Path(sys.prefix) / "lib")}
    found |= {str(Path(__file__).parents[1]), str(Path(sys.prefix) / "pyvenv.cfg")}
    found |= {p for p in sys.path if p.endswith((".zip", "-packages", "lib-dynload"))}
    return tuple(sorted(found))


# --- Landlock ----------------------------------------------------------------------------------

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_RULE_PATH_BENEATH = 1
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 1 << 1, 1 << 2, 1 << 3
_TRUNCATE, _IOCTL_DEV = 1 << 14, 1 << 15
_ON_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
#: Rights on files by ABI version, as a count of bits: linux/landlock.h.
_BITS = {1: 13, 2: 14, 3: 15, 4: 15}
_BITS_NEWEST = 16
_TCP = 0b11  # bind, connect
_SCOPES = 0b11  # abstract sockets, signals to processes outside


def _landlock(reads: Iterable[str], writes: Iterable[str]) -> bool:
    libc = ctypes.CDLL(None, use_errno=True)
    abi = libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(1))
    if abi < 1:
        return False
    handled = (1 << _BITS.get(abi, _BITS_NEWEST)) - 1
    rules = struct.pack("=QQQ", handled, _TCP if abi >= 4 else 0, _SCOPES if abi >= 6 else 0)
    rules = rules[: 8 if abi < 4 else 16 if abi < 6 else 24]
    ruleset = libc.syscall(_CREATE_RULESET, rules, ctypes.c_size_t(len(rules)), ctypes.c_uint32(0))
    if ruleset < 0:
        return False
    try:
        for path in reads:
            _allow(libc, ruleset, path, (_READ_FILE | _READ_DIR) & handled)
        for path in writes:
            _allow(libc, ruleset, path, handled & ~_EXECUTE)
        return bool(libc.syscall(_RESTRICT_SELF, ruleset, ctypes.c_uint32(0)) == 0)
    finally:
        os.close(ruleset)


def _allow(libc: Any, ruleset: int, path: str, rights: int) -> None:
    try:
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.EACCES, errno.ENOTDIR):
            return
        raise
    try:
        if not os.path.isdir(f"/proc/self/fd/{handle}"):
            rights &= _ON_FILES
        rule = struct.pack("=Qi", rights, handle)
        libc.syscall(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, rule, ctypes.c_uint32(0))
    finally:
        os.close(handle)


# --- seccomp -----------------------------------------------------------------------------------


def _seccomp() -> Any:
    try:
        import pyseccomp
    except (ImportError, OSError, RuntimeError):  # no libseccomp on this machine
        return None
    return pyseccomp


def prepare() -> None:
    """Does once, in the fork server, what each child would do again."""
    _seccomp()
    _interpreter()


def _refusing() -> Any:
    """A filter for this process, not yet in force; None without libseccomp."""
    library = _seccomp()
    if library is None:
        return None
    refuse = library.ERRNO(errno.EPERM)
    filters = library.SyscallFilter(library.ALLOW)
    for name in _REFUSED.split():
        with contextlib.suppress(OSError, ValueError):  # not on this architecture
            filters.add_rule(refuse, name)
    # Threads only. clone3 hides its flags from filters; libc does without where it is missing.
    filters.add_rule(refuse, "clone", library.Arg(0, library.MASKED_EQ, _CLONE_THREAD, 0))
    filters.add_rule(library.ERRNO(errno.ENOSYS), "clone3")
    me = os.getpid()
    for name in ("kill", "tgkill"):
        filters.add_rule(refuse, name, library.Arg(0, library.NE, me))
    filters.add_rule(refuse, "tkill")
    filters.add_rule(refuse, "prlimit64", library.Arg(0, library.NE, 0))
    return filters
