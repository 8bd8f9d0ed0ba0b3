"""The command line of scripts/bundle, whose --help lists the options."""

from __future__ import annotations

import argparse
import platform
import sys
import tempfile
from pathlib import Path

from wheels import CHECKOUT, WheelsError, build_agent, build_packages, chosen, locked_packages, unpublished

from agent import __version__
from agent.update.bundle import verify
from agent.update.index import OfferError
from agent.update.make import add_to_index, describe, load_key, new_key, public_key, write_bundle
from agent.update.manifest import BundledFile, BundleError, Manifest
from agent.update.versions import parse_version


def main() -> int:
    """Does what the command line says; the exit status."""
    options = _options()
    try:
        if options.new_key:
            print(new_key(options.new_key))
            _say(f"the private key is in {options.new_key}; whoever has it can change every box that trusts it")
        else:
            _bundle(options)
    except FileExistsError as exc:
        _say(f"{exc.filename} is there already and stays as it is")
        return 1
    except (BundleError, OfferError, OSError, ValueError, WheelsError) as exc:
        _say(str(exc))
        return 1
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bundle", add_help=False, usage="scripts/bundle --help")
    task = parser.add_mutually_exclusive_group(required=True)
    task.add_argument("--new-key", type=Path, metavar="FILE")
    task.add_argument("--key", type=Path, metavar="FILE")
    parser.add_argument("-o", dest="output", type=Path, metavar="FILE")
    parser.add_argument("--index", type=Path, metavar="DIR")
    parser.add_argument("--wheels", type=Path, metavar="DIR")
    parser.add_argument("--with-camera", action="store_true")
    parser.add_argument("--downgrade", action="store_true")
    parser.add_argument("--version", type=_version, default=__version__, metavar="V")
    parser.add_argument("--minimum-version", type=_version, default="0", metavar="V")
    return parser.parse_args()


def _version(text: str) -> str:
    try:
        parse_version(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(f"{text} {exc}") from None
    return text


def _bundle(options: argparse.Namespace) -> None:
    key = load_key(options.key)
    lock = CHECKOUT / "scripts" / ("requirements-camera.lock" if options.with_camera else "requirements.lock")
    packages = locked_packages(lock)
    _check_places(options)
    with tempfile.TemporaryDirectory(prefix="signage-agent-bundle-") as temporary:
        work = Path(temporary)
        if options.wheels:
            found = chosen(packages, options.wheels)
            for name in unpublished(packages, found):
                _say(f"{name} is not in the lock: taken as it is")
        else:
            _say(f"fetching and building {len(packages)} packages (some minutes on a small board)")
            build_packages(packages, work)
            found = chosen(packages, work)
        _say(f"building version {options.version} of the agent")
        wheels = sorted([*found, build_agent(work, options.version)], key=lambda wheel: wheel.name)
        manifest = _manifest(options, [describe(wheel) for wheel in wheels])
        output = options.output or (options.index or Path()) / _name(manifest)
        if options.index:
            options.index.mkdir(parents=True, exist_ok=True)
        draft = output.with_name(output.name + ".new")
        try:
            with draft.open("w+b") as file:
                write_bundle(file, manifest, wheels, key)
                verify(file, [public_key(key)])
            draft.replace(output)
        finally:
            draft.unlink(missing_ok=True)
    if options.index:
        add_to_index(output, manifest)
    _say(f"wrote {output}: version {manifest.version}, {len(wheels)} wheels, {output.stat().st_size / 1e6:.1f} MB")
    _say(f"signed with {public_key(key)}")


def _manifest(options: argparse.Namespace, files: list[BundledFile]) -> Manifest:
    return Manifest(
        version=options.version,
        minimum_version=options.minimum_version,
        downgrade=options.downgrade,
        architecture="any" if all(file.name.endswith("-any.whl") for file in files) else platform.machine(),
        python=f"{sys.version_info.major}.{sys.version_info.minor}",
        camera=options.with_camera,
        packages=tuple(_debian_packages()),
        files=tuple(files),
    )


def _debian_packages() -> list[str]:
    """What a box needs from its distribution."""
    lines = (line.split() for line in (CHECKOUT / "scripts/packages").read_text().splitlines() if not line.startswith("#"))
    return [fields[0] for fields in lines if len(fields) > 1 and fields[1] == "box"]


def _check_places(options: argparse.Namespace) -> None:
    if options.wheels and not options.wheels.is_dir():
        raise ValueError(f"{options.wheels} is not a directory")
    if options.index and options.output and options.output.resolve().parent != options.index.resolve():
        raise ValueError(f"{options.output} is not in {options.index}: an index names the bundles beside it")


def _name(manifest: Manifest) -> str:
    camera = "-camera" if manifest.camera else ""
    return f"signage-agent-{manifest.version}-python{manifest.python}-{manifest.architecture}{camera}.bundle"


def _say(text: str) -> None:
    print(f"bundle: {text}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
