"""Collect permissively licensed source code and write one JSON-lines corpus with a manifest.

Run from training/:  python -m pipeline.fetch
Packages come from their registries through the ordinary clients (npm, pip, cargo) and from the
installed Python and Go standard libraries. Output: data/corpus.jsonl, models/data-manifest.json.
"""

import argparse
import hashlib
import json
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LANGUAGES = {
    ".ts": "typescript", ".tsx": "typescript", ".js": "javascript", ".mjs": "javascript", ".py": "python",
    ".go": "go", ".rs": "rust", ".h": "cpp", ".md": "markdown",
}
SKIPPED_PARTS = re.compile(
    r"(^|/)(test|tests|testdata|testing|__tests__|vendor|node_modules|_vendor|dist|lib|esm|cjs|_esm|_cjs|_types|umd|min|locale|"
    r"unicode|tables|idlelib|lib2to3|encodings|cmd|syscall|runtime|generated|_generated|gen|fixtures|snippets|migrations|benches)(/|$)"
)
GENERATED = re.compile(r"@generated|do not edit|generated (by|from)|automatically generated|sourceMappingURL", re.IGNORECASE)
JAVASCRIPT_ROOTS = ("commander", "express", "fastify", "undici", "ws", "semver", "vscode-languageclient", "vscode-languageserver",
                    "lit-html", "@lit/reactive-element", "lit-element", "lru-cache", "minimatch", "glob")
MAX_FILE = 60_000
MAX_PACKAGE = 4_000_000


def is_source(text: str) -> bool:
    """True for code or prose that a person wrote: not minified, generated or data."""
    if not 200 <= len(text) <= MAX_FILE or GENERATED.search(text[:2000]) or GENERATED.search(text[-300:]):
        return False
    lines = text.split("\n")
    if max(map(len, lines)) > 400 or len(text) / len(lines) > 80:
        return False
    letters = sum(map(str.isalpha, text))
    ascii_share = sum(c < "\x7f" for c in text) / len(text)
    return letters / len(text) > 0.4 and ascii_share > 0.97


def npm_files(archive: Path, name: str) -> Iterator[tuple[str, bytes]]:
    """Source files of an npm tarball; compiled folders are read only where the package ships no other form."""
    compiled_ok = name in JAVASCRIPT_ROOTS
    with tarfile.open(archive) as tar:
        for member in tar:
            path = member.name.partition("/")[2]
            if not member.isfile() or path.endswith((".d.ts", ".d.mts", ".min.js", ".cjs")):
                continue
            if Path(path).suffix in (".js", ".mjs") and not compiled_ok and not path.startswith("src/"):
                continue
            stream = tar.extractfile(member)
            if stream and (compiled_ok or not SKIPPED_PARTS.search(path)):
                yield path, stream.read()


def fetch_npm(name: str, folder: Path) -> tuple[str, Iterator[tuple[str, bytes]]]:
    target = folder / name.replace("/", "-")
    if not list(target.glob("*.tgz")):
        target.mkdir(parents=True, exist_ok=True)
        subprocess.run(["npm", "pack", name, "--silent"], cwd=target, check=True, capture_output=True)
    archive = next(target.glob("*.tgz"))
    return archive.stem.rsplit("-", 1)[1], npm_files(archive, name)


def zip_files(archive: Path) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(archive) as wheel:
        for path in wheel.namelist():
            if not SKIPPED_PARTS.search(path) and ".dist-info" not in path:
                yield path, wheel.read(path)


def fetch_pypi(name: str, folder: Path) -> tuple[str, Iterator[tuple[str, bytes]]]:
    target = folder / name
    if not list(target.glob("*.whl")):
        subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:",
                        "-d", str(target), name], check=True, capture_output=True)
    archive = next(target.glob("*.whl"))
    return archive.name.split("-")[1], zip_files(archive)


def fetch_crates(names: list[str], folder: Path) -> Path:
    """Vendor the named crates with cargo; returns the folder that holds one folder for each."""
    vendor = folder / "vendor"
    if not vendor.exists():
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "src").mkdir(parents=True)
        (folder / "src" / "lib.rs").write_text("")
        dependencies = "".join(f'{name} = "*"\n' for name in names)
        (folder / "Cargo.toml").write_text(f'[package]\nname = "fetch"\nversion = "0.1.0"\nedition = "2021"\n[dependencies]\n{dependencies}')
        subprocess.run(["cargo", "vendor", "-q"], cwd=folder, check=True, capture_output=True)
    return vendor


