"""Where things lie: shipped configuration, run directories, and folders of live testbeds.

A live testbed has a folder of its own (mode 0700) with its sockets, a lock that its daemon holds
for as long as it lives, and ``testbed.json``. What a dead one left is removed by the next start.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import stat
import time
from pathlib import Path

import msgspec

from shootdown_protocol.errors import ErrorCode, SegmentError, UsageError
from shootdown_protocol.limits import NAME_CHARACTERS_MAX
from shootdown_protocol.segment import unlink

TESTBED_FILE = "testbed.json"
LOCK_FILE = "lock"
SOCKET_PATH_MAX = 100
"""A little less than the 107 bytes that a Unix socket's path may have."""


def configs() -> Path:
    """The shipped scenarios, testbeds and fault plans: in the package, else in the checkout."""
    inside = Path(__file__).parent / "configs"
    return inside if inside.is_dir() else Path(__file__).parents[2] / "configs"


def find_config(kind: str, name: str, suffix: str) -> Path:
    """A file given by path, or by its bare name among the shipped ones, folders below included."""
    path = Path(name)
    if path.is_file():
        return path
    file = name if name.endswith(suffix) else name + suffix
    shipped = {found.name: found for found in sorted((configs() / kind).rglob(f"*{suffix}"))}
    if file in shipped and len(path.parts) == 1:
        return shipped[file]
    import difflib

    if wrong := _what_is_wrong(name, path):
        raise UsageError(
            ErrorCode.USAGE, seen=wrong, expected=f"a {suffix} file, or a shipped name", where=kind
        )
    have = ", ".join(sorted(found.stem for found in (configs() / kind).glob(f"*{suffix}")))
    like = difflib.get_close_matches(file, shipped, 1)
    hint = f"; did you mean {like[0].removesuffix(suffix)}?" if like else ""
    raise UsageError(
        ErrorCode.USAGE,
        seen=f"{name}, which is no file{hint}",
        expected=f"a {suffix} file or one of {have}",
        where=kind,
    )


def _what_is_wrong(name: str, path: Path) -> str:
    """Why what can only be meant as a path is no file; nothing where it may be a name."""
    if not name:
        return "an empty name"
    if path.is_dir():
        return f"{name}, which is a directory"
    if path.exists():
        return f"{name}, which is no regular file"
    return f"{name}, which is not there" if "/" in name else ""


def runtime_root() -> Path:
    """The folder that holds the folders of live testbeds; made if need be, ours alone."""
    given = os.environ.get("SHOOTDOWN_RUNTIME_DIR")
    base = os.environ.get("XDG_RUNTIME_DIR")
    if given:
        root = Path(given)
    elif base and os.access(base, os.W_OK):
        root = Path(base) / "shootdown"
    else:
        import tempfile

        root = Path(tempfile.gettempdir()) / f"shootdown-{os.getuid()}"
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = root.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise UsageError(
            ErrorCode.USAGE,
            seen=f"mode {stat.filemode(found.st_mode)}, owner {found.st_uid}",
            expected=f"a folder of mode 0700 owned by {os.getuid()}",
            where=str(root),
        )
    return root


class TestbedRecord(msgspec.Struct):
    """What ``testbed.json`` says of a testbed; ``token`` is for its agents and nobody else."""

    name: str
    folder: str
    segment: str
    token: str
    agents: int
    daemon: int = 0
    pids: dict[str, int] = {}
    pid_namespace: int = 0

    def __repr__(self) -> str:
        """Without the token, which is nobody's business."""
        return f"{type(self).__name__}({self.name!r}, {self.folder!r})"

    @property
    def local_daemon(self) -> int:
        """The daemon's pid if it means that process here too; 0 from another container's view."""
        return self.daemon if self.pid_namespace == pid_namespace() else 0

    @property
    def path(self) -> Path:
        """The testbed's folder."""
        return Path(self.folder)

    def endpoint(self, plane: str) -> str:
        """Socket of a plane: ``device``, ``control`` or ``events``."""
        return f"ipc://{self.path / plane}"

    def save(self) -> None:
        """Write the file whole or not at all, readable by its owner only."""
        target = self.path / TESTBED_FILE
        part = target.with_suffix(".part")
        part.touch(mode=0o600)
        part.write_text(json.dumps(msgspec.structs.asdict(self)))
        part.replace(target)


def pid_namespace() -> int:
    """Which PID namespace this process is in: a pid means one process only within one."""
    return Path("/proc/self/ns/pid").stat().st_ino


def check_name(name: str) -> None:
    """Refuse a testbed's name that neither a folder nor a segment could have."""
    if len(name) > NAME_CHARACTERS_MAX or not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name):
        raise UsageError(
            ErrorCode.USAGE,
            seen=repr(name[: NAME_CHARACTERS_MAX + 1]),
            expected=f"1 to {NAME_CHARACTERS_MAX} letters, digits, and . _ - but not first",
            where="the testbed's name",
        )


