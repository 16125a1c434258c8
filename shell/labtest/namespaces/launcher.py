"""Becomes a host: makes its namespaces and its root, and turns into its systemd.

A program of its own (``python -I -S launcher.py``, nothing but the standard library, so it starts in 15 ms and can leave the maker's
threads alone). It reads a JSON object, one line, from standard input (:class:`Plan`), says ``unshared`` once its namespaces exist, waits for the
line ``go`` (by then the maker has put ``eth0`` into its network namespace), and says ``booted PID``, the host's systemd as this machine
sees it, or ``failed: …``.

What a host has of this machine is a copy on write of its root file system, and nothing else: /proc, /sys, /dev, /run and /tmp are its own. It
can read the kernel's settings and not change them: those outside of namespaces are the machine's (/proc/sys is read-only but for ``net``, as in
systemd-nspawn(1)).
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from typing import NoReturn

__all__ = ["main"]

# linux/sched.h
_CLONE_NEWTIME = 0x80
_CLONE_NEWNS = 0x0002_0000
_CLONE_NEWCGROUP = 0x0200_0000
_CLONE_NEWUTS = 0x0400_0000
_CLONE_NEWIPC = 0x0800_0000
_CLONE_NEWPID = 0x2000_0000
_CLONE_NEWNET = 0x4000_0000
_NAMESPACES = _CLONE_NEWNS | _CLONE_NEWCGROUP | _CLONE_NEWUTS | _CLONE_NEWIPC | _CLONE_NEWNET

# sys/mount.h
_MS_RDONLY = 1
_MS_NOSUID = 2
_MS_NODEV = 4
_MS_NOEXEC = 8
_MS_REMOUNT = 32
_MS_BIND = 4096
_MS_REC = 16384
_MS_PRIVATE = 1 << 18
_MNT_DETACH = 2
_SAFE = _MS_NOSUID | _MS_NODEV | _MS_NOEXEC

#: pivot_root(2) has no wrapper in the C library.
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41, "riscv64": 41, "s390x": 217, "ppc64le": 203}

_PR_CAPBSET_DROP = 24
#: What changes the machine under a host's feet (capability.h): modules, raw devices, the clock, wake-ups, the audit system.
_CAPABILITIES_DROPPED = {
    "SYS_MODULE": 16,
    "SYS_RAWIO": 17,
    "SYS_TIME": 25,
    "AUDIT_CONTROL": 30,
    "WAKE_ALARM": 35,
}

#: Devices that a program may expect (mem(4), tty(4)); the last two where the machine has them.
_DEVICES = {
    "null": (1, 3),
    "zero": (1, 5),
    "full": (1, 7),
    "random": (1, 8),
    "urandom": (1, 9),
    "tty": (5, 0),
}
_DEVICES_IF_THERE = {"net/tun": (10, 200), "fuse": (10, 229)}

_SYSTEMD = "/usr/lib/systemd/systemd"

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _mount(source: str, target: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    result = _libc.mount(
        source.encode(),
        target.encode(),
        kind.encode() or None,
        ctypes.c_ulong(flags),
        options.encode() or None,
    )
    _check(result, f"mount {kind or source} on {target}")


def _bind_read_only(path: str) -> None:
    _mount(path, path, flags=_MS_BIND)
    _mount("none", path, flags=_MS_BIND | _MS_REMOUNT | _MS_RDONLY | _SAFE)


def _mount_kernel_files(root: str) -> None:
    """/proc and /sys: of the host's own namespaces, and unable to change the machine."""
    _mount("proc", f"{root}/proc", "proc", _SAFE)
    _mount(f"{root}/proc/sys", f"{root}/proc/sys", flags=_MS_BIND)
    _mount(f"{root}/proc/sys/net", f"{root}/proc/sys/net", flags=_MS_BIND)
    boot_id = f"{root}/proc/sys/kernel/random/boot_id"
    _mount(f"{root}/run/boot-id", boot_id, flags=_MS_BIND)
    _mount("none", boot_id, flags=_MS_BIND | _MS_REMOUNT | _MS_RDONLY | _SAFE)
    os.unlink(f"{root}/run/boot-id")  # what is mounted stays
    _mount("none", f"{root}/proc/sys", flags=_MS_BIND | _MS_REMOUNT | _MS_RDONLY | _SAFE)
    if os.path.exists(f"{root}/proc/sysrq-trigger"):
        _bind_read_only(f"{root}/proc/sysrq-trigger")
    _mount("sysfs", f"{root}/sys", "sysfs", _SAFE | _MS_RDONLY)
    _mount("cgroup2", f"{root}/sys/fs/cgroup", "cgroup2", _SAFE)


def _make_devices(dev: str, shared_memory_bytes: int) -> None:
    _mount("tmpfs", dev, "tmpfs", _MS_NOSUID, "mode=755,size=4m,nr_inodes=4096")
    there = {name: number for name, number in _DEVICES_IF_THERE.items() if os.path.exists(f"/dev/{name}")}
    for name, (major, minor) in (_DEVICES | there).items():
        os.makedirs(os.path.dirname(f"{dev}/{name}"), exist_ok=True)
        os.mknod(f"{dev}/{name}", 0o020666, os.makedev(major, minor))
    for folder in ("pts", "shm", "mqueue"):
        os.mkdir(f"{dev}/{folder}")
    _mount(
        "devpts", f"{dev}/pts", "devpts", _MS_NOSUID | _MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620,gid=5"
    )
    _mount("tmpfs", f"{dev}/shm", "tmpfs", _MS_NOSUID | _MS_NODEV, f"mode=1777,size={shared_memory_bytes}")
    links = {"ptmx": "pts/ptmx", "fd": "/proc/self/fd", "core": "/proc/kcore"}
    links |= {name: f"/proc/self/fd/{number}" for number, name in enumerate(("stdin", "stdout", "stderr"))}
    for name, target in links.items():
        os.symlink(target, f"{dev}/{name}")