def folder_files(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder).as_posix()
        if path.is_file() and path.suffix in LANGUAGES and not SKIPPED_PARTS.search(relative) and not relative.endswith("_test.go"):
            yield relative, path.read_bytes()


def packages(folder: Path) -> Iterator[tuple[str, str, str, Iterator[tuple[str, bytes]]]]:
    """Yields (id, version, licence, files) of every package named in sources.json."""
    sources = json.loads((ROOT / "sources.json").read_text())
    for registry, fetch in (("npm", fetch_npm), ("pypi", fetch_pypi)):
        for licence, names in sources[registry].items():
            for name in names:
                try:
                    version, files = fetch(name, folder / registry)
                except (subprocess.CalledProcessError, StopIteration) as error:
                    print(f"skipped {registry}:{name}: {error}", file=sys.stderr)
                    continue
                yield f"{registry}:{name}", version, licence, files
    if shutil.which("cargo"):
        names = [name for group in sources["crates"].values() for name in group]
        vendor = fetch_crates(names, folder / "crates")
        for licence, group in sources["crates"].items():
            for name in group:
                found = vendor / name
                version = re.search(r'^version = "(.+)"', (found / "Cargo.toml").read_text(), re.MULTILINE)
                yield f"crates:{name}", version.group(1) if version else "?", licence, folder_files(found)
    stdlib = Path(sysconfig.get_path("stdlib"))
    modules: dict[str, list[tuple[str, bytes]]] = defaultdict(list)
    for path in sorted(stdlib.rglob("*.py")):
        relative = path.relative_to(stdlib).as_posix()
        if "site-packages" not in relative and not SKIPPED_PARTS.search(relative):
            name = relative.split("/")[0].removesuffix(".py")
            modules[name if "/" in relative else "modules"].append((relative, path.read_bytes()))
    python_version = sysconfig.get_python_version()
    for name, files in modules.items():
        yield f"python:{name}", python_version, "PSF-2.0", iter(files)
    if shutil.which("go"):
        goroot = Path(subprocess.run(["go", "env", "GOROOT"], capture_output=True, text=True, check=True).stdout.strip())
        version = (goroot / "VERSION").read_text().split()[0]
        for path in sorted((goroot / "src").iterdir()):
            if path.is_dir() and path.name not in ("cmd", "vendor", "runtime", "syscall", "internal"):
                yield f"go:{path.name}", version, "BSD-3-Clause", ((f"{path.name}/{p}", data) for p, data in folder_files(path))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--raw", type=Path, default=ROOT / "data" / "raw")
    parser.add_argument("--out", type=Path, default=ROOT / "data" / "corpus.jsonl")
    parser.add_argument("--manifest", type=Path, default=ROOT.parent / "models" / "data-manifest.json")
    arguments = parser.parse_args()
    held_out = set(json.loads((ROOT / "sources.json").read_text())["held_out"])
    seen: set[bytes] = set()
    manifest = []
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    with arguments.out.open("w") as out:
        for package, version, licence, files in packages(arguments.raw):
            split = "held-out" if package in held_out else "train"
            kept: dict[str, int] = defaultdict(int)
            count = 0
            for path, data in files:
                language = LANGUAGES.get(Path(path).suffix)
                if not language or sum(kept.values()) > MAX_PACKAGE:
                    continue
                try:
                    text = data.decode("utf-8").replace("\r\n", "\n")
                except UnicodeDecodeError:
                    continue
                digest = hashlib.sha256(re.sub(r"\s+", "", text).encode()).digest()
                if digest in seen or not is_source(text):
                    continue
                seen.add(digest)
                kept[language] += len(text)
                count += 1
                out.write(json.dumps({"package": package, "split": split, "path": path, "language": language, "text": text}) + "\n")
            if count:
                manifest.append({"package": package, "version": version, "licence": licence, "split": split, "files": count,
                                 "bytes": sum(kept.values()), "languages": dict(sorted(kept.items()))})
    arguments.manifest.write_text(json.dumps(manifest, indent=1) + "\n")
    total = sum(entry["bytes"] for entry in manifest)
    print(f"{len(manifest)} packages, {sum(e['files'] for e in manifest)} files, {total / 1e6:.1f} MB -> {arguments.out}")


if __name__ == "__main__":
    main()
