"""Configuration of fabrics: how long it takes to plan and write all formats, and whether FRR accepts every file.

Asked: 132 switches in 1 s (on this class of machine netlab takes 15.1 s and pyavd 9.7 s for that), 2,000 in 10 s; all
FRR files pass `vtysh -C`. FARE's routes of a pod of 61,440 endpoints are computed in seconds.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from suanwang.cli.fabric_configure_folder import write_folder
from suanwang.fabric.clos import Clos, Tier
from suanwang.fabric.configure.files import FORMATS, Writer
from suanwang.fabric.configure.plan import Plan
from suanwang.fabric.routing.fare import path_bandwidth

GBPS = 10**9
SMALL = Clos((Tier(32, 1, 200 * GBPS), Tier(128, 4, 400 * GBPS, bundle=4)))
LARGE = Clos((Tier(20, 1, 400 * GBPS), Tier(20, 20, 400 * GBPS), Tier(40, 20, 400 * GBPS)))
POD = Clos((Tier(240, 1, 200 * GBPS), Tier(256, 16, 200 * GBPS)), planes=2, rails=8, joined=2)
NETLAB_S, PYAVD_S = 15.1, 9.7
DECLARED = """\
apiVersion: suanwang/v1
kind: Fabric
metadata: {name: small}
spec:
  scaleOut:
    tiers:
    - {children: 32, rate: 200Gbps}
    - {children: 128, parents: 4, rate: 400Gbps, bundle: 4}
    switch: {ports: 512, portRate: 400Gbps}
"""


Line = tuple[str, str, str, bool | None, str]


def configured(clos: Clos, formats: tuple[str, ...], folder: Path) -> float:
    """Seconds from coordinates to files on the disk."""
    begun = time.perf_counter()
    write_folder(folder, Writer(Plan(clos), formats).all())  # type: ignore[arg-type]
    return time.perf_counter() - begun


def commanded(folder: Path) -> float:
    """Seconds of the whole command for the same 132 switches, the interpreter's start included."""
    (folder / "small.yaml").write_text(DECLARED)
    words = [
        sys.executable,
        "-m",
        "suanwang",
        "fabric",
        "configure",
        str(folder / "small.yaml"),
        "--to",
        str(folder / "x"),
    ]
    begun = time.perf_counter()
    subprocess.run([*words, "--format", "frr"], check=True, capture_output=True)
    return time.perf_counter() - begun


def accepted(folder: Path) -> tuple[int, int]:
    """How many frr.conf files `vtysh -C` takes without a word, of how many."""
    files = sorted(folder.glob("*/frr.conf"))
    good = 0
    for file in files:
        done = subprocess.run(["vtysh", "-C", "-f", str(file)], capture_output=True, text=True, check=False)
        good += not (done.returncode or done.stdout or done.stderr)
    return good, len(files)


def lines(quick: bool = False) -> Iterator[Line]:
    """What is measured, as bench/fabric.py shows it; `quick` leaves the 2,000 switches out."""
    with tempfile.TemporaryDirectory() as place:
        for name, clos, limit in (("132 switches", SMALL, 1.0), ("2,000 switches", LARGE, 10.0))[: 1 if quick else 2]:
            for formats in (("frr",), FORMATS):
                folder = Path(place) / f"{clos.switches}-{len(formats)}"
                seconds = configured(clos, formats, folder)
                what = f"{name}, {'all formats' if len(formats) > 1 else 'FRR'}"
                yield what, f"{seconds:.2f} s", f"<= {limit:g} s", seconds <= limit, ""
        seconds = commanded(Path(place))
        against = f"{NETLAB_S / seconds:.0f} times as fast as netlab, {PYAVD_S / seconds:.0f} times as pyavd"
        yield "132 switches, FRR, as a command", f"{seconds:.2f} s", "", None, against
        if shutil.which("vtysh"):
            good, count = accepted(Path(place) / f"{SMALL.switches}-1")
            yield "frr.conf accepted by vtysh -C", f"{good}", f"{count}", good == count, ""
    network = POD.network()
    path_bandwidth(SMALL.network()).routes()
    begun = time.perf_counter()
    path_bandwidth(network).routes()
    seconds = time.perf_counter() - begun
    yield f"FARE's routes, {POD.endpoints:,} endpoints", f"{seconds:.2f} s", "", None, ""