def _enter_root(plan: dict[str, str], root: str) -> None:
    """Mounts the host's file systems and makes them all that there is."""
    _mount("none", "/", flags=_MS_REC | _MS_PRIVATE)
    layer = f"lowerdir=/,upperdir={plan['upper']},workdir={plan['work']}"
    _mount("overlay", root, "overlay", 0, layer)
    _mount("tmpfs", f"{root}/run", "tmpfs", _MS_NOSUID | _MS_NODEV, f"mode=755,size={plan['run_bytes']}")
    with open(f"{root}/run/boot-id", "w") as file:
        file.write(
            f"{plan['boot_id']}\n"
        )  # of its own, or the journal would take all boots of all hosts for one
    _mount_kernel_files(root)
    size = f"size={plan['temporary_bytes']}"
    _mount("tmpfs", f"{root}/tmp", "tmpfs", _MS_NOSUID | _MS_NODEV, f"mode=1777,{size}")  # noqa: S108 - the host's own
    _make_devices(f"{root}/dev", int(plan["shared_memory_bytes"]))
    os.chdir(root)
    # On top of each other, and then the old one, below, is let go: pivot_root(2), "pivot_root(".", ".")".
    _check(_libc.syscall(_PIVOT_ROOT[os.uname().machine], b".", b"."), "pivot_root")
    _check(_libc.umount2(b".", _MNT_DETACH), "umount of the machine's root")
    os.chdir("/")


def _become_systemd(plan: dict[str, str]) -> NoReturn:
    os.umask(0)
    _enter_root(plan, plan["root"])
    name = plan["name"].encode()
    _check(_libc.sethostname(name, len(name)), "sethostname")
    for name_of, number in _CAPABILITIES_DROPPED.items():
        _check(_libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0), f"dropping CAP_{name_of}")
    os.umask(0o022)
    for each in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(
            each, signal.SIG_DFL
        )  # Python, nohup and shells ignore some, and systemd would inherit that
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    nothing = os.open("/dev/null", os.O_RDWR)
    for descriptor in range(3):
        os.dup2(nothing, descriptor)
    arguments = [_SYSTEMD, "--system", "--log-target=journal", "systemd.show_status=no"]
    environment = {"container": "aviary-lab", "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin"}
    os.execve(_SYSTEMD, arguments, environment)  # noqa: S606 - this process becomes it


def _set_up_network(commands: str) -> None:
    done = subprocess.run(["ip", "-batch", "-"], input=commands, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"ip: {done.stderr.strip()}")


def _start_clock() -> None:
    """Lets the host's monotonic clock begin at 0, as that of a machine does (time_namespaces(7)): it differs between hosts, and after a power cut."""
    if not os.path.exists("/proc/self/timens_offsets"):
        return  # a kernel without: hosts share the machine's
    _check(_libc.unshare(_CLONE_NEWTIME), "unshare of the clock")
    offsets = {"monotonic": time.CLOCK_MONOTONIC, "boottime": time.CLOCK_BOOTTIME}
    lines = [f"{name} {-int(time.clock_gettime(clock))} 0" for name, clock in offsets.items()]
    with open("/proc/self/timens_offsets", "w") as file:
        file.write("\n".join(lines))


def _fork_host(plan: dict[str, str]) -> int:
    """Forks the first process of the PID namespace; raises OSError with what it could not do."""
    # Only now: the first child after it is the host's first process, and ip(8) is not to be that.
    _check(_libc.unshare(_CLONE_NEWPID), "unshare of the process ids")
    _start_clock()
    told, tell = os.pipe()  # not inherited: it closes when systemd is there
    pid = os.fork()
    if pid == 0:
        os.close(told)
        os.setsid()
        try:
            _become_systemd(plan)
        except BaseException as error:
            os.write(tell, str(error).encode())
        os._exit(1)
    os.close(tell)
    with os.fdopen(told, "rb") as pipe:
        problem = pipe.read().decode()
    if problem:
        os.waitpid(pid, 0)
        raise OSError(problem)
    return pid


def _launch() -> str:
    plan: dict[str, str] = json.loads(sys.stdin.readline())
    with open(f"{plan['cgroup']}/cgroup.procs", "w") as members:
        members.write("0")
    _check(_libc.unshare(_NAMESPACES), "unshare")  # the cgroup entered above is the root of the new namespace
    print("unshared", flush=True)
    if sys.stdin.readline() != "go\n":
        return "failed: the maker went away"
    _set_up_network(plan["network"])
    return f"booted {_fork_host(plan)}"


def main() -> None:
    """Launches one host, and ends; the host goes on."""
    try:
        answer = _launch()
    except (OSError, KeyError, ValueError) as error:
        answer = f"failed: {error}"
    print(answer, flush=True)
    sys.exit(answer.startswith("failed"))


if __name__ == "__main__":
    main()
