"""Replies of chat models in an SQLite file: stored the moment they arrive, so that nothing is paid for twice.

Several processes may use one file. A process that is about to ask *claims* the comparison first; another that wants the
same one waits for the reply instead of paying for a second. A claim ends when its process does.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import sqlite3
import time
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from rlhf.errors import JudgeError

FORMAT_VERSION = 1
BUSY_S = 60.0  # how long a write waits for another process's
_TABLES = """
CREATE TABLE IF NOT EXISTS replies (
    key TEXT PRIMARY KEY, text TEXT, finish_reason TEXT, input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL,
    cost_usd REAL NOT NULL, model TEXT NOT NULL, stored TEXT NOT NULL DEFAULT (datetime('now'))
);
CREATE TABLE IF NOT EXISTS claims (key TEXT PRIMARY KEY, host TEXT NOT NULL, pid INTEGER NOT NULL, until REAL NOT NULL);
"""


@dataclass(frozen=True)
class Reply:
    """What a server said to one request. What it means is read from `text` whenever it is needed."""

    text: str | None
    finish_reason: str | None
    input_tokens: int
    output_tokens: int
    cost_usd: float
    model: str  # as the server names it


def cache_key(parts: Mapping[str, Any]) -> str:
    """SHA-256 of everything that a reply depends on, as canonical JSON."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


class ReplyCache:
    """The replies in one file. Raises JudgeError naming the file, as the configuration's `key`, for whatever SQLite
    cannot do with it."""

    def __init__(self, path: str | os.PathLike[str], *, key: str = "judge.cache") -> None:
        self.path, self.named = Path(path).expanduser(), f"{key}={path}"
        self.host, self.pid = socket.gethostname(), os.getpid()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._replies = self._connect("FULL")  # on disk when a statement returns
            self._claims = self._connect("NORMAL")  # a claim need not outlive the machine
        except (OSError, sqlite3.Error) as error:
            raise JudgeError(f"{self.named} cannot be used: {error}") from error

    def _connect(self, synchronous: str) -> sqlite3.Connection:
        """A connection whose every statement is a transaction. Raises JudgeError for a file of another version."""
        db = sqlite3.connect(self.path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        db.execute("PRAGMA journal_mode=WAL")
        db.execute(f"PRAGMA synchronous={synchronous}")
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, FORMAT_VERSION):
            raise JudgeError(f"{self.named} is of another version ({version}); name another file")
        db.executescript(_TABLES)
        if version == 0:
            db.execute(f"PRAGMA user_version={FORMAT_VERSION}")
        return db

    def __enter__(self) -> ReplyCache:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give up this process's claims and the file."""
        self._run(self._claims, "DELETE FROM claims WHERE host=? AND pid=?", (self.host, self.pid))
        self._claims.close()
        self._replies.close()

    def get(self, key: str) -> Reply | None:
        """The reply kept under `key`."""
        columns = "text, finish_reason, input_tokens, output_tokens, cost_usd, model"
        row = self._run(self._replies, f"SELECT {columns} FROM replies WHERE key=?", (key,)).fetchone()
        return None if row is None else Reply(*row)

    def get_many(self, keys: Iterable[str]) -> dict[str, Reply]:
        """Those of `keys` that are kept."""
        return {key: reply for key in keys if (reply := self.get(key)) is not None}

    def put(self, key: str, reply: Reply) -> None:
        """Keep a reply: it is on disk when this returns."""
        self._run(
            self._replies,
            "INSERT OR REPLACE INTO replies (key, text, finish_reason, input_tokens, output_tokens, cost_usd, model) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (key, *astuple(reply)),
        )

    def claim(self, key: str, seconds: float) -> bool:
        """True: this process asks now, and has `seconds` for it at least. False: another, living one is asking."""
        now = time.time()
        row = self._run(self._claims, "SELECT host, pid, until FROM claims WHERE key=?", (key,)).fetchone()
        if row is None:
            values = (key, self.host, self.pid, now + 2 * seconds)
            return self._run(self._claims, "INSERT OR IGNORE INTO claims VALUES (?, ?, ?, ?)", values).rowcount == 1
        host, pid, until = row
        if (host, pid) == (self.host, self.pid) and until > now + seconds:
            return True
        if self._holds(host, pid, until):
            return False
        done = self._run(
            self._claims,
            "UPDATE claims SET host=?, pid=?, until=? WHERE key=? AND host=? AND pid=? AND until=?",
            (self.host, self.pid, now + 2 * seconds, key, *row),
        )
        return done.rowcount == 1  # 0 where another process was faster

    def release(self, key: str) -> None:
        """End this process's claim."""
        self._run(self._claims, "DELETE FROM claims WHERE key=? AND host=? AND pid=?", (key, self.host, self.pid))

    def _holds(self, host: str, pid: int, until: float) -> bool:
        """Whether a claim stands against this process."""
        if (host, pid) == (self.host, self.pid) or until < time.time():
            return False
        return host != self.host or _alive(pid)

    def _run(self, db: sqlite3.Connection, statement: str, values: tuple[Any, ...]) -> sqlite3.Cursor:
        try:
            return db.execute(statement, values)
        except sqlite3.Error as error:
            raise JudgeError(f"{self.named}: {error}") from error


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