def new_folder(name: str) -> Path:
    """Make the folder of a new testbed; `UsageError` when the name is taken or no good."""
    check_name(name)
    folder = runtime_root() / name
    if len(os.fsencode(folder / "control")) > SOCKET_PATH_MAX:
        raise UsageError(
            ErrorCode.USAGE,
            seen=f"a path of {len(os.fsencode(folder))} bytes: {folder}",
            expected=f"at most {SOCKET_PATH_MAX - 8}, for sockets to fit (SHOOTDOWN_RUNTIME_DIR)",
            where="the runtime folder",
        )
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        raise UsageError(
            ErrorCode.USAGE,
            seen=_what_is_there(folder),
            expected="another name, or `shootdown down` first",
            where=str(folder),
        ) from None
    return folder


def _what_is_there(folder: Path) -> str:
    """What has the name that a new testbed was to have; a link is left alone wherever it points."""
    if folder.is_symlink():
        return "a symbolic link of that name"
    if not folder.is_dir():
        return "something of that name that is no folder"
    live = is_live(folder)
    return f"a testbed named {folder.name} that " + ("is live" if live else "is starting or ending")


def hold_lock(folder: Path) -> int:
    """Take a testbed's lock for the life of this process; gives its file descriptor.

    The file gets its name when it is locked, so a name without a holder means a dead testbed.
    """
    part = folder / f"{LOCK_FILE}.{os.getpid()}"
    fd = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    part.rename(folder / LOCK_FILE)
    return fd


def is_live(folder: Path) -> bool:
    """Whether somebody holds a testbed's lock."""
    try:
        fd = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def read_record(folder: Path) -> TestbedRecord | None:
    """What a folder says of its testbed; None when it says nothing that can be read."""
    try:
        record = TestbedRecord(**json.loads((folder / TESTBED_FILE).read_text()))
    except (OSError, ValueError, TypeError):
        return None
    return record if record.name == folder.name and type(record.segment) is str else None


def _folders() -> list[Path]:
    """Folders of testbeds, dead or alive; a link is none, wherever it points."""
    return [path for path in runtime_root().iterdir() if path.is_dir() and not path.is_symlink()]


def live_testbeds() -> list[TestbedRecord]:
    """Every testbed whose daemon lives, by name."""
    folders = sorted(_folders())
    records = (read_record(folder) for folder in folders if is_live(folder))
    return [record for record in records if record is not None]


def find_testbed(name: str | None) -> TestbedRecord:
    """The live testbed of a name, or the only one; `UsageError` says which there are."""
    live = live_testbeds()
    names = ", ".join(record.name for record in live)
    chosen = [record for record in live if name in (None, record.name)]
    if len(chosen) != 1:
        raise UsageError(
            ErrorCode.USAGE,
            seen=f"'{name}'" if name else f"{len(live) or 'no'} live testbeds",
            expected=f"the name of one of them ({names})"
            if live
            else "one that is up, and none is live: `shootdown up` starts one",
            where="--on",
        )
    return chosen[0]


def remove(folder: Path) -> list[str]:
    """Remove what a dead testbed has left; gives what was removed, in words."""
    import shutil

    removed = []
    record = read_record(folder)
    if record is not None:
        with contextlib.suppress(SegmentError):
            if unlink(record.segment):
                removed.append(f"shared memory {record.segment}")
    shutil.rmtree(folder, ignore_errors=True)
    removed.append(f"folder {folder}")
    return removed


def sweep(young_s: float = 5.0) -> list[str]:
    """Remove what dead testbeds have left, but no folder so young that it may be starting."""
    removed = []
    now = time.time()
    for folder in _folders():
        if not is_live(folder):
            locked_once = (folder / LOCK_FILE).exists()
            if locked_once or now - folder.stat().st_mtime > young_s:
                removed += remove(folder)
    return removed


def new_run_directory(out: Path, scenario: str) -> Path:
    """``OUT/TIME-SCENARIO/``, and ``OUT/latest`` to point at it."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    try:
        out.mkdir(parents=True, exist_ok=True)
        name = _make_first_free(out, f"{stamp}-{scenario}")
    except OSError as error:
        raise UsageError(
            ErrorCode.USAGE,
            seen=error.strerror or str(error),
            expected="a folder that can be written",
            where=f"--out {out}",
        ) from error
    _point(out, name)
    return out / name


def take_back(directory: Path) -> None:
    """Remove the run directory of what was refused; ``latest`` is the one before it again."""
    import shutil

    shutil.rmtree(directory, ignore_errors=True)
    out = directory.parent
    if not (out / "latest").is_symlink() or (out / "latest").readlink() != Path(directory.name):
        return
    others = sorted(path.name for path in out.iterdir() if re.match(r"\d{8}-\d{6}-", path.name))
    if others:
        _point(out, others[-1])
    else:
        (out / "latest").unlink()


def _point(out: Path, name: str) -> None:
    """Let ``OUT/latest`` mean the run directory of that name."""
    part = out / f".latest-{os.getpid()}"
    with contextlib.suppress(OSError):
        part.symlink_to(name)
        part.replace(out / "latest")


def _make_first_free(out: Path, wanted: str) -> str:
    """Make a folder of the name wanted, or with a number behind it; gives its name."""
    name, number = wanted, 0
    while True:
        with contextlib.suppress(FileExistsError):
            (out / name).mkdir()
            return name
        number += 1
        name = f"{wanted}-{number}"
