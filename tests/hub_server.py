"""A small Hugging Face hub on this machine: the requests that huggingface_hub sends to read and to write models."""

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

TOKEN = "hf_of_the_owner"
_LARGE = (".safetensors",)  # kept under their SHA-256, as Git LFS does
_MODEL = r"(?P<name>[\w.-]+/[\w.-]+)"


@dataclass
class Repository:
    """Commits, each with all files, the newest last."""

    private: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)

    def commit(self, files: Mapping[str, bytes]) -> str:
        """Add a commit with some files changed; returns its name."""
        before = self.commits[self.newest] if self.commits else {}
        name = hashlib.sha1(f"{len(self.commits)} {sorted(files)}".encode()).hexdigest()
        self.commits[name] = {**before, **files}
        return name

    @property
    def newest(self) -> str:
        return list(self.commits)[-1]


@dataclass
class Hub:
    """What the server holds, and what it was asked for.

    Attributes:
        repositories: By their name, ``owner/name``.
        uploads: Large files that were sent, by SHA-256.
        asked: ``METHOD path`` of every request.
        sends: Share of a file's bytes that are sent before the connection is closed.
        changes: Whether one byte of every large file is changed on its way.
    """

    address: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    uploads: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    sends: float = 1.0
    changes: bool = False

    def publish(self, name: str, folder: Path, **more: bytes) -> str:
        """Add a commit with the files of a folder; returns its name."""
        files = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
        return self.repositories.setdefault(name, Repository()).commit({**files, **more})


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._answer("GET")

    def do_HEAD(self) -> None:
        self._answer("HEAD")

    def do_POST(self) -> None:
        self._answer("POST")

    def do_PUT(self) -> None:
        self._answer("PUT")

    def _answer(self, method: str) -> None:
        path = self.path.partition("?")[0]
        self.hub.asked.append(f"{method} {path}")
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0) or 0))
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            self.body = b"".join(self._chunks())
        for pattern, answer in (
            (rf"/api/models/{_MODEL}(/revision/(?P<revision>[^/]+))?", self._info),
            (rf"/api/models/{_MODEL}/tree/(?P<revision>[^/]+)", self._tree),
            (rf"/api/models/{_MODEL}/preupload/[^/]+", self._preupload),
            (rf"/api/models/{_MODEL}/commit/[^/]+", self._commit),
            (rf"/{_MODEL}\.git/info/lfs/objects/batch", self._batch),
            (rf"/{_MODEL}/resolve/(?P<revision>[^/]+)/(?P<file>.+)", self._file),
            (r"/uploads/(?P<digest>[0-9a-f]{64})", self._upload),
            (r"/api/repos/create", self._create),
            (r"/api/validate-yaml", self._validate),
        ):
            found = re.fullmatch(pattern, path)
            if found:
                return answer(**found.groupdict())
        return self._send(404, {"error": f"no such endpoint: {path}"})

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline(), 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    def _send(self, status: int, value: Any, **headers: str) -> None:
        content = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        for name, text in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, text)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _is_owner(self) -> bool:
        return bool(self.headers.get("Authorization") == f"Bearer {TOKEN}")

    def _repository(self, name: str) -> Repository | None:
        """A repository that may be seen; otherwise says that there is none, as the hub does."""
        repository = self.hub.repositories.get(name)
        if repository is None or (repository.private and not self._is_owner()):
            self._send(401, {"error": "Invalid username or password."}, **{"X-Error-Code": "RepoNotFound"})
            return None
        return repository

    def _at(self, name: str, revision: str | None) -> tuple[str, dict[str, bytes]] | None:
        repository = self._repository(name)
        if repository is None:
            return None
        commit = repository.newest if repository.commits and revision in (None, "main") else revision
        if commit not in repository.commits:
            self._send(404, {"error": f"Invalid rev id: {revision}"}, **{"X-Error-Code": "RevisionNotFound"})
            return None
        return str(commit), repository.commits[str(commit)]

    def _info(self, name: str, revision: str | None = None) -> None:
        repository = self._repository(name)
        if repository is None:
            return
        if not repository.commits:
            return self._send(200, {"id": name, "private": repository.private, "siblings": []})
        found = self._at(name, revision)
        if found is not None:
            siblings = [{"rfilename": file} for file in found[1]]
            answer = {"id": name, "sha": found[0], "private": repository.private, "siblings": siblings}
            self._send(200, answer)

    def _tree(self, name: str, revision: str) -> None:
        found = self._at(name, revision)
        if found is None:
            return
        entries = []
        for path, content in found[1].items():
            entry = {"type": "file", "path": path, "size": len(content), "oid": _git_name(content)}
            if path.endswith(_LARGE):
                entry["lfs"] = {"oid": _sha256(content), "size": len(content), "pointerSize": 130}
            entries.append(entry)
        self._send(200, entries)

    def _file(self, name: str, revision: str, file: str) -> None:
        found = self._at(name, revision)
        if found is None:
            return
        commit, files = found
        if file not in files:
            return self._send(404, {"error": "Entry not found"}, **{"X-Error-Code": "EntryNotFound"})
        content, large = files[file], file.endswith(_LARGE)
        digest = _sha256(content) if large else _git_name(content)
        if large and self.hub.changes:
            content = content[:-1] + bytes([content[-1] ^ 1])
        start = int((re.search(r"bytes=(\d+)-", self.headers.get("Range", "")) or ["", "0"])[1])
        rest = content[start:]
        self.send_response(206 if start else 200)
        for key, text in {
            "Content-Length": str(len(rest)), "X-Repo-Commit": commit, "ETag": f'"{digest}"', "Accept-Ranges": "bytes",
            "Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}",
        }.items():  # fmt: skip
            self.send_header(key, text)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(rest[: int(len(rest) * self.hub.sends)])
            self.close_connection = self.hub.sends < 1
        return None

    def _create(self) -> None:
        asked = json.loads(self.body)
        name = f"{asked['organization']}/{asked['name']}"
        if not self._is_owner():
            return self._send(401, {"error": "Invalid username or password."})
        if name in self.hub.repositories:
            return self._send(
                409, {"error": "You already created this model repo", "url": f"{self.hub.address}/{name}"}
            )
        self.hub.repositories[name] = Repository(asked.get("visibility") == "private" or bool(asked.get("private")))
        return self._send(200, {"url": f"{self.hub.address}/{name}", "name": name})

    def _validate(self) -> None:
        self._send(200, {"errors": [], "warnings": []})

    def _preupload(self, name: str) -> None:
        files = [
            {"path": file["path"], "uploadMode": "lfs" if file["path"].endswith(_LARGE) else "regular",
             "shouldIgnore": False, "oid": None}
            for file in json.loads(self.body)["files"]
        ]  # fmt: skip
        self._send(200, {"files": files})

    def _batch(self, name: str) -> None:
        objects = []
        for wanted in json.loads(self.body)["objects"]:
            address = f"{self.hub.address}/uploads/{wanted['oid']}"
            objects.append({"oid": wanted["oid"], "size": wanted["size"], "actions": {"upload": {"href": address}}})
        self._send(200, {"transfer": "basic", "objects": objects})

    def _upload(self, digest: str) -> None:
        self.hub.uploads[digest] = self.body
        self._send(200, {})

    def _commit(self, name: str) -> None:
        files: dict[str, bytes] = {}
        for line in self.body.splitlines():
            operation = json.loads(line)
            value = operation["value"]
            if operation["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif operation["key"] == "lfsFile":
                files[value["path"]] = self.hub.uploads[value["oid"]]
        commit = self.hub.repositories[name].commit(files)
        url = f"{self.hub.address}/{name}/commit/{commit}"
        self._send(200, {"success": True, "commitUrl": url, "commitOid": commit})


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _git_name(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@contextmanager
def served() -> Iterator[Hub]:
    """An empty hub on this machine."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
